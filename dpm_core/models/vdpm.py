# SPDX-License-Identifier: Apache-2.0
"""V-DPM: dynamic point maps of a window, at any of its times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..types import Prediction, Request
from .checks import check_positions, patch_grid
from .config import AdaptiveDecoderConfig, AdditiveDecoderConfig, VDPMConfig
from .decoder import AdaptiveDecoder, AdditiveDecoder, DptDecoder
from .dpt import DptHead
from .trunk import PointMaps, WindowNetwork, stacked

TIME_TOKEN = 1


class WindowMaps(NamedTuple):
    """What training sees.

    Attributes:
        own: each view at its own time, [B, S, H, W, ...].
        at_targets: each view at each target, [B, T, S, H, W, ...].
        pose_encodings: [iterations, B, S, 9], see CameraHead.
    """

    own: PointMaps
    at_targets: PointMaps
    pose_encodings: Tensor


class VDPMNetwork(WindowNetwork):
    """VGGT's trunk with a time token a frame, and a decoder that brings all views to an asked time. Source: §3."""

    def __init__(self, config: VDPMConfig) -> None:
        super().__init__(config, time_token=True)
        self.config = config
        dim = 2 * config.aggregator.dim
        self.decoder = _decoder(config, dim)
        # Only the DPT variant has a head of its own for asked times; its tokens come normalised from the decoder.
        self.dynamic_head: DptHead | None = None
        if isinstance(self.decoder, DptDecoder):
            self.dynamic_head = DptHead(config.dpt, dim, 4, norm=False)

    def forward(self, images: Tensor, targets: Tensor, reference: int = 0) -> WindowMaps:
        """All that a loss needs, differentiably.

        Args:
            images: [B, S, 3, H, W] float32 in [0, 1], RGB.
            targets: [B, T, S] int64, the window position at whose time each view is wanted; [B, T, 1] for all views
                at the same time.
            reference: the window position whose camera is the origin.

        Raises:
            DpmError: a side is no multiple of the patch, the window is empty, or the reference is outside.
        """
        size = (images.shape[-2], images.shape[-1])
        tokens = self.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        levels = self.aggregate(tokens, size, reference)
        at_targets = self.maps_at(levels, self.conditions_of(levels, targets), size)
        return WindowMaps(self.own_maps(levels, size), at_targets, self.camera_head(levels[-1]))

    def predict(
        self,
        tokens: Tensor | Sequence[Tensor],
        size: tuple[int, int],
        times: Sequence[int],
        reference: int = 0,
    ) -> Prediction:
        """One window as the stream sees it; only the asked times are decoded.

        Args:
            tokens: [S, P, C] from `encode`, oldest frame first.
            size: (H, W) of the images.
            times: asked window positions.
            reference: the window position whose camera is the origin; the released inference takes 0.

        Raises:
            DpmError: the window is empty or of another size, or a time or the reference is outside.
        """
        return self.answer(tokens, size, Request.whole(len(tokens), times), reference)

    def answer(
        self,
        tokens: Tensor | Sequence[Tensor],
        size: tuple[int, int],
        request: Request,
        reference: int = 0,
    ) -> Prediction:
        """One window, of which only what is asked is computed; other maps are NaN.

        Args:
            tokens, size, reference: as `predict`.
            request: what is asked.

        Raises:
            DpmError: as `predict`, or a view is outside the window.
        """
        window = stacked(tokens)
        levels = self.aggregate(window, size, reference)
        frames = window.shape[1]
        own = _among(frames, request.own_views, self.own_maps(levels, size, _some(frames, request.own_views)))
        asked = self._asked_maps(levels, size, request)
        world_from_camera, intrinsics = self.cameras(self.camera_head(levels[-1])[-1, 0], size)
        return Prediction(
            own_points=own.points[0],
            own_conf=own.conf[0],
            points=asked.points[0],
            conf=asked.conf[0],
            times=request.times,
            world_from_camera=world_from_camera,
            intrinsics=intrinsics,
        )

    def _asked_maps(self, levels: Sequence[Tensor], size: tuple[int, int], request: Request) -> PointMaps:
        """[B, T, S, H, W, ...]. One time after another: together they fill caches and are slower."""
        frames = levels[0].shape[1]
        conditions = self.conditions_at(levels, request.times)
        if not request.times:
            return self.maps_at(levels, conditions, size)
        maps = [
            _among(frames, views, self.maps_at(levels, condition, size, _some(frames, views)))
            for condition, views in zip(conditions.split(1, dim=1), request.views, strict=True)
        ]
        return PointMaps(torch.cat([at.points for at in maps], 1), torch.cat([at.conf for at in maps], 1))

    def conditions_at(self, levels: Sequence[Tensor], times: Sequence[int]) -> Tensor:
        """What the decoder must know of these times. levels: from `aggregate` -> [B, T, 1, 2C].

        Raises:
            DpmError: a time is outside the window, or none is asked.
        """
        time_tokens = levels[-1][:, :, TIME_TOKEN]
        check_positions("target time", times, time_tokens.shape[1])
        if not times:
            return time_tokens[:, :0, None]
        return torch.stack([time_tokens[:, time] for time in times], dim=1).unsqueeze(2)

    def conditions_of(self, levels: Sequence[Tensor], targets: Tensor) -> Tensor:
        """The same for targets that differ by batch entry or view.

        Args:
            levels: from `aggregate`.
            targets: [B, T, S or 1] int64, window positions.

        Returns:
            [B, T, S or 1, 2C].
        """
        time_tokens = levels[-1][:, :, TIME_TOKEN]
        entries = torch.arange(len(targets), device=targets.device)[:, None, None]
        return time_tokens[entries, targets]

    def decode(
        self,
        levels: Sequence[Tensor],
        prepared: Sequence[Tensor],
        size: tuple[int, int],
        views: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """Levels brought to asked times.

        Args:
            levels: from `aggregate`.
            prepared: `decoder.prepare(conditions)`, or a part of its times.
            size: (H, W) of the images.
            views: the views whose tokens are wanted, by default all.

        Returns:
            Four levels [B, T, V, specials + P, 2C].
        """
        grid = patch_grid(*size, self.patch)
        table = self.aggregator.rotary_table(grid, self.decoder.head_dim, levels[0].device)
        decoded: list[Tensor] = self.decoder(levels, prepared, table, views)
        return decoded

    def maps_at(
        self,
        levels: Sequence[Tensor],
        conditions: Tensor,
        size: tuple[int, int],
        views: Sequence[int] | None = None,
    ) -> PointMaps:
        """Points of views at asked times.

        Args:
            levels: from `aggregate`.
            conditions: [B, T, S or 1, 2C] from `conditions_at` or `conditions_of`.
            size: (H, W) of the images.
            views: the views whose maps are wanted, by default all. The decoder needs every view's tokens regardless.

        Returns:
            [B, T, V, H, W, ...].
        """
        batch, times = conditions.shape[:2]
        if times == 0:
            shape = (batch, 0, levels[0].shape[1] if views is None else len(views), *size)
            return PointMaps(conditions.new_zeros(*shape, 3), conditions.new_zeros(shape))
        if views is not None:
            check_positions("view", views, levels[0].shape[1])
        head = self.point_head if self.dynamic_head is None else self.dynamic_head
        prepared = [vectors.split(self.config.times_at_once, dim=1) for vectors in self.decoder.prepare(conditions)]
        maps = [
            self.point_maps(head, self.decode(levels, part, size, views), size) for part in zip(*prepared, strict=True)
        ]
        return PointMaps(torch.cat([part.points for part in maps], 1), torch.cat([part.conf for part in maps], 1))


def _some(frames: int, views: tuple[int, ...]) -> tuple[int, ...] | None:
    """None where these views are the whole window."""
    return None if views == tuple(range(frames)) else views


def _among(frames: int, views: tuple[int, ...], maps: PointMaps) -> PointMaps:
    """Maps [..., V, H, W, ...] of some views in their places in the window, NaN elsewhere: [..., S, H, W, ...]."""
    if _some(frames, views) is None:
        return maps
    points = maps.points.new_full((*maps.conf.shape[:-3], frames, *maps.points.shape[-3:]), torch.nan)
    conf = maps.conf.new_full((*maps.conf.shape[:-3], frames, *maps.conf.shape[-2:]), torch.nan)
    for place, view in enumerate(views):
        points.select(-4, view).copy_(maps.points.select(-4, place))
        conf.select(-3, view).copy_(maps.conf.select(-3, place))
    return PointMaps(points, conf)


def _at(places: Sequence[int], x: Tensor) -> Tensor:
    """[B, T, ...] -> [B, places, ...], without an index from the host, which a CUDA graph does not take."""
    return torch.stack([x[:, place] for place in places], dim=1)


def _decoder(config: VDPMConfig, dim: int) -> AdaptiveDecoder | AdditiveDecoder | DptDecoder:
    if isinstance(config.decoder, AdaptiveDecoderConfig):
        return AdaptiveDecoder(config.decoder, dim)
    if isinstance(config.decoder, AdditiveDecoderConfig):
        return AdditiveDecoder(config.decoder, dim)
    return DptDecoder(dim, config.aggregator.dim // config.aggregator.heads)
