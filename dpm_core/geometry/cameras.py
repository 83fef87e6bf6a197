# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras: rigid poses, intrinsics, depth and points. Batched; differentiable; any float dtype and device."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_grid(image: Tensor) -> Tensor:
    """[H, W, 2] coordinates (u, v) of every pixel of `image` [..., H, W], its dtype and device; centres at integers."""
    v, u = (torch.arange(size, dtype=image.dtype, device=image.device) for size in image.shape[-2:])
    return torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """a_from_b of its parts. rotation: [..., 3, 3], translation: [..., 3] -> [..., 4, 4]."""
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3] = 1
    return torch.cat([top, bottom], -2)


def inverse_rigid(a_from_b: Tensor) -> Tensor:
    """b_from_a. a_from_b: [..., 4, 4] or [..., 3, 4], a rotation and a translation -> [..., 4, 4]."""
    back = a_from_b[..., :3, :3].transpose(-1, -2)
    return rigid(back, -(back @ a_from_b[..., :3, 3:])[..., 0])


def transform(a_from_b: Tensor, points: Tensor) -> Tensor:
    """a_from_b: [..., 4, 4] affine; points: [..., H, W, 3] in b -> the same shape in a."""
    linear, translation = a_from_b[..., :3, :3], a_from_b[..., :3, 3]
    return points @ linear.transpose(-1, -2)[..., None, :, :] + translation[..., None, None, :]


def camera_matrix(focal: Tensor, principal_point: Tensor) -> Tensor:
    """K. focal: [..., 1] (fx = fy) or [..., 2] pixels; principal_point: [..., 2] pixels -> [..., 3, 3]."""
    K = torch.zeros(*focal.shape[:-1], 3, 3, dtype=focal.dtype, device=focal.device)
    K[..., 0, 0], K[..., 1, 1] = focal[..., 0], focal[..., -1]
    K[..., :2, 2] = principal_point
    K[..., 2, 2] = 1
    return K


def unproject(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Points of a depth map in its camera. depth: [..., H, W]; intrinsics: [..., 3, 3], no skew -> [..., H, W, 3]."""
    uv = pixel_grid(depth)
    focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], -1)[..., None, None, :]
    rays = (uv - intrinsics[..., None, None, :2, 2]) / focal
    return torch.cat([rays * depth[..., None], depth[..., None]], -1)


def project(points: Tensor, intrinsics: Tensor, epsilon: float = 0.0) -> Tensor:
    """Pixels of points in a camera. points: [..., H, W, 3]; intrinsics: [..., 3, 3] -> [..., H, W, 2].

    `epsilon` is added to the depth before dividing; what lies behind the camera projects too: check the depth.
    """
    homogeneous = points @ intrinsics.transpose(-1, -2)[..., None, :, :]
    return homogeneous[..., :2] / (homogeneous[..., 2:] + epsilon)
