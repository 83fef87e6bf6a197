# SPDX-License-Identifier: Apache-2.0
"""Depth maps to point maps."""

import torch
from torch import Tensor

from ._checked import Arrays, finite
from ._native import call, native


def unproject_depth(depth: Tensor, intrinsics: Tensor, world_from_camera: Tensor) -> Tensor:
    """Points of depth maps in the world: X = R d K⁻¹ (u, v, 1)ᵀ + t, pixel centres at integers.

    Args:
        depth: [S, H, W] float32, along the optical axis; there is no point where it is not > 0.
        intrinsics: [S, 3, 3] float32, pixels, no skew.
        world_from_camera: [S, 4, 4] float32, rigid, in the unit of `depth`.

    Returns:
        [S, H, W, 3] float32 in the world, NaN where there is no point, on the device of `depth`.

    Raises:
        TypeError, ValueError: an array has another type, shape or device, is not contiguous, or a matrix not finite.
    """
    check = Arrays()
    check("depth", depth, torch.float32, "S H W")
    check("intrinsics", intrinsics, torch.float32, "S 3 3")
    check("world_from_camera", world_from_camera, torch.float32, "S 4 4")
    finite("intrinsics", intrinsics)
    finite("world_from_camera", world_from_camera)
    points = depth.new_empty((*depth.shape, 3))
    call(native.unproject_depth, depth, intrinsics, world_from_camera, points)
    return points
