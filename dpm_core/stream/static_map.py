# SPDX-License-Identifier: Apache-2.0
"""The map of what does not move: it grows by what is seen to stand still, and forgets what is seen through."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from ..kernels import FusedPoints, VoxelMap
from ..types import Cloud
from .config import MapConfig
from .view import View

_DOUBTED_PIXELS = 2  # around what moves: masks and depth are least exact along an outline
_FORGOTTEN_PART = 0.1  # of a full map at a time, so that it is not sorted anew for every cell


class StaticMap:
    """What does not move, of all that was seen since the map began.

    Two things keep moving objects out. Pixels that move, and those next to them, never enter. And of what is there,
    all that the newest camera sees through goes, with all that lies on a surface that now moves: an object that
    stood still and drives off leaves no ghost.

    Memory is bounded: 36 bytes for each of `MapConfig.capacity` cells, and at most 450 while a frame enters (measured:
    225 MB at 500 000 cells with frames of 518 × 392 on a CPU).
    """

    def __init__(self) -> None:
        self._cells: VoxelMap | None = None
        self._newest_ns: int | None = None

    def see(self, view: View, median_depth: float, config: MapConfig) -> None:
        """Let in what stands still in a view whose motion is known, if the last one is long enough ago.

        Args:
            view: the newest frame.
            median_depth: of the view, map units; the first one sets the size of the cells.
            config: its structural fields count when the map begins.
        """
        if self._newest_ns is not None and view.stamp_ns - self._newest_ns < config.period_s * 1e9:
            return
        self._newest_ns = view.stamp_ns
        if self._cells is None:
            self._cells = VoxelMap(config.voxel * median_depth, config.capacity, view.depth.device)
        cells = self._cells
        self._forget_what_is_seen_through(cells, view, config.see_through)
        before = cells.dropped
        _add_what_stands_still(cells, view)
        if cells.dropped > before:
            _forget_the_farthest(cells, view)

    def cells(self) -> FusedPoints | None:
        """The map as it is now; a later `see` makes another and leaves this one. None before the first frame."""
        return None if self._cells is None else self._cells.cells

    @staticmethod
    def _forget_what_is_seen_through(cells: VoxelMap, view: View, relative: float) -> None:
        """A cell at depth z goes where d > z (1 + relative) is seen, or d (1 + relative) > z at a pixel that moves.

        The nearest depth d of 3 × 3 pixels counts, so that a cell at an outline is not judged by what is behind it.
        """
        depth = torch.where(view.trusted, view.depth, torch.nan)
        depth = torch.where(view.dynamic, depth * (1 + relative) ** 2, depth)
        nearest = -max_pool2d(-depth[None, None], 3, stride=1, padding=1)[0, 0]
        pose, intrinsics = torch.from_numpy(view.world_from_camera), torch.from_numpy(view.intrinsics)
        cells.remove_seen_through(nearest.contiguous(), pose, intrinsics, relative=relative)


def _add_what_stands_still(cells: VoxelMap, view: View) -> None:
    size = 2 * _DOUBTED_PIXELS + 1
    doubted = max_pool2d(view.dynamic[None, None].float(), size, stride=1, padding=_DOUBTED_PIXELS)[0, 0] > 0
    still = view.trusted & ~doubted
    points = view.points[still]
    cells.add(
        points,
        view.colors[still],
        view.conf[still],
        torch.zeros_like(points),
        torch.zeros(len(points), dtype=torch.bool, device=points.device),
    )


def _forget_the_farthest(cells: VoxelMap, view: View) -> None:
    """Make room around the camera: what the full map has just dropped comes again with the next frame."""
    points = cells.cells.points
    distance = (points - points.new_tensor(view.world_from_camera[:3, 3])).norm(dim=-1)
    farthest = distance.argsort(stable=True)[len(points) - max(1, round(_FORGOTTEN_PART * len(points))) :]
    rows: Tensor = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    rows[farthest] = True
    cells.remove(rows)


def map_cloud(cells: FusedPoints | None) -> Cloud:
    """The cells as a cloud."""
    return Cloud.none() if cells is None else Cloud(*(array.cpu().numpy() for array in cells[:5]))
