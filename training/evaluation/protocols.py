# SPDX-License-Identifier: Apache-2.0
"""Two views and what a network says of them: V-DPM's two-view protocol, with camera and depth beside it.

Source: V-DPM table 1 (reference sheet §3.6, §5.1). View 0 is taken at t0, view 1 at t1. The four maps P0(t0), P0(t1),
P1(t0), P1(t1) are compared in the first view's camera, answer and truth each divided by the mean distance from that
camera of the points whose truth is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dpm_core.engines.protocol import Engine

from .depth import DepthProtocol, depth_metrics

MAPS = ("P0(t0)", "P0(t1)", "P1(t0)", "P1(t1)")
MAP_INDEX = ((0, 0), (1, 0), (0, 1), (1, 1))
"""(time, view) of each of MAPS."""
_BASELINE = 0.02
"""Cameras nearer to each other than this share of the median depth have no direction from one to the other."""


@dataclass(frozen=True)
class TwoViewTruth:
    """What is true of two views; coordinates of the first camera.

    Attributes:
        points: [2, 2, H, W, 3] by time and view; zero where not known.
        known: [2, 2, H, W] bool.
        depth: [2, H, W] of each view, 0 where not known.
        intrinsics: [2, 3, 3] pixels.
        first_from_second: [4, 4] camera poses, None where not known.
    """

    points: Tensor
    known: Tensor
    depth: Tensor
    intrinsics: Tensor
    first_from_second: Tensor | None


@dataclass(frozen=True)
class TwoViewAnswer:
    """What is said of two views, in any unit; coordinates of the first camera.

    Attributes:
        points: [2, 2, H, W, 3] by time and view.
        depth: [2, H, W] of each view.
        first_from_second: [4, 4] camera poses.
    """

    points: Tensor
    depth: Tensor
    first_from_second: Tensor


@torch.inference_mode()
def ask(engine: Engine, images: Tensor) -> TwoViewAnswer:
    """The network's answer. images: [2, 3, H, W] float32 in [0, 1], at a size that the network takes."""
    images = images.to(engine.device)
    tokens = [engine.encode(image) for image in images]
    prediction = engine.predict(tokens, (images.shape[-2], images.shape[-1]), (0, 1))
    poses = prediction.world_from_camera.double().cpu()
    own = prediction.own_points.double().cpu()
    depth = torch.stack(
        [_into(torch.linalg.inv(pose), points)[..., 2] for pose, points in zip(poses, own, strict=True)]
    )
    first_from_world = torch.linalg.inv(poses[0])
    points = _into(first_from_world, prediction.points.double().cpu())
    by_time = points[[prediction.times.index(0), prediction.times.index(1)]]
    return TwoViewAnswer(by_time.nan_to_num(0, 0, 0), depth.nan_to_num(0, 0, 0), first_from_world @ poses[1])


def judge(answer: TwoViewAnswer, truth: TwoViewTruth) -> dict[str, float]:
    """Figures of one pair, by name; those whose truth is not known are left out.

    EPE of each map without unit; "rotation" and "translation" (direction) degrees; "abs_rel" and "delta_1" after median
    alignment of both views' depths together.
    """
    figures: dict[str, float] = {}
    if truth.known.any():
        said, true = (_normalised(points.double(), truth.known) for points in (answer.points, truth.points.double()))
        error = (said - true).norm(dim=-1)
        for name, index in zip(MAPS, MAP_INDEX, strict=True):
            if truth.known[index].any():
                figures[name] = float(error[index][truth.known[index]].mean())
    if (truth.depth > 0).any():
        metrics = depth_metrics(
            answer.depth.double().clamp_min(1e-6), truth.depth.double(), DepthProtocol(max_depth=None)
        )
        figures["abs_rel"], figures["delta_1"] = metrics.abs_rel, metrics.delta_1
    if truth.first_from_second is not None:
        figures |= _camera_errors(answer.first_from_second.double(), truth)
    return figures


def _camera_errors(said: Tensor, truth: TwoViewTruth) -> dict[str, float]:
    assert truth.first_from_second is not None
    true = truth.first_from_second.double()
    figures = {"rotation": rotation_angle(said[:3, :3].mT @ true[:3, :3])}
    there = truth.depth[truth.depth > 0]
    if len(there) and true[:3, 3].norm() > _BASELINE * there.median():
        figures["translation"] = angle_between(said[:3, 3], true[:3, 3])
    return figures


def rotation_angle(rotation: Tensor) -> float:
    """Degrees by which a rotation [3, 3] turns; exact for small ones too."""
    sine = (rotation - rotation.mT).norm() / math.sqrt(8)
    return math.degrees(math.atan2(float(sine), (float(rotation.trace()) - 1) / 2))


def angle_between(a: Tensor, b: Tensor) -> float:
    """Degrees between two directions [3]; a right angle where one of them has no length."""
    if a.norm() < 1e-12 or b.norm() < 1e-12:
        return 90.0
    return math.degrees(math.atan2(float(torch.linalg.cross(a, b).norm()), float(a @ b)))


def _normalised(points: Tensor, known: Tensor) -> Tensor:
    mean: Tensor = points[known].norm(dim=-1).mean()
    return points / mean.clamp_min(1e-9)


def _into(a_from_b: Tensor, points: Tensor) -> Tensor:
    return points @ a_from_b[:3, :3].mT + a_from_b[:3, 3]


@dataclass(frozen=True)
class MaskCount:
    """Pixels of dynamic masks, counted over many images.

    Attributes:
        both, either: said and true to move; said or true to move; of images where something moves.
        false: said to move in images of a still world. still: valid pixels of these.
    """

    both: int = 0
    either: int = 0
    false: int = 0
    still: int = 0

    def add(self, said: Tensor, true: Tensor, valid: Tensor) -> MaskCount:
        """With another image, [H, W] bool each."""
        said, true = said & valid, true & valid
        if not true.any():
            return MaskCount(self.both, self.either, self.false + int(said.sum()), self.still + int(valid.sum()))
        both, either = int((said & true).sum()), int((said | true).sum())
        return MaskCount(self.both + both, self.either + either, self.false, self.still)

    def figures(self) -> dict[str, float]:
        """The "mask_iou" where something moves, "false_motion" where nothing does; each if there are such images."""
        figures = {}
        if self.either:
            figures["mask_iou"] = self.both / self.either
        if self.still:
            figures["false_motion"] = self.false / self.still
        return figures
