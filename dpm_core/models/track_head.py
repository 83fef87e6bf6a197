# SPDX-License-Identifier: Apache-2.0
"""VGGT's point tracker: where pixels of the first frame are in every other.

Key names and shapes are the published ones. No golden case covers the tracker; what reference sheet §2.4 leaves open
(how the 388 input channels are made up, the order of the correlation window, the frequencies of the motion embedding)
follows the trackers that VGGT's descends from and stays unverified until published weights are at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DpmError
from .config import TrackConfig
from .dpt import DptFeatures
from .layers import Mlp
from .precision import full_precision
from .track_transformer import TrackTransformer

EPS = 1e-5
MOTION_FREQUENCY = 1000.0
PLACE_BASE = 10000.0


class Tracks(NamedTuple):
    """Points through the window.

    Attributes:
        pixels: [B, S, N, 2] float32 (x, y), integer pixel centres.
        visibility: [B, S, N] float32 in [0, 1].
        conf: [B, S, N] float32 in [0, 1].
    """

    pixels: Tensor
    visibility: Tensor
    conf: Tensor


class Tracker(nn.Module):
    """Positions and features of points, corrected again and again by what the feature maps show around them."""

    def __init__(self, config: TrackConfig) -> None:
        super().__init__()
        self.config = config
        latent, window = config.latent, (2 * config.radius + 1) ** 2
        dim = 3 * latent + 4
        self.corr_mlp = Mlp(config.levels * window, config.hidden, latent)
        self.query_ref_token = nn.Parameter(torch.zeros(1, 2, dim))
        self.updateformer = TrackTransformer(config, dim, latent + 2)
        self.fmap_norm = nn.LayerNorm(latent, eps=EPS)
        self.ffeat_norm = nn.GroupNorm(1, latent, eps=EPS)
        self.ffeat_updater = nn.Sequential(nn.Linear(latent, latent), nn.GELU())
        self.vis_predictor = nn.Sequential(nn.Linear(latent, 1))
        self.conf_predictor = nn.Sequential(nn.Linear(latent, 1))

    def forward(self, maps: Tensor, queries: Tensor) -> Tracks:
        """maps: [B, S, latent, h, w] features; queries: [B, N, 2] (x, y), pixels of the images' first frame."""
        maps = self.fmap_norm(maps.movedim(2, -1)).movedim(-1, 2)
        frames = maps.shape[1]
        start = queries[:, None] / self.config.stride
        features = _sample(maps[:, 0], start).movedim(1, -1).expand(-1, frames, -1, -1)
        places = _sample(self._place_table(maps), start).movedim(1, -1)
        roles = torch.cat([self.query_ref_token[:, :1], self.query_ref_token[:, 1:].expand(-1, frames - 1, -1)], dim=1)
        pyramid = self._pyramid(maps)
        points = start.expand(-1, frames, -1, -1)
        for _ in range(self.config.iterations):
            points = points.detach()
            motion = self._embedded_motion(points - points[:, :1])
            seen = self.corr_mlp(self._correlation(pyramid, points, features))
            x = torch.cat([motion, seen, features], dim=-1) + places + roles[:, :, None]
            delta = self.updateformer(x.transpose(1, 2)).transpose(1, 2)
            features = features + self.ffeat_updater(self._normalised(delta[..., 2:]))
            # The first frame's points are what was asked for: they stay.
            points = torch.cat([start, points[:, 1:] + delta[:, 1:, :, :2]], dim=1)
        visibility, conf = self.vis_predictor(features)[..., 0], self.conf_predictor(features)[..., 0]
        return Tracks(points * self.config.stride, visibility.sigmoid(), conf.sigmoid())

    def _normalised(self, delta: Tensor) -> Tensor:
        flat: Tensor = self.ffeat_norm(delta.flatten(0, 2))
        return flat.view_as(delta)

    def _pyramid(self, maps: Tensor) -> list[Tensor]:
        pyramid = [maps.flatten(0, 1)]
        for _ in range(1, self.config.levels):
            pyramid.append(F.avg_pool2d(pyramid[-1], 2))
        return pyramid

    def _correlation(self, pyramid: Sequence[Tensor], points: Tensor, features: Tensor) -> Tensor:
        """Products of each track's feature with the maps around it: [B, S, N, levels * window]."""
        radius = self.config.radius
        offsets = torch.arange(-radius, radius + 1, device=points.device, dtype=points.dtype)
        # x is the slow axis of the window.
        window = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), dim=-1).flatten(0, 1)
        flat_points, flat_features = points.flatten(0, 1)[:, :, None], features.flatten(0, 1)
        products = []
        for index, level in enumerate(pyramid):
            around = _sample(level, flat_points / 2**index + window)
            products.append(torch.einsum("bnc,bcnk->bnk", flat_features, around))
        scale: float = self.config.latent**-0.5
        return torch.unflatten(torch.cat(products, dim=-1) * scale, 0, points.shape[:2])

    def _embedded_motion(self, motion: Tensor) -> Tensor:
        """[B, S, N, 2] -> [B, S, N, latent + 4]: waves of both coordinates, then both twice, to the largest motion."""
        count = self.config.latent // 2
        steps = torch.arange(0, count, 2, device=motion.device, dtype=motion.dtype)
        angles = motion[..., None] * (steps * (MOTION_FREQUENCY / count))
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-3)
        scaled = motion / self.config.largest_motion
        return torch.cat([waves, scaled, scaled], dim=-1)

    def _place_table(self, maps: Tensor) -> Tensor:
        """Sines of where in the map a track starts: [B, dim, h, w], the first half of the channels for x."""
        rows, columns = maps.shape[-2:]
        quarter = self.query_ref_token.shape[-1] // 4
        omega = PLACE_BASE ** -(torch.arange(quarter, device=maps.device, dtype=torch.float64) / quarter)
        tables = []
        for count in (columns, rows):
            angles = omega[:, None] * torch.arange(count, device=maps.device, dtype=torch.float64)
            tables.append(torch.cat([angles.sin(), angles.cos()]).to(maps.dtype))
        across, down = tables[0][:, None].expand(-1, rows, -1), tables[1][:, :, None].expand(-1, -1, columns)
        return torch.cat([across, down]).expand(len(maps), -1, -1, -1)


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear, zero outside. maps: [B, C, h, w]; points: [B, R, K, 2] (x, y) map pixels -> [B, C, R, K]."""
    rows, columns = maps.shape[-2:]
    x, y = points.unbind(-1)
    grid = torch.stack([2 * x / max(columns - 1, 1) - 1, 2 * y / max(rows - 1, 1) - 1], dim=-1)
    return F.grid_sample(maps, grid, align_corners=True)


class TrackHead(nn.Module):
    """Feature maps of half the image's size, then the tracker on them."""

    def __init__(self, config: TrackConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.feature_extractor = DptFeatures(config.dpt, dim, config.latent, None, position=False)
        self.tracker = Tracker(config)

    def forward(
        self, levels: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int], queries: Tensor
    ) -> Tracks:
        """Tracks; float32 also under autocast.

        Args:
            levels: four [B, S, rows * columns, dim] patch tokens.
            grid: (rows, columns) of patches.
            size: (H, W) of the images.
            queries: [B, N, 2] (x, y), pixels of the first frame.

        Raises:
            DpmError: the images are too small for the correlation pyramid.
        """
        map_size = (size[0] // self.config.stride, size[1] // self.config.stride)
        smallest = 2 ** (self.config.levels - 1)
        if min(map_size) < smallest:
            raise DpmError(
                f"image size {size[1]}x{size[0]} is too small to track points in: "
                f"each side must be at least {smallest * self.config.stride} pixels"
            )
        with full_precision(levels[0]):
            maps = self.feature_extractor.features([level.flatten(0, 1) for level in levels], grid, map_size)
            tracks: Tracks = self.tracker(torch.unflatten(maps, 0, levels[0].shape[:2]), queries.to(maps.dtype))
            return tracks
