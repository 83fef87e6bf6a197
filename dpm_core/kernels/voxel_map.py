# SPDX-License-Identifier: Apache-2.0
"""A map that grows by one fused frame at a time and forgets what a camera sees through."""

from __future__ import annotations

import torch
from torch import Tensor, device

from ._checked import positive
from .fuse import FusedPoints, fuse_points
from .visibility import seen_through


class VoxelMap:
    """One point for each cell that was ever seen and not seen through since, of at most `capacity` cells.

    Adding a frame fuses the map with the frame, so that both have the same grid, means and determinism as
    `fuse_points`; it costs time in proportion to both. Cells that come when the map is full are dropped and counted.

    Attributes:
        cells: the map, FusedPoints; `confidence · count` is a cell's weight.
        dropped: how many cells were dropped since the map began because it was full.
        outside: how many points were left out since the map began because they lie beyond the grid.
    """

    def __init__(self, voxel: float, capacity: int, device: device | str = "cpu") -> None:
        """An empty map. voxel: edge of a cell in the unit of the points; capacity: most cells, 55 bytes each."""
        positive("voxel", voxel)
        positive("capacity", capacity)
        self.voxel = voxel
        self.capacity = int(capacity)
        self.cells = _no_cells(device)
        self.dropped = 0
        self.outside = 0

    def add(self, points: Tensor, colors: Tensor, confidence: Tensor, velocity: Tensor, dynamic: Tensor) -> FusedPoints:
        """Fuse a frame into the map. Arrays as of `fuse_points` -> the map as it is now.

        Raises:
            TypeError, ValueError: as `fuse_points`; the map is then as it was.
        """
        frame = fuse_points(points, colors, confidence, velocity, dynamic, voxel=self.voxel)
        pairs = zip(self.cells[:6], frame[:6], strict=True)
        fused = fuse_points(*(torch.cat(pair) for pair in pairs), voxel=self.voxel)
        excess = max(0, len(fused.points) - self.capacity)
        self.dropped += excess
        self.outside += frame.outside
        self.cells = _rows(fused, slice(0, self.capacity))
        return self.cells

    def remove_seen_through(
        self,
        depth: Tensor,
        world_from_camera: Tensor,
        intrinsics: Tensor,
        *,
        margin: float = 0.0,
        relative: float = 0.05,
    ) -> int:
        """Forget the cells that a camera sees through. Arguments as of `seen_through` -> how many were forgotten.

        Raises:
            TypeError, ValueError: as `seen_through`; the map is then as it was.
        """
        through = seen_through(
            self.cells.points, depth, world_from_camera, intrinsics, margin=margin, relative=relative
        )
        return self.remove(through)

    def remove(self, rows: Tensor) -> int:
        """Forget cells. rows: [M] bool, True for what goes -> how many were forgotten."""
        self.cells = _rows(self.cells, ~rows)
        return len(rows) - len(self.cells.points)


def _rows(cells: FusedPoints, rows: slice | Tensor) -> FusedPoints:
    return FusedPoints._make([*(array[rows] for array in cells[:6]), cells.outside])


def _no_cells(where: device | str) -> FusedPoints:
    shapes = (((0, 3), torch.float32), ((0, 3), torch.uint8), ((0,), torch.float32), ((0, 3), torch.float32))
    kinds = (*shapes, ((0,), torch.bool), ((0,), torch.int32))
    return FusedPoints._make([*(torch.empty(shape, dtype=kind, device=where) for shape, kind in kinds), 0])
