# SPDX-License-Identifier: Apache-2.0
"""Rotation matrices and quaternions (xyzw)."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """quaternion: [..., 4] xyzw of any length but 0 -> [..., 3, 3] rotation of its direction."""
    x, y, z, w = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    entries = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in entries], -2)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """rotation: [..., 3, 3] -> [..., 4] unit quaternion xyzw with w >= 0.

    The outer product 4 q qᵀ is linear in the matrix; its largest row is the best conditioned multiple of q.
    """
    m = [[rotation[..., i, j] for j in range(3)] for i in range(3)]
    xx = 1 + m[0][0] - m[1][1] - m[2][2]
    yy = 1 - m[0][0] + m[1][1] - m[2][2]
    zz = 1 - m[0][0] - m[1][1] + m[2][2]
    ww = 1 + m[0][0] + m[1][1] + m[2][2]
    xy, xz, yz = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    xw, yw, zw = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    rows = [[xx, xy, xz, xw], [xy, yy, yz, yw], [xz, yz, zz, zw], [xw, yw, zw, ww]]
    outer = torch.stack([torch.stack(row, -1) for row in rows], -2)
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None].expand(*outer.shape[:-2], 1, 4)
    quaternion = torch.nn.functional.normalize(outer.gather(-2, largest)[..., 0, :], dim=-1)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
