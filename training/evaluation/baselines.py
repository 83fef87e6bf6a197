# SPDX-License-Identifier: Apache-2.0
"""Answers that need no network, to stand beside those of one. Each is the best of its kind: fitted to the truth."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dpm_core.geometry.cameras import pixel_grid, unproject

from .protocols import TwoViewAnswer, TwoViewTruth


def constant_depth(truth: TwoViewTruth) -> TwoViewAnswer:
    """Every pixel is equally far, the camera and the world stand still."""
    known = truth.depth > 0
    median = truth.depth[known].median() if known.any() else truth.depth.new_tensor(1.0)
    return _standing(truth, torch.full_like(truth.depth, float(median)))


def tilted_plane(truth: TwoViewTruth) -> TwoViewAnswer:
    """Each view is the plane that fits its true depth best; the camera and the world stand still."""
    return _standing(truth, torch.stack([best_plane(depth) for depth in truth.depth]))


def zero_motion(truth: TwoViewTruth) -> TwoViewAnswer:
    """True depths; neither the camera nor anything else moves."""
    return _standing(truth, truth.depth)


def still_world(truth: TwoViewTruth) -> TwoViewAnswer:
    """True depths and cameras; nothing but the camera moves. What it gets wrong is what moves."""
    own = torch.stack([truth.points[0, 0], truth.points[1, 1]])
    pose = truth.first_from_second if truth.first_from_second is not None else _unmoved(truth)
    return TwoViewAnswer(own.expand(2, -1, -1, -1, -1), truth.depth, pose)


BASELINES: dict[str, Callable[[TwoViewTruth], TwoViewAnswer]] = {
    "constant_depth": constant_depth,
    "tilted_plane": tilted_plane,
    "zero_motion": zero_motion,
    "still_world": still_world,
}


def best_plane(depth: Tensor) -> Tensor:
    """Depth of the plane nearest to a depth map [H, W] (0: not known): inverse depth is linear in the pixel.

    Weighted by the squared depth, least squares of inverse depth are those of relative depth; a second pass bounds the
    pull of single pixels.
    """
    uv = pixel_grid(depth.double())
    columns = torch.cat([uv / max(depth.shape), torch.ones_like(uv[..., :1])], -1)
    known = depth > 0
    if int(known.sum()) < 3:
        return torch.ones_like(depth)
    rows, target = columns[known], depth[known].double()
    scale = target.clone()
    for _ in range(5):
        solution = torch.linalg.lstsq(rows * scale[:, None], (scale / target)[:, None]).solution[:, 0]
        error = (target * (rows @ solution) - 1).abs()
        scale = target / error.clamp_min(0.05).sqrt()
    # A plane through the horizon is endless; no pixel is farther or nearer than the truth's extremes.
    inverse: Tensor = (columns @ solution).clamp(float(1 / target.max()), float(1 / target.min()))
    return (1 / inverse).to(depth.dtype)


def _standing(truth: TwoViewTruth, depth: Tensor) -> TwoViewAnswer:
    points = unproject(depth, truth.intrinsics)
    return TwoViewAnswer(points.expand(2, -1, -1, -1, -1), depth, _unmoved(truth))


def _unmoved(truth: TwoViewTruth) -> Tensor:
    return torch.eye(4, dtype=truth.points.dtype)
