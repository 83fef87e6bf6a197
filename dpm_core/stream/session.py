# SPDX-License-Identifier: Apache-2.0
"""Frames in, estimates out: the one path of the node, the offline run, the bag writer and the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from ..engines.protocol import answer, longest_window
from ..errors import DpmError
from ..types import Estimate, Frame, Prediction
from .config import STRUCTURAL, SessionConfig, by_name
from .intake import Intake, Prepared
from .lanes import SideQueue
from .mapper import Mapper, Predicted
from .wanted import EVERYTHING, Wanted
from .window import Break, Window

if TYPE_CHECKING:
    from ..engines.protocol import Engine


class RepeatedStampError(DpmError):
    """A frame has the stamp of the one before it. It gives no estimate; the session is as it was."""


class PredictionError(DpmError):
    """The network's answer cannot be used. The session has forgotten its frames."""


class Session:
    """Turns each frame into an estimate of the moving world at that frame's instant.

    `process` does so in three steps that may also be called one by one: `prepare` remembers nothing, `predict` the
    window, `estimate` the map. So each may have a thread of its own, if frames come to each in their order:
    `Pipeline` does that.
    """

    NO_MEMORY: ClassVar = ("engine", "config", "_intake", "_map_queue")
    """Attributes that tell nothing of the frames before; the others are what a snapshot keeps."""

    def __init__(self, engine: Engine, config: SessionConfig | None = None) -> None:
        self.engine = engine
        self.config = config or SessionConfig()
        _require_window(engine, self.config.window)
        self._window = Window(self.config.window, self.config.max_gap_s)
        self._mapper = Mapper(self.config.scale)
        self._new_map = False
        self._intake = Intake()
        self._map_queue = SideQueue()

    def configure(self, config: SessionConfig) -> None:
        """Change thresholds between two calls of `predict`. What is structural must stay."""
        before, after = by_name(self.config), by_name(config)
        for name in STRUCTURAL:
            if after[name] != before[name]:
                raise DpmError(f"{name} cannot change from {before[name]} to {after[name]}; make a new session")
        self.config = config
        self._window.max_gap_s = config.max_gap_s

    def reset(self) -> None:
        """Forget all frames and begin a new map, with the next frame that `predict` is called for."""
        self._window.clear()
        self._new_map = True

    def break_before(self, frame: Frame) -> Break | None:
        """What would break the context if `frame` came next; `predict` then starts the window anew."""
        return self._window.break_before(frame)

    def process(self, frame: Frame, wanted: Wanted = EVERYTHING) -> Estimate:
        """The world at `frame`, map coordinates. What is not wanted costs nothing and stays empty.

        Time going back begins a new map; any other break begins a new window that goes on from the last known camera.

        Raises:
            RepeatedStampError: the frame before had the same stamp.
            PredictionError: the network gave a camera that is not finite, or has no focal length.
        """
        return self.estimate(self.predict(self.prepare(frame), wanted))

    def prepare(self, frame: Frame) -> Prepared:
        """The frame as the network takes it.

        Raises:
            DpmError: the lens cannot be meant, or the engine takes no images of this size.
        """
        return self._intake.prepare(frame, self.engine)

    @torch.inference_mode()
    def predict(self, prepared: Prepared, wanted: Wanted = EVERYTHING) -> Predicted:
        """What the network says of the window that ends with this frame; nothing is left to wait for on a GPU.

        Raises:
            RepeatedStampError, PredictionError: as `process`.
        """
        if prepared.engine != self.engine.name:  # another one has taken over meanwhile
            prepared = self.prepare(prepared.frame)
        frame, fit, stages = prepared.frame, prepared.fit, prepared.stages
        self._mend(self._window.break_before(frame), frame)
        with stages("encode"):
            self._window.push(frame, prepared.colors, self.engine.encode(prepared.image))
        with stages("predict"):
            tokens = [seen.tokens for seen in self._window.seen]
            prediction = answer(self.engine, tokens, fit.size, wanted.request(len(tokens)))
            self._require_cameras(prediction)
        new_map, self._new_map = self._new_map, False
        return Predicted(
            frame=frame,
            straight=prepared.straight,
            fit=fit,
            stamps=self._window.stamps,
            colors=[seen.colors for seen in self._window.seen],
            prediction=prediction,
            wanted=wanted,
            config=self.config,
            new_map=new_map,
            stages=stages,
        )

    def estimate(self, predicted: Predicted) -> Estimate:
        """The world at the newest frame of a window, in the map; on a GPU beside what the network does there."""
        with self._map_queue.on(predicted.prediction.own_points.device):
            return self._mapper.estimate(predicted)

    def _mend(self, broken: Break | None, frame: Frame) -> None:
        if broken is Break.REPEATED:
            raise RepeatedStampError(f"two frames have the stamp {frame.stamp_ns} ns; the second is left out")
        if broken is Break.BACKWARDS:
            self.reset()
        elif broken is not None:
            self._window.clear()

    def _require_cameras(self, prediction: Prediction) -> None:
        focal = prediction.intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2]
        fault = None
        if not (prediction.world_from_camera.isfinite().all() and prediction.intrinsics.isfinite().all()):
            fault = "that is not finite"
        elif not (focal > 0).all():
            fault = "without a focal length"
        if fault is not None:
            self.reset()
            raise PredictionError(f"{self.engine.name} gave a camera {fault}; the session starts anew")


def _require_window(engine: Engine, window: int) -> None:
    longest = longest_window(engine)
    if longest is not None and window > longest:
        raise DpmError(f"{engine.name} sees at most {longest} frames at once, not {window}; use a window of {longest}")
