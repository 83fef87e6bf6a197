# SPDX-License-Identifier: Apache-2.0
"""Dense heads of DUSt3R's family: linear, DPT, and DPT with POMATO's motion modules. Source: reference sheet §4, §7."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checks import patch_grid
from .dpt import FusionPyramid, resample
from .motion_module import MotionModule
from .pair_config import CrocoConfig, PairDptConfig
from .precision import full_precision

POINT_OUTPUTS = 4
"""Numbers a pixel of a point map: x, y, z and confidence."""


class LinearHead(nn.Module):
    """Every token becomes the pixels of its patch."""

    def __init__(self, croco: CrocoConfig, outputs: int) -> None:
        super().__init__()
        self.patch, self.outputs = croco.patch, outputs
        self.taps = (croco.decoder_depth,)
        self.proj = nn.Linear(croco.decoder_dim, outputs * croco.patch**2)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Raw numbers, float32 also under autocast. levels: one [N, P, C]; size: (H, W) -> [N, H, W, outputs]."""
        grid = patch_grid(*size, self.patch)
        with full_precision(levels[-1]):
            patches = self.proj(levels[-1].to(self.proj.weight.dtype)).transpose(1, 2).unflatten(2, grid)
            return F.pixel_shuffle(patches, self.patch).permute(0, 2, 3, 1)


class PairPyramid(FusionPyramid):
    """The pyramid as DUSt3R's files name it: every level's convolution goes by two names."""

    def __init__(self, config: PairDptConfig) -> None:
        super().__init__(
            config.channels, config.features, rectified_skip=False, coarsest_takes_level=True, crop_doubled=True
        )
        self.layer_rn = nn.ModuleList([self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn])

    def fuse_finest(self, x: Tensor, second: Tensor, first: Tensor) -> Tensor:
        """What refinenet3 gave, through the last blocks with reduced levels 1 and 0: [N, features, 2 h_0, 2 w_0]."""
        rows, columns = _size(first)
        x = self.refinenet2(x, second, (rows, columns))
        out: Tensor = self.refinenet1(x, first, (2 * rows, 2 * columns))
        return out


class PairDpt(nn.Module):
    """Four levels of tokens to numbers for every pixel."""

    def __init__(self, config: PairDptConfig, croco: CrocoConfig, outputs: int) -> None:
        super().__init__()
        self.maps_at_once = config.maps_at_once
        dims = [croco.dim if tap == 0 else croco.decoder_dim for tap in config.taps]
        first, second, third, fourth = config.channels
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(dims[0], first, 1), nn.ConvTranspose2d(first, first, 4, stride=4)),
                nn.Sequential(nn.Conv2d(dims[1], second, 1), nn.ConvTranspose2d(second, second, 2, stride=2)),
                nn.Sequential(nn.Conv2d(dims[2], third, 1)),
                nn.Sequential(nn.Conv2d(dims[3], fourth, 1), nn.Conv2d(fourth, fourth, 3, stride=2, padding=1)),
            ]
        )
        self.scratch = PairPyramid(config)
        self.head = nn.Sequential(
            nn.Conv2d(config.features, config.features // 2, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(config.features // 2, config.last, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(config.last, outputs, 1),
        )
        widths = (dims[3], dims[2], config.features, config.features)
        temporal = config.temporal
        self.motion_modules = nn.ModuleList(
            MotionModule(temporal, width) if temporal else nn.Identity() for width in widths
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """maps: four [N, C, rows, columns], N whole windows where there are modules -> [N, outputs, H, W]."""
        (first, second, third, fourth), scratch = maps, self.scratch
        maps = (first, second, self.motion_modules[1](third), self.motion_modules[0](fourth))
        reduced = scratch.reduce([layer(level) for layer, level in zip(self.act_postprocess, maps, strict=True)])
        x = self.motion_modules[2](scratch.fuse_coarsest(reduced))
        x = self.motion_modules[3](scratch.refinenet3(x, reduced[2], _size(reduced[1])))
        # From here on nothing looks at another frame, and maps are large: a few at a time.
        parts = zip(*(part.split(self.maps_at_once) for part in (x, reduced[1], reduced[0])), strict=True)
        return torch.cat([self.head(scratch.fuse_finest(*part)) for part in parts])

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.scratch.layer1_rn.weight.dtype


class PairDptHead(nn.Module):
    """Tokens to numbers for every pixel."""

    def __init__(self, config: PairDptConfig, croco: CrocoConfig, outputs: int) -> None:
        super().__init__()
        self.patch, self.outputs = croco.patch, outputs
        self.taps = config.taps
        self.dpt = PairDpt(config, croco, outputs)

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Raw numbers, float32 also under autocast. levels: four [N, P, C]; size: (H, W) -> [N, H, W, outputs]."""
        grid = patch_grid(*size, self.patch)
        with full_precision(levels[0]):
            maps = [level.to(self.dpt.dtype).transpose(1, 2).unflatten(2, grid) for level in levels]
            pixels = self.dpt(maps)
            # A patch of 16 comes out exactly; of another side, the map is brought to the image.
            pixels = pixels if _size(pixels) == size else resample(pixels, size)
            return pixels.permute(0, 2, 3, 1)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]
