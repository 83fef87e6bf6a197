# SPDX-License-Identifier: Apache-2.0
"""A window's point maps at one instant as one cloud."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..geometry.sim3 import Sim3
from ..kernels import fuse_points
from ..types import Cloud, Prediction
from .motion import Motion


def fused_cloud(
    prediction: Prediction,
    colors: Sequence[Tensor],
    motion: Motion,
    map_from_window: Sim3,
    min_confidence: float,
    voxel: float,
) -> Cloud:
    """All views' point maps at the newest instant as one cloud (V-DPM supplement §8).

    Cells are those of a grid in the window's own axes: what is fused is placed in the map, not each of its points.

    Args:
        prediction: of the window; P[v, now] are the maps of its first asked time.
        colors: of its S views, [H, W, 3] uint8 each, RGB.
        motion: of every view.
        map_from_window: of this window.
        min_confidence: points that the network trusts less are left out.
        voxel: edge of a cell, network units.
    """
    conf = prediction.conf[0]
    cells = fuse_points(
        prediction.points[0].reshape(-1, 3),
        torch.stack(list(colors)).flatten(0, 2),
        conf.where(conf >= min_confidence, 0.0).flatten(),  # without weight a point does not count
        motion.velocity.flatten(0, 2),
        motion.dynamic.flatten(),
        voxel=voxel,
    )
    points, velocity = map_from_window.points(cells.points), map_from_window.vectors(cells.velocity)
    columns = (points, cells.colors, cells.confidence, velocity, cells.dynamic)
    return Cloud(*(column.cpu().numpy() for column in columns))
