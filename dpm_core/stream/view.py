# SPDX-License-Identifier: Apache-2.0
"""The newest frame as the map and the tracks see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..geometry.sim3 import Sim3
from ..types import Float64, Prediction


@dataclass(frozen=True)
class View:
    """One frame at its own time, map coordinates, the network's image size.

    Attributes:
        stamp_ns: the frame's own stamp.
        colors: [H, W, 3] uint8, RGB.
        window_points: [H, W, 3] float32, in the window's coordinates.
        map_from_window: places them in the map.
        depth: [H, W] float32 along the optical axis, NaN where there is none.
        conf: [H, W] float32, the network's confidence.
        trusted: [H, W] bool, what the network is sure enough of.
        dynamic: [H, W] bool, what moves.
        world_from_camera: [4, 4] float64.
        intrinsics: [3, 3] float64, pixels of the maps above.
    """

    stamp_ns: int
    colors: Tensor
    window_points: Tensor
    map_from_window: Sim3
    depth: Tensor
    conf: Tensor
    trusted: Tensor
    dynamic: Tensor
    world_from_camera: Float64
    intrinsics: Float64

    @cached_property
    def points(self) -> Tensor:
        """[H, W, 3] float32, map coordinates; made when it is first asked for, since tracks do without."""
        return self.map_from_window.points(self.window_points)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Where points fall in the image: u = K (R⁻¹ (X − t)), to the nearest pixel.

        Args:
            points: [N, 3] float32, map coordinates.

        Returns:
            pixel [N] int64, v · W + u, and −1 where a point is not before the camera or not in the image;
            depth [N] float32 along the optical axis.
        """
        height, width = self.depth.shape
        camera_from_world = torch.linalg.inv(torch.from_numpy(self.world_from_camera)).to(points)
        in_camera = points @ camera_from_world[:3, :3].mT + camera_from_world[:3, 3]
        depth = in_camera[:, 2]
        homogeneous = in_camera @ torch.from_numpy(self.intrinsics).to(points).mT
        u, v = (homogeneous[:, :2] / depth[:, None]).round().unbind(-1)
        inside = (depth > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        pixel = torch.where(inside, v * width + u, -1.0)
        return pixel.long(), depth


def newest_view(
    stamp_ns: int,
    prediction: Prediction,
    depth: Tensor,
    dynamic: Tensor,
    colors: Tensor,
    map_from_window: Sim3,
    min_confidence: float,
) -> View:
    """The window's last frame in the map.

    Args:
        stamp_ns: of the frame.
        prediction: of the window.
        depth: [H, W] of the frame, network units, NaN where its point is not finite or not before the camera.
        dynamic: [H, W] bool, of the frame.
        colors: [H, W, 3] uint8, of the frame.
        map_from_window: of this window.
        min_confidence: what the network trusts less is not trusted.
    """
    conf = prediction.own_conf[-1]
    return View(
        stamp_ns=stamp_ns,
        colors=colors,
        window_points=prediction.own_points[-1],
        map_from_window=map_from_window,
        depth=map_from_window.scale * depth,
        conf=conf,
        trusted=(conf >= min_confidence) & depth.isfinite(),
        dynamic=dynamic,
        world_from_camera=map_from_window.pose(prediction.world_from_camera[-1].double().cpu().numpy()),
        intrinsics=prediction.intrinsics[-1].double().cpu().numpy(),
    )
