# SPDX-License-Identifier: Apache-2.0
"""What every loss of point maps is made of: distance, confidence, means that a sparse example survives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def distance(points: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """‖points - truth‖ with zeros, and zero gradients, where it is not valid: [..., 3], [..., 3], [...] -> [...]."""
    difference = torch.where(valid[..., None], points - truth, 0.0)
    length: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return length


def mean_distance(maps: Sequence[tuple[Tensor, Tensor]], least: float = 1e-8) -> Tensor:
    """Mean distance from the origin over the valid points of several maps together (D²USt3R eq. 2).

    Args:
        maps: pairs of points [B, ..., 3] and valid [B, ...] bool.
        least: what an example whose points all lie in the origin gets.

    Returns:
        [B]; 1 for an example without a valid point, so that dividing by it is harmless.
    """
    total = torch.stack([distance(points, torch.zeros_like(points), valid).flatten(1).sum(1) for points, valid in maps])
    count = torch.stack([valid.flatten(1).sum(1) for _, valid in maps]).sum(0)
    return torch.where(count > 0, (total.sum(0) / count.clamp(min=1)).clamp(min=least), 1.0)


def confidence_weighted(error: Tensor, conf: Tensor, alpha: float) -> Tensor:
    """conf · error - alpha · log conf, pixel by pixel (D²USt3R eq. 3). conf: > 0."""
    return conf * error - alpha * conf.log()


def example_means(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the masked values of each example: [B, ...], [B, ...] bool -> [B]; 0 for an example without any.

    Averaging within each example first keeps one with dense annotation from drowning one with a few tracks
    (V-DPM supplement §6).
    """
    total = torch.where(mask, values, 0.0).flatten(1).sum(1)
    return total / mask.flatten(1).sum(1).clamp(min=1)


def scaled(points: Tensor, scale: Tensor) -> Tensor:
    """points [B, ...] divided by the scale [B] of their example."""
    return points / scale.view(-1, *[1] * (points.ndim - 1))
