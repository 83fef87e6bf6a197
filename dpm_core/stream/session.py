# SPDX-License-Identifier: Apache-2.0
"""Frames in, estimates out: the one path of the node, the offline run, the bag writer and the tests."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..engines.protocol import answer, longest_window
from ..errors import DpmError
from ..geometry.sim3 import Sim3
from ..kernels import fuse_points, prepare_images
from ..types import Cloud, Estimate, Frame, MetricScale, Odometry, Prediction
from .calibration import calibrated, straightened
from .chain import MapChain
from .config import STRUCTURAL, SessionConfig, by_name
from .motion import Motion, motion_between, no_motion
from .odometry import CameraOdometry
from .scale import MetricMap, Sight
from .stages import Stages
from .static_map import StaticMap, map_cloud
from .tracks import Tracker
from .view import newest_view
from .wanted import EVERYTHING, Wanted
from .window import Break, Window

if TYPE_CHECKING:
    from ..engines.protocol import Engine
    from ..geometry.fit import Fit


class RepeatedStampError(DpmError):
    """A frame has the stamp of the one before it. It gives no estimate; the session is as it was."""


class PredictionError(DpmError):
    """The network's answer cannot be used. The session has forgotten its frames."""


class Session:
    """Turns each frame into an estimate of the moving world at that frame's instant.

    Not thread-safe: one thread calls it. `LiveSession` gives it a thread and an inbox.
    """

    def __init__(self, engine: Engine, config: SessionConfig | None = None) -> None:
        self.engine = engine
        self.config = config or SessionConfig()
        _require_window(engine, self.config.window)
        self._window = Window(self.config.window, self.config.max_gap_s)
        self._begin_map()

    def configure(self, config: SessionConfig) -> None:
        """Change thresholds between two frames. What is structural must stay."""
        before, after = by_name(self.config), by_name(config)
        for name in STRUCTURAL:
            if after[name] != before[name]:
                raise DpmError(f"{name} cannot change from {before[name]} to {after[name]}; make a new session")
        self.config = config
        self._window.max_gap_s = config.max_gap_s
        self._metric_map.configure(config.scale)

    def reset(self) -> None:
        """Forget all frames and begin a new map."""
        self._window.clear()
        self._begin_map()

    def _begin_map(self) -> None:
        self._chain = MapChain()
        self._metric_map = MetricMap(self.config.scale)
        self._odometry = CameraOdometry()
        self._tracker = Tracker()
        self._metric = False
        self._begin_memory()

    def _begin_memory(self) -> None:
        """What adds up over windows begins anew, as it must where metres take the place of the network's unit."""
        self._static_map = StaticMap()
        self._tracker.forget()

    def break_before(self, frame: Frame) -> Break | None:
        """What would break the context if `frame` came next; `process` then starts the window anew."""
        return self._window.break_before(frame)

    @torch.inference_mode()
    def process(self, frame: Frame, wanted: Wanted = EVERYTHING) -> Estimate:
        """The world at `frame`, map coordinates. What is not wanted costs nothing and stays empty.

        Time going back begins a new map; any other break begins a new window that goes on from the last known camera.

        Raises:
            RepeatedStampError: the frame before had the same stamp.
            PredictionError: the network gave a camera that is not finite, or has no focal length.
        """
        stages = Stages()
        self._mend(self._window.break_before(frame), frame)

        with stages("prepare"):
            fit = self.engine.fit(*frame.image.shape[:2])
            straight = straightened(frame)
            camera_image = torch.from_numpy(straight.image).to(self.engine.device)
            image = prepare_images(camera_image[None], fit.resized, fit.origin, fit.size, filter=fit.filter)[0]
        with stages("encode"):
            self._window.push(frame, image, self.engine.encode(image))
        with stages("predict"):
            now = len(self._window) - 1
            tokens = [seen.tokens for seen in self._window.seen]
            prediction = answer(self.engine, tokens, fit.size, wanted.request(len(tokens)))
            self._require_cameras(prediction)
        with stages("align"):
            prediction = calibrated(prediction, frame, fit)
            map_from_window, scale, odometry = self._place(straight, fit, prediction)
        with stages("motion"):
            depth = _depth(prediction, now)
            measure = _median_depth(depth)
            motion = self._motion(prediction, measure)
        with stages("fuse"):
            cloud = self._fuse(prediction, motion, map_from_window, measure) if wanted.cloud else Cloud.none()
        with stages("remember"):
            colors = _bytes(image.movedim(0, -1))
            if wanted.motion != "none":
                self._remember(prediction, depth, measure, motion, colors, map_from_window)

        return Estimate(
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            world_from_camera=map_from_window.pose(prediction.world_from_camera[now].double().cpu().numpy()),
            intrinsics=prediction.intrinsics[now].double().cpu().numpy(),
            unit="network" if scale is None else "m",
            image=colors.cpu().numpy(),
            depth=(map_from_window.scale * depth).cpu().numpy(),
            conf=prediction.own_conf[now].cpu().numpy(),
            dynamic=motion.dynamic[now].cpu().numpy(),
            scene_flow=_flow(motion, now, map_from_window).cpu().numpy(),
            motion_known=motion.known,
            cloud=cloud,
            seconds=stages.seconds,
            scale=scale,
            odometry=odometry,
            odom_from_camera=frame.odom_from_camera,
            tracks=self._tracker.tracks(),
            static_map=partial(map_cloud, self._static_map.cells()),
        )

    def _place(
        self, frame: Frame, fit: Fit, prediction: Prediction
    ) -> tuple[Sim3, MetricScale | None, Odometry | None]:
        """map_from_window, in metres where they are known, and how the camera moves in the map."""
        stamps = self._window.stamps
        chain_from_window = self._chain.add(stamps, prediction)
        linked = self._chain.linked
        map_from_chain, scale = self._metric_map.place(Sight(frame, fit, prediction, chain_from_window), linked)
        if scale is not None and not self._metric:
            self._metric = True
            self._begin_memory()
        poses = np.stack([chain_from_window.pose(pose) for pose in prediction.world_from_camera.double().cpu().numpy()])
        sigma = scale.relative_sigma if scale is not None else 0.0
        odometry = self._odometry.add(stamps, poses, linked, map_from_chain, sigma)
        return map_from_chain @ chain_from_window, scale, odometry

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

    def _motion(self, prediction: Prediction, depth: float) -> Motion:
        stamps = self._window.stamps
        if len(prediction.times) < 2:
            return no_motion(prediction)
        now, past = prediction.points
        motion = motion_between(now, past, (stamps[-1] - stamps[0]) * 1e-9, depth, self.config)
        if prediction.dynamic_logit is None:
            return motion
        return replace(motion, dynamic=prediction.dynamic_logit > 0)  # a head trained to know is better than a rule

    def _fuse(self, prediction: Prediction, motion: Motion, map_from_window: Sim3, depth: float) -> Cloud:
        """All views' point maps at the newest instant as one cloud (V-DPM supplement §8)."""
        images = torch.stack([seen.image for seen in self._window.seen])
        conf = prediction.conf[0]
        trusted = (conf >= self.config.min_confidence).flatten().nonzero().squeeze(1)  # once: a mask is sought anew

        def of_trusted(pixels: Tensor) -> Tensor:
            return pixels.flatten(0, 2).index_select(0, trusted)

        fused = fuse_points(
            map_from_window.points(of_trusted(prediction.points[0])),
            of_trusted(_bytes(images).movedim(1, -1)),
            of_trusted(conf),
            map_from_window.vectors(of_trusted(motion.velocity)),
            of_trusted(motion.dynamic),
            voxel=self.config.voxel * depth * map_from_window.scale,
        )
        return Cloud(
            *(
                array.cpu().numpy()
                for array in (fused.points, fused.colors, fused.confidence, fused.velocity, fused.dynamic)
            )
        )

    def _remember(
        self,
        prediction: Prediction,
        depth: Tensor,
        median_depth: float,
        motion: Motion,
        colors: Tensor,
        map_from_window: Sim3,
    ) -> None:
        """Let the newest frame into the map of what stands still, and the tracks of what moves."""
        if not prediction.times:
            return
        stamps = self._window.stamps
        view = newest_view(
            stamps[-1], prediction, depth, motion.dynamic[-1], colors, map_from_window, self.config.min_confidence
        )
        settled = motion.known and len(stamps) == self.config.window  # what moves slowly shows over a whole window
        if settled:
            self._static_map.see(view, map_from_window.scale * median_depth, self.config.map)
        self._tracker.follow(view, stamps, prediction.points[0], map_from_window, self.config.tracks)


def _require_window(engine: Engine, window: int) -> None:
    longest = longest_window(engine)
    if longest is not None and window > longest:
        raise DpmError(f"{engine.name} sees at most {longest} frames at once, not {window}; use a window of {longest}")


def _depth(prediction: Prediction, view: int) -> Tensor:
    """[H, W] along the optical axis of a view at its own time, network units; NaN where it is not > 0."""
    camera_from_world = torch.linalg.inv(prediction.world_from_camera[view])
    depth: Tensor = prediction.own_points[view] @ camera_from_world[2, :3] + camera_from_world[2, 3]
    return depth.where(depth > 0, torch.nan)


def _median_depth(depth: Tensor) -> float:
    """The measure of the scene; 1 where no pixel has depth, so that thresholds stay positive."""
    median = float(depth.nanmedian())
    return median if median > 0 else 1.0


def _flow(motion: Motion, view: int, map_from_window: Sim3) -> Tensor:
    """[H, W, 3] map units per second, NaN where motion is unknown."""
    flow = map_from_window.vectors(motion.velocity[view])
    return flow if motion.known else torch.full_like(flow, torch.nan)


def _bytes(image: Tensor) -> Tensor:
    """[0, 1] float -> uint8."""
    return (image * 255).round_().clamp_(0, 255).to(torch.uint8)
