# SPDX-License-Identifier: Apache-2.0
"""What moves between two point maps, and how far points are from a camera."""

from __future__ import annotations

import torch
from torch import Tensor

from ._checked import Arrays, finite
from ._native import call, native


def scene_flow(points: Tensor, moved: Tensor, *, seconds: Tensor | None = None) -> Tensor:
    """How each pixel's content moves: moved - points, over `seconds` where they are given.

    Args:
        points: [S, H, W, 3] float32, P[v, t] at one time.
        moved: [S, H, W, 3] float32, P[v, t'] at another, in the same frame and unit.
        seconds: [S] float32, t' - t of each view; None for the displacement.

    Returns:
        [S, H, W, 3] float32, unit of the points, per second with `seconds`; NaN where either point is not finite or
        no time passed, on the device of `points`.

    Raises:
        TypeError, ValueError: an array has another type, shape or device, or is not contiguous.
    """
    check = Arrays()
    check("points", points, torch.float32, "S H W 3")
    check("moved", moved, torch.float32, "S H W 3")
    if seconds is not None:
        check("seconds", seconds, torch.float32, "S")
    flow = torch.empty_like(points)
    call(native.scene_flow, points, moved, seconds, flow)
    return flow


def camera_depth(points: Tensor, world_from_camera: Tensor) -> Tensor:
    """Depth of world points along a camera's optical axis: z of R⁻¹ (X - t).

    Args:
        points: [S, H, W, 3] float32, world.
        world_from_camera: [S, 4, 4] float32, rigid, in the unit of the points.

    Returns:
        [S, H, W] float32, negative behind the camera, NaN where the point is not finite, on the device of `points`.

    Raises:
        TypeError, ValueError: an array has another type, shape or device, is not contiguous, or the pose not finite.
    """
    check = Arrays()
    check("points", points, torch.float32, "S H W 3")
    check("world_from_camera", world_from_camera, torch.float32, "S 4 4")
    finite("world_from_camera", world_from_camera)
    depth = points.new_empty(points.shape[:3])
    call(native.camera_depth, points, world_from_camera, depth)
    return depth
