# SPDX-License-Identifier: Apache-2.0
"""VGGT: points, depth and cameras of a static scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ..errors import DpmError
from ..types import Prediction
from .activations import expp1
from .checks import check_positions, patch_grid
from .config import VGGTConfig
from .dpt import DptHead
from .track_head import TrackHead, Tracks
from .trunk import PointMaps, WindowNetwork, stacked


class DepthMaps(NamedTuple):
    """depth [..., H, W] float32 along the optical axis, network units, > 0; conf [..., H, W] float32, >= 1."""

    depth: Tensor
    conf: Tensor


class SceneMaps(NamedTuple):
    """What training sees.

    Attributes:
        own: points of each view in the reference camera's frame, [B, S, H, W, ...].
        depth: depth of each view, [B, S, H, W].
        pose_encodings: [iterations, B, S, 9], see CameraHead.
    """

    own: PointMaps
    depth: DepthMaps
    pose_encodings: Tensor


class VGGTNetwork(WindowNetwork):
    """The base of V-DPM. It knows no motion: what it says of a view, it says of every time. Source: §2."""

    def __init__(self, config: VGGTConfig) -> None:
        super().__init__(config, time_token=False)
        self.config = config
        dim = 2 * config.aggregator.dim
        self.depth_head = DptHead(config.dpt, dim, 2)
        self.track_head = None if config.track is None else TrackHead(config.track, dim)

    def forward(self, images: Tensor, reference: int = 0) -> SceneMaps:
        """All that a loss needs, differentiably. images: [B, S, 3, H, W] float32 in [0, 1], RGB.

        Raises:
            DpmError: a side is no multiple of the patch, the window is empty, or the reference is outside.
        """
        size = (images.shape[-2], images.shape[-1])
        tokens = self.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        levels = self.aggregate(tokens, size, reference)
        return SceneMaps(self.own_maps(levels, size), self.depth_maps(levels, size), self.camera_head(levels[-1]))

    def depth_maps(
        self, levels: Sequence[Tensor], size: tuple[int, int], views: Sequence[int] | None = None
    ) -> DepthMaps:
        """Depth of some views, by default all. levels: from `aggregate` -> [B, V, H, W]."""
        raw = self.dense(self.depth_head, self.of_views(levels, views), size)
        return DepthMaps(raw[..., 0].exp(), expp1(raw[..., 1]))

    def track(self, levels: Sequence[Tensor], size: tuple[int, int], queries: Tensor) -> Tracks:
        """Pixels of the window's first frame in every frame; see TrackHead for what of it is unverified.

        Args:
            levels: from `aggregate`, with frame 0 as the reference.
            size: (H, W) of the images.
            queries: [B, N, 2] (x, y), pixels of the first frame.

        Raises:
            DpmError: the network was built without a track head, or the images are too small for it.
        """
        if self.track_head is None:
            raise DpmError("this network was built without its track head; give the configuration a TrackConfig")
        patches = [level[:, :, self.aggregator.specials :] for level in levels]
        tracks: Tracks = self.track_head(patches, patch_grid(*size, self.patch), size, queries)
        return tracks

    def predict(
        self,
        tokens: Tensor | Sequence[Tensor],
        size: tuple[int, int],
        times: Sequence[int],
        reference: int = 0,
    ) -> Prediction:
        """One window as the stream sees it; the maps of every asked time are the views' own.

        Args:
            tokens: [S, P, C] from `encode`, oldest frame first.
            size: (H, W) of the images.
            times: asked window positions.
            reference: the window position whose camera is the origin.

        Raises:
            DpmError: the window is empty or of another size, or a time or the reference is outside.
        """
        window = stacked(tokens)
        levels = self.aggregate(window, size, reference)
        check_positions("target time", times, window.shape[1])
        own = self.own_maps(levels, size)
        world_from_camera, intrinsics = self.cameras(self.camera_head(levels[-1])[-1, 0], size)
        return Prediction(
            own_points=own.points[0],
            own_conf=own.conf[0],
            points=own.points.expand(len(times), -1, -1, -1, -1),
            conf=own.conf.expand(len(times), -1, -1, -1),
            times=tuple(times),
            world_from_camera=world_from_camera,
            intrinsics=intrinsics,
        )
