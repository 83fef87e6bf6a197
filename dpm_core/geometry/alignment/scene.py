# SPDX-License-Identifier: Apache-2.0
"""The unknowns of a global alignment: cameras, depths, a similarity for every pair. Source: reference sheet §4.2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..cameras import camera_matrix, inverse_rigid, rigid, transform, unproject
from ..rotations import quaternion_from_rotation, rotation_from_quaternion

# Adam moves every number by about the learning rate: a focal is to move by twentieths of its logarithm.
FOCAL_UNIT = 20.0


class Scene(nn.Module):
    """N images and E pairs.

    Parameters:
        image_poses: [N, 7] quaternion xyzw of any length, then sign(t)·log1p|t| of world_from_camera.
        log_focals: [N, 1], or [1, 1] where one focal is shared by all images: 20 · log(focal in pixels).
        log_depths: [N, H, W].
        pair_poses: [E, 8] quaternion, sign(t)·log1p|t|, log scale of world_from_pair = scale · [R | t].
    """

    def __init__(self, images: int, pairs: int, size: tuple[int, int], shared_focal: bool, base_scale: float) -> None:
        """base_scale: the geometric mean that the pairs' scales are held at, which fixes the scene's unit."""
        super().__init__()
        height, width = size
        self.image_poses = nn.Parameter(torch.zeros(images, 7))
        self.log_focals = nn.Parameter(torch.zeros(1 if shared_focal else images, 1))
        self.log_depths = nn.Parameter(torch.zeros(images, height, width))
        self.pair_poses = nn.Parameter(torch.zeros(pairs, 8))
        self.register_buffer("base_scale", torch.tensor(base_scale))
        self.base_scale: Tensor

    def world_from_camera(self) -> Tensor:
        """[N, 4, 4]."""
        return rigid(rotation_from_quaternion(self.image_poses[:, :4]), _expand(self.image_poses[:, 4:]))

    def scale_factor(self) -> Tensor:
        """What brings the pairs' scales to the geometric mean `base_scale`."""
        return torch.exp(self.base_scale.log() - self.pair_poses[:, 7].mean())

    def world_from_pair(self) -> Tensor:
        """[E, 4, 4] similarities: rotation and translation both times the scale."""
        scale = self.pair_poses[:, 7].exp() * self.scale_factor()
        rotation, translation = rotation_from_quaternion(self.pair_poses[:, :4]), _expand(self.pair_poses[:, 4:7])
        return rigid(scale[:, None, None] * rotation, scale[:, None] * translation)

    def focals(self) -> Tensor:
        """[N, 1] pixels, or [1, 1] where shared."""
        return (self.log_focals / FOCAL_UNIT).exp()

    def intrinsics(self) -> Tensor:
        """[N, 3, 3] pixels, principal point (W/2, H/2)."""
        images, height, width = self.log_depths.shape
        return camera_matrix(self.focals().expand(images, 1), self.log_depths.new_tensor([width / 2, height / 2]))

    def depths(self) -> Tensor:
        """[N, H, W]."""
        return self.log_depths.exp()

    def world_points(self) -> Tensor:
        """[N, H, W, 3] every image's depth as points in the world."""
        return transform(self.world_from_camera(), unproject(self.depths(), self.intrinsics()))

    @torch.no_grad()
    def set_pair(self, pair: int, scale: float, rotation: Tensor, translation: Tensor) -> None:
        """world_from_pair = scale · R x + t, before `scale_factor`."""
        self.pair_poses[pair, :4] = quaternion_from_rotation(rotation)
        self.pair_poses[pair, 4:7] = _compress(translation / scale)
        self.pair_poses[pair, 7] = torch.as_tensor(scale).log()

    @torch.no_grad()
    def set_image(self, image: int, world_from_camera: Tensor, world_points: Tensor) -> None:
        """One image's pose [4, 4], and its depth from the points that its pixels see ([H, W, 3], world)."""
        self.image_poses[image, :4] = quaternion_from_rotation(world_from_camera[:3, :3])
        self.image_poses[image, 4:] = _compress(world_from_camera[:3, 3])
        depth = transform(inverse_rigid(world_from_camera), world_points)[..., 2]
        # What lies behind the camera has no logarithm: such pixels start at depth 1.
        self.log_depths[image] = depth.log().nan_to_num(0.0, 0.0, 0.0)

    @torch.no_grad()
    def set_focals(self, focals: Tensor) -> None:
        """focals: [N] pixels; their mean where one is shared."""
        if len(self.log_focals) == 1:
            focals = focals.mean(0, keepdim=True)
        self.log_focals.copy_(FOCAL_UNIT * focals.log()[:, None])


def _compress(translation: Tensor) -> Tensor:
    return translation.sign() * translation.abs().log1p()


def _expand(compressed: Tensor) -> Tensor:
    return compressed.sign() * compressed.abs().expm1()
