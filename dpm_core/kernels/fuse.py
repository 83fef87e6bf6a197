# SPDX-License-Identifier: Apache-2.0
"""Point maps of many views at one instant into one cloud."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._checked import Arrays, positive
from ._native import call, native


class FusedPoints(NamedTuple):
    """One point for each occupied cell, in the order in which the cells first appear among the points.

    Attributes:
        points: [M, 3] float32, mean position.
        colors: [M, 3] uint8, mean colour.
        confidence: [M] float32, mean confidence; times `count` it is the cell's weight, so fused clouds fuse again.
        velocity: [M, 3] float32, mean of the known velocities, zero where none is known.
        dynamic: [M] bool, whether more than half of the weight moves.
        count: [M] int32, how many points fell into the cell.
        outside: how many points were left out because they lie 2^20 cells or more from the origin.
    """

    points: Tensor
    colors: Tensor
    confidence: Tensor
    velocity: Tensor
    dynamic: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count
    outside: int


def fuse_points(
    points: Tensor,
    colors: Tensor,
    confidence: Tensor,
    velocity: Tensor,
    dynamic: Tensor,
    count: Tensor | None = None,
    *,
    voxel: float,
) -> FusedPoints:
    """Confidence-weighted means of the points in each cell of a grid of edge `voxel` about the origin.

    Points that are not finite, or whose confidence is not finite or not > 0, are ignored; so is a velocity that is
    not finite. Sums are in float64 in the order of the points: the same input gives the same bytes, whatever the
    number of threads. The result has at most N rows; it is a view of memory for N.

    Source: V-DPM supplement §8 and Fig. 8.

    Args:
        points: [N, 3] float32, one frame and unit.
        colors: [N, 3] uint8.
        confidence: [N] float32, the weight.
        velocity: [N, 3] float32.
        dynamic: [N] bool.
        count: [N] int32 >= 1, how many points each stands for: the weight is confidence · count. None for one each.
        voxel: edge of a cell in the unit of the points, > 0.

    Returns:
        FusedPoints on the device of `points`. On CUDA the call waits for the number of cells.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    check = Arrays()
    check("points", points, torch.float32, "N 3")
    check("colors", colors, torch.uint8, "N 3")
    check("confidence", confidence, torch.float32, "N")
    check("velocity", velocity, torch.float32, "N 3")
    check("dynamic", dynamic, torch.bool, "N")
    if count is not None:
        check("count", count, torch.int32, "N")
    positive("voxel", voxel)
    if len(points) >= 1 << 31:
        raise ValueError(f"points must be fewer than 2^31, not {len(points)}")
    fused = [torch.empty_like(array) for array in (points, colors, confidence, velocity, dynamic)]
    fused.append(torch.empty_like(confidence, dtype=torch.int32))
    scratch_bytes = native.fuse_scratch_bytes(len(points)) if points.is_cuda else 0
    scratch = points.new_empty(scratch_bytes, dtype=torch.uint8) if points.is_cuda else None
    cells, outside = call(
        native.fuse_points, points, colors, confidence, velocity, dynamic, count, voxel, *fused, scratch
    )
    for array in fused:
        array.resize_(cells, *array.shape[1:])
    return FusedPoints._make([*fused, outside])
