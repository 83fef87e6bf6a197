# SPDX-License-Identifier: Apache-2.0
"""VGGT's nine numbers of a camera: translation, quaternion xyzw, vertical and horizontal field of view.

Source: reference sheet §2.3 ("absT_quaR_FoV").
"""

from __future__ import annotations

import torch
from torch import Tensor

from .rotations import quaternion_from_rotation, rotation_from_quaternion


def encode_pose(camera_from_world: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """The encoding of cameras whose principal point is the image's centre.

    Args:
        camera_from_world: [..., 3, 4] or [..., 4, 4], rigid.
        intrinsics: [..., 3, 3], pixels of an image of `size`.
        size: (H, W).

    Returns:
        [..., 9]: translation (3), unit quaternion xyzw with w >= 0 (4), field of view in radians: vertical, horizontal.
    """
    height, width = size
    fov_v = 2 * torch.atan(height / 2 / intrinsics[..., 1, 1])
    fov_h = 2 * torch.atan(width / 2 / intrinsics[..., 0, 0])
    quaternion = quaternion_from_rotation(camera_from_world[..., :3, :3])
    return torch.cat([camera_from_world[..., :3, 3], quaternion, torch.stack([fov_v, fov_h], -1)], -1)


def decode_pose(encoding: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The cameras of encodings.

    Args:
        encoding: [..., 9]; the quaternion of any length but 0, fields of view in (0, π).
        size: (H, W).

    Returns:
        camera_from_world [..., 3, 4] and intrinsics [..., 3, 3], pixels, principal point (W/2, H/2).
    """
    height, width = size
    rotation = rotation_from_quaternion(encoding[..., 3:7])
    camera_from_world = torch.cat([rotation, encoding[..., :3, None]], -1)
    intrinsics = torch.zeros(*encoding.shape[:-1], 3, 3, dtype=encoding.dtype, device=encoding.device)
    intrinsics[..., 0, 0] = width / 2 / torch.tan(encoding[..., 8] / 2)
    intrinsics[..., 1, 1] = height / 2 / torch.tan(encoding[..., 7] / 2)
    intrinsics[..., 0, 2], intrinsics[..., 1, 2] = width / 2, height / 2
    intrinsics[..., 2, 2] = 1
    return camera_from_world, intrinsics
