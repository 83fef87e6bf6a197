# SPDX-License-Identifier: Apache-2.0
"""The focal length that a point map implies: pixels are at focal · (x/z, y/z) from the principal point.

Source: reference sheet §4.2 (DUSt3R).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .cameras import pixel_grid


def weiszfeld_focal(
    points: Tensor,
    principal_point: Tensor | None = None,
    limits: tuple[float, float] = (0.0, math.inf),
    rounds: int = 10,
) -> Tensor:
    """The focal that minimises Σ |uv − focal · xy / z| over the pixels, by reweighted least squares.

    Args:
        points: [..., H, W, 3], each map in its own camera. Non-finite rays count as the optical axis.
        principal_point: [..., 2] pixels; None for (W/2, H/2).
        limits: least and largest result in units of the focal of a 60° wide image, max(H, W) / (2 tan 30°).
        rounds: of reweighting.

    Returns:
        [...] pixels, dtype of `points`.
    """
    uv, rays = _centred_pixels_and_rays(points, principal_point)
    dots, squares = (rays * uv).sum(-1), rays.square().sum(-1)
    focal = dots.mean(-1) / squares.mean(-1)
    for _ in range(rounds):
        weights = (uv - focal[..., None, None] * rays).norm(dim=-1).clamp(min=1e-8).reciprocal()
        focal = (weights * dots).mean(-1) / (weights * squares).mean(-1)
    return _clipped(focal, points, limits)


def median_focal(
    points: Tensor, principal_point: Tensor | None = None, limits: tuple[float, float] = (0.0, math.inf)
) -> Tensor:
    """The lower median of the focals that every pixel's u and v vote for. Arguments, result: as `weiszfeld_focal`."""
    uv, rays = _centred_pixels_and_rays(points, principal_point)
    votes = (uv / rays).flatten(-2)
    return _clipped(votes.nanmedian(-1).values, points, limits)


def _centred_pixels_and_rays(points: Tensor, principal_point: Tensor | None) -> tuple[Tensor, Tensor]:
    """[..., H·W, 2] pixels from the principal point, and x/z, y/z."""
    height, width = points.shape[-3:-1]
    if principal_point is None:
        principal_point = points.new_tensor([width / 2, height / 2])
    uv = pixel_grid(points[..., 0]) - principal_point[..., None, None, :]
    rays = (points[..., :2] / points[..., 2:]).nan_to_num(0.0, 0.0, 0.0)
    return uv.expand_as(rays).flatten(-3, -2), rays.flatten(-3, -2)


def _clipped(focal: Tensor, points: Tensor, limits: tuple[float, float]) -> Tensor:
    unit = max(points.shape[-3:-1]) / (2 * math.tan(math.radians(30)))
    return torch.clip(focal, limits[0] * unit, limits[1] * unit)
