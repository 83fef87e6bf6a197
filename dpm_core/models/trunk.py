# SPDX-License-Identifier: Apache-2.0
"""What VGGT and V-DPM share: encoder, aggregator, camera head, point head, and how a window is taken in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..geometry.cameras import inverse_rigid
from ..geometry.pose_encoding import decode_pose
from .activations import expp1, inv_log
from .aggregator import Aggregator
from .camera_head import CameraHead
from .checks import check_positions, check_window, patch_grid
from .config import VDPMConfig, VGGTConfig
from .dpt import DptHead

FIELD_OF_VIEW = (0.05, 3.0)
"""Radians. The head's ReLU allows 0, whose focal length is infinite; real cameras are well inside."""


class PointMaps(NamedTuple):
    """points [..., H, W, 3] float32, reference-camera coordinates, network units; conf [..., H, W] float32, >= 1."""

    points: Tensor
    conf: Tensor


class WindowNetwork(nn.Module):
    """Images to aggregated tokens, cameras, and each view's points at its own time."""

    def __init__(self, config: VGGTConfig | VDPMConfig, *, time_token: bool) -> None:
        """time_token: see Aggregator."""
        super().__init__()
        dim = 2 * config.aggregator.dim
        self.patch = config.aggregator.encoder.patch
        self.views_at_once = config.views_at_once
        self.aggregator = Aggregator(config.aggregator, time_token=time_token)
        self.camera_head = CameraHead(config.camera, dim)
        self.point_head = DptHead(config.dpt, dim, 4)

    def encode(self, images: Tensor) -> Tensor:
        """The part that looks at one image alone.

        Args:
            images: [N, 3, H, W] float32 in [0, 1], RGB, sides multiples of the patch.

        Returns:
            [N, P, C] patch tokens.

        Raises:
            DpmError: a side is no multiple of the patch.
        """
        grid = patch_grid(images.shape[-2], images.shape[-1], self.patch)
        tokens: Tensor = self.aggregator.patch_embed(images, grid)
        return tokens

    def aggregate(self, tokens: Tensor, size: tuple[int, int], reference: int = 0) -> list[Tensor]:
        """The part that looks at the window.

        Args:
            tokens: [B, S, P, C] from `encode`.
            size: (H, W) of the images.
            reference: the window position whose camera is the origin.

        Returns:
            Four levels [B, S, specials + P, 2C].

        Raises:
            DpmError: the window is empty, of another size, or without the reference.
        """
        grid = patch_grid(*size, self.patch)
        check_window(tokens.shape[1], tokens.shape[2], grid, self.patch)
        check_positions("reference frame", [reference], tokens.shape[1])
        levels: list[Tensor] = self.aggregator(tokens, grid, reference)
        return levels

    def own_maps(
        self, levels: Sequence[Tensor], size: tuple[int, int], views: Sequence[int] | None = None
    ) -> PointMaps:
        """Each view at its own time. levels: from `aggregate`; views: which, by default all -> [B, V, H, W, ...]."""
        return self.point_maps(self.point_head, self.of_views(levels, views), size)

    def of_views(self, levels: Sequence[Tensor], views: Sequence[int] | None) -> list[Tensor]:
        """Levels [..., S, P, D] of some views only: [..., V, P, D]."""
        if views is None:
            return list(levels)
        check_positions("view", views, levels[0].shape[-3])
        return [torch.stack([level[..., view, :, :] for view in views], dim=-3) for level in levels]

    def point_maps(self, head: DptHead, levels: Sequence[Tensor], size: tuple[int, int]) -> PointMaps:
        """Levels [..., P, D] of any views through a point head: [..., H, W, ...]."""
        raw = self.dense(head, levels, size)
        return PointMaps(inv_log(raw[..., :3]), expp1(raw[..., 3]))

    def dense(self, head: DptHead, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Levels [..., specials + P, D] through a head, a few images at once: [..., H, W, outputs]."""
        grid = patch_grid(*size, self.patch)
        flat = [level.flatten(0, -3).split(self.views_at_once) for level in levels]
        specials = self.aggregator.specials
        maps = [head([level[:, specials:] for level in part], grid, size) for part in zip(*flat, strict=True)]
        return torch.unflatten(torch.cat(maps), 0, levels[0].shape[:-2])

    def cameras(self, encoding: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Cameras of pose encodings [..., 9]: world_from_camera [..., 4, 4], intrinsics [..., 3, 3], pixels of `size`.

        Fields of view are clamped to FIELD_OF_VIEW.
        """
        encoding = encoding.float()
        bounded = torch.cat([encoding[..., :7], encoding[..., 7:].clamp(*FIELD_OF_VIEW)], dim=-1)
        camera_from_world, intrinsics = decode_pose(bounded, size)
        return inverse_rigid(camera_from_world), intrinsics


def stacked(tokens: Tensor | Sequence[Tensor]) -> Tensor:
    """A window's tokens as one tensor. tokens: [S, P, C] or S of [P, C] -> [1, S, P, C]; S may be 0."""
    if isinstance(tokens, Tensor):
        return tokens[None]
    return torch.stack(list(tokens))[None] if tokens else torch.zeros(1, 0, 0, 0)
