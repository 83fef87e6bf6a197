# SPDX-License-Identifier: Apache-2.0
"""A model over synthetic scenes, or over a recording: every figure beside the baselines'."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpm_core.engines.protocol import Engine
from dpm_core.errors import DpmError
from dpm_core.geometry.cameras import unproject
from dpm_core.stream import Session
from dpm_core.types import Estimate, Frame
from training.records import Window
from training.synthetic import SyntheticConfig, SyntheticScenes

from .baselines import BASELINES, best_plane
from .depth import DepthProtocol, depth_metrics
from .protocols import MaskCount, TwoViewTruth, ask, judge
from .rgbd import RgbdFrame, fitted_depth, nearest_rigid
from .trajectory import trajectory_metrics

GAPS = (2, 8)
MODEL = "model"
_FRAMES = 9
_MASK_STEP = 2
_MOST_PAIRS = 25
Figures = dict[str, Any]


@dataclass
class PairFigures:
    """Figures of many pairs, by gap and by who answered."""

    found: dict[int, dict[str, list[dict[str, float]]]] = field(default_factory=dict)

    def add(self, gap: int, engine: Engine, images: Tensor, truth: TwoViewTruth) -> None:
        """Ask the model and the baselines about one pair. images: [2, 3, H, W]."""
        judged = self.found.setdefault(gap, {})
        judged.setdefault(MODEL, []).append(judge(ask(engine, images), truth))
        for name, baseline in BASELINES.items():
            judged.setdefault(name, []).append(judge(baseline(truth), truth))

    def summary(self) -> Figures:
        """By gap, by who: means over the pairs; of angles medians too."""
        return {
            f"gap_{gap}": {who: _summed(pairs) for who, pairs in judged.items()} for gap, judged in self.found.items()
        }


def _summed(pairs: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for pair in pairs for name in pair)
    result: dict[str, float] = {"pairs": len(pairs)}
    for name in names:
        values = [pair[name] for pair in pairs if name in pair]
        result[name] = fmean(values)
        if name in ("rotation", "translation"):
            result[f"{name}_median"] = median(values)
    return result


def on_synthetic(engine: Engine, scenes: int, seed: int, told: Callable[[int], None]) -> Figures:
    """The figures over the first `scenes` scenes of a stream.

    Args:
        engine: the model.
        scenes: how many.
        seed: of the stream.
        told: called with the number of scenes done.
    """
    height, width = engine.fit(168, 224).size
    # Frames come as a camera gives them, so that the session may see them too.
    stream = SyntheticScenes(SyntheticConfig(height, width, _FRAMES), seed, engine.device)
    pairs, masks, all_moves = PairFigures(), MaskCount(), MaskCount()
    for index in range(scenes):
        window = stream.window([index], times=(0, *GAPS)).to("cpu")
        images = _as_bytes(window.images[0])
        for gap in GAPS:
            pairs.add(gap, engine, images[[0, gap]].float() / 255, _synthetic_truth(window, gap))
        assert window.dynamic is not None
        true, valid = window.dynamic[0, -1], window.depth[0, -1] > 0
        masks = masks.add(_said_to_move(engine, window, images), true, valid)
        all_moves = all_moves.add(torch.ones_like(true), true, valid)
        told(index + 1)
    return {
        "model": engine.name,
        "notice": engine.notice,
        "scenes": scenes,
        "seed": seed,
        "size": [height, width],
        "two_view": pairs.summary(),
        "mask": {MODEL: masks.figures(), "everything_moves": all_moves.figures(), "nothing_moves": {"mask_iou": 0.0}},
    }


def _as_bytes(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8)


def _synthetic_truth(window: Window, gap: int) -> TwoViewTruth:
    seen = window.in_camera(0)
    times, views = [seen.times.index(0), seen.times.index(gap)], [0, gap]
    return TwoViewTruth(
        points=seen.points[0][times][:, views].double(),
        known=seen.valid[0][times][:, views],
        depth=seen.depth[0, views].double(),
        intrinsics=seen.intrinsics[0, views].double(),
        first_from_second=seen.world_from_camera[0, gap].double(),
    )


def _said_to_move(engine: Engine, window: Window, images: Tensor) -> Tensor:
    """[H, W]: the newest frame's mask as the session gives it, from every second frame."""
    assert window.seconds is not None
    session = Session(engine)
    estimate: Estimate | None = None
    for index in range(0, _FRAMES, _MASK_STEP):
        stamp = round(float(window.seconds[0, index]) * 1e9) + 1
        estimate = session.process(Frame(stamp, images[index].movedim(0, -1).contiguous().numpy()))
    assert estimate is not None
    return torch.from_numpy(np.array(estimate.dynamic))


@dataclass(frozen=True)
class _Step:
    """A frame of a recording, its estimate, and its truth at the network's size."""

    estimate: Estimate
    depth: Tensor
    intrinsics: Tensor
    world_from_camera: Tensor | None


def on_recording(engine: Engine, frames: Iterable[RgbdFrame], told: Callable[[int], None]) -> Figures:
    """The figures over a recording with depth, and with poses where it has them.

    Args:
        engine: the model; the session runs it over all frames in order.
        frames: at least as many as the largest of GAPS and one more.
        told: called with the number of frames done.

    Raises:
        DpmError: there are too few frames, or a depth image is not of its colour image's size.
    """
    steps = _steps(engine, frames, told)
    if len(steps) <= max(GAPS):
        raise DpmError(f"the recording has {len(steps)} frames with depth; {max(GAPS) + 1} or more are needed")
    pairs = PairFigures()
    for gap in GAPS:
        starts = range(0, len(steps) - gap, max(1, math.ceil((len(steps) - gap) / _MOST_PAIRS)))
        for first in starts:
            one, other = steps[first], steps[first + gap]
            images = torch.stack([torch.from_numpy(step.estimate.image).movedim(-1, 0) for step in (one, other)])
            pairs.add(gap, engine, images.float() / 255, _measured_truth(one, other))
    return {
        "model": engine.name,
        "notice": engine.notice,
        "frames": len(steps),
        "size": list(steps[0].depth.shape),
        "depth": _depth_figures(steps),
        "path": _path_figures(steps),
        "two_view": pairs.summary(),
    }


def _steps(engine: Engine, frames: Iterable[RgbdFrame], told: Callable[[int], None]) -> list[_Step]:
    session = Session(engine)
    steps = []
    for seen in frames:
        fit = engine.fit(*seen.frame.image.shape[:2])
        assert seen.frame.intrinsics is not None
        pose = None if seen.world_from_camera is None else torch.from_numpy(seen.world_from_camera)
        steps.append(
            _Step(
                session.process(replace(seen.frame, intrinsics=None)),  # which the network must find itself
                torch.from_numpy(fitted_depth(seen.depth, fit)).double(),
                torch.from_numpy(fit.intrinsics(seen.frame.intrinsics)),
                pose,
            )
        )
        told(len(steps))
    return steps


def _measured_truth(one: _Step, other: _Step) -> TwoViewTruth:
    """Depth and pose tell P0(t0) and P1(t1); how things moved between is not measured."""
    depth, intrinsics = torch.stack([one.depth, other.depth]), torch.stack([one.intrinsics, other.intrinsics])
    own = unproject(depth, intrinsics)
    points = torch.zeros(2, 2, *own.shape[1:], dtype=torch.float64)
    known = torch.zeros(points.shape[:-1], dtype=torch.bool)
    points[0, 0], known[0, 0] = own[0], depth[0] > 0
    pose = None
    if one.world_from_camera is not None and other.world_from_camera is not None:
        pose = torch.linalg.inv(one.world_from_camera) @ other.world_from_camera
        known[1, 1] = depth[1] > 0
        points[1, 1] = (own[1] @ pose[:3, :3].mT + pose[:3, 3]) * known[1, 1, ..., None]
    return TwoViewTruth(points, known, depth, intrinsics, pose)


def _depth_figures(steps: Sequence[_Step]) -> Figures:
    """AbsRel and δ1 with one median scale for the whole recording, and with one a frame."""
    truth = torch.stack([step.depth for step in steps])
    answers = {
        MODEL: torch.stack([torch.from_numpy(step.estimate.depth) for step in steps]).double().nan_to_num(0, 0, 0),
        "constant_depth": torch.ones_like(truth),
        "tilted_plane": torch.stack([best_plane(depth) for depth in truth]),
    }
    return {who: _two_alignments(answer.clamp_min(1e-6), truth) for who, answer in answers.items()}


def _two_alignments(answer: Tensor, truth: Tensor) -> dict[str, float]:
    protocol = DepthProtocol(max_depth=None)
    whole = depth_metrics(answer, truth, protocol)
    seen = [index for index in range(len(truth)) if (truth[index] > 0).any()]
    each = [depth_metrics(answer[[index]], truth[[index]], protocol) for index in seen]
    return {
        "abs_rel": whole.abs_rel,
        "delta_1": whole.delta_1,
        "abs_rel_each_frame": fmean(one.abs_rel for one in each),
        "delta_1_each_frame": fmean(one.delta_1 for one in each),
    }


def _path_figures(steps: Sequence[_Step]) -> Figures | None:
    """ATE and RPE after Sim(3) alignment, beside a camera that stands still and one of constant velocity."""
    true = [step.world_from_camera for step in steps]
    if any(pose is None for pose in true):
        return None
    poses = np.stack([pose.numpy() for pose in true if pose is not None])
    seconds = np.array([step.estimate.stamp_ns for step in steps]) * 1e-9
    said = np.stack([nearest_rigid(step.estimate.world_from_camera) for step in steps])
    figures: Figures = {}
    try:
        metrics = trajectory_metrics(seconds, said, seconds, poses)
        figures[MODEL] = {
            "ate": metrics.ate,
            "rpe_translation": metrics.rpe_translation,
            "rpe_rotation": metrics.rpe_rotation,
        }
    except DpmError as error:
        figures[MODEL] = {"failed": str(error)}
    places = poses[:, :3, 3]
    # A similarity brings a path that stands still to any point, and one of constant velocity to any line: the best one.
    figures["zero_motion"] = {"ate": _rms(places - places.mean(0))}
    basis = np.stack([np.ones_like(seconds), seconds - seconds[0]], 1)
    line = basis @ np.linalg.lstsq(basis, places, rcond=None)[0]
    figures["constant_velocity"] = {"ate": _rms(places - line)}
    return figures


def _rms(offsets: Any) -> float:
    return float(np.sqrt((offsets**2).sum(-1).mean()))
