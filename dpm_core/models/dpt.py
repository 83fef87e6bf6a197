# SPDX-License-Identifier: Apache-2.0
"""Dense prediction from tokens of four layers: the pyramid that all families share, and the head of VGGT and V-DPM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import DptConfig
from .precision import full_precision

EPS = 1e-5
POSITION_WEIGHT = 0.1
POSITION_BASE = 100.0


def resample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corner pixels on corner pixels. x: [N, C, h, w] -> [N, C, *size]."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class ResidualConvUnit(nn.Module):
    """Two 3 x 3 convolutions beside a skip."""

    def __init__(self, features: int, *, rectified_skip: bool) -> None:
        """rectified_skip: the skip carries max(x, 0), as in VGGT, whose ReLU wrote in place; DUSt3R's carries x."""
        super().__init__()
        self.rectified_skip = rectified_skip
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, features, h, w] -> the same."""
        rectified = x.relu()
        out: Tensor = self.conv2(self.conv1(rectified).relu_())
        return out + (rectified if self.rectified_skip else x)


class FusionBlock(nn.Module):
    """Adds a finer level to what came from the coarser ones and enlarges the sum."""

    def __init__(self, features: int, *, rectified_skip: bool, takes_level: bool = True) -> None:
        """takes_level: whether it holds the unit that a finer level enters by; VGGT's coarsest block has none."""
        super().__init__()
        self.out_conv = nn.Conv2d(features, features, 1)
        if takes_level:
            self.resConfUnit1 = ResidualConvUnit(features, rectified_skip=rectified_skip)
        self.resConfUnit2 = ResidualConvUnit(features, rectified_skip=rectified_skip)

    def forward(self, x: Tensor, level: Tensor | None, size: tuple[int, int]) -> Tensor:
        """x, level: [N, features, h, w] -> [N, features, *size]."""
        if level is not None:
            x = x + self.resConfUnit1(level)
        # A 1 x 1 convolution commutes with resampling, whose weights sum to one; before it there are fewer pixels.
        return resample(self.out_conv(self.resConfUnit2(x)), size)


class FusionPyramid(nn.Module):
    """Four levels, fine to coarse, fused into one map of twice the finest level's size."""

    def __init__(
        self,
        channels: Sequence[int],
        features: int,
        *,
        rectified_skip: bool,
        coarsest_takes_level: bool,
        crop_doubled: bool,
    ) -> None:
        """The families differ in three things.

        Args:
            channels: of the four levels.
            features: of the fused map.
            rectified_skip: see ResidualConvUnit.
            coarsest_takes_level: see FusionBlock; DUSt3R's files hold the unit, though nothing enters it.
            crop_doubled: the coarsest map is enlarged by exactly two and cropped to the next level (DUSt3R), or
                resampled to the next level's size (VGGT). They differ where a level's side is odd.
        """
        super().__init__()
        self.crop_doubled = crop_doubled
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = (
            nn.Conv2d(count, features, 3, padding=1, bias=False) for count in channels
        )
        self.refinenet1, self.refinenet2, self.refinenet3 = (
            FusionBlock(features, rectified_skip=rectified_skip) for _ in range(3)
        )
        self.refinenet4 = FusionBlock(features, rectified_skip=rectified_skip, takes_level=coarsest_takes_level)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """levels: four [N, channels[i], h_i, w_i], finest first -> [N, features, 2 h_0, 2 w_0]."""
        reduced = self.reduce(levels)
        x = self.fuse_coarsest(reduced)
        x = self.refinenet3(x, reduced[2], _size(reduced[1]))
        x = self.refinenet2(x, reduced[1], _size(reduced[0]))
        rows, columns = _size(reduced[0])
        out: Tensor = self.refinenet1(x, reduced[0], (2 * rows, 2 * columns))
        return out

    def reduce(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Every level brought to `features` channels."""
        layers = (self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn)
        return [layer(level) for layer, level in zip(layers, levels, strict=True)]

    def fuse_coarsest(self, reduced: Sequence[Tensor]) -> Tensor:
        """The coarsest level at the size of the next: [N, features, h_2, w_2]."""
        rows, columns = _size(reduced[2])
        if not self.crop_doubled:
            out: Tensor = self.refinenet4(reduced[3], None, (rows, columns))
            return out
        coarse_rows, coarse_columns = _size(reduced[3])
        doubled: Tensor = self.refinenet4(reduced[3], None, (2 * coarse_rows, 2 * coarse_columns))
        return doubled[:, :, :rows, :columns]


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def add_position_(x: Tensor, aspect: float) -> Tensor:
    """Adds, in place, the sine embedding of where a pixel is in the image. Source: reference sheet §2.2.

    Args:
        x: [N, C, h, w], C a multiple of 4: the first half of the channels gets u (right), the other v (down).
        aspect: width of the image to its height.
    """
    channels, rows, columns = x.shape[1:]
    diagonal = (aspect**2 + 1) ** 0.5
    across = _sines(columns, aspect / diagonal, channels // 4, x).T[:, None, :]
    down = _sines(rows, 1 / diagonal, channels // 4, x).T[:, :, None]
    table = torch.cat([across.expand(-1, rows, -1), down.expand(-1, -1, columns)])
    return x.add_(table, alpha=POSITION_WEIGHT)


def _sines(count: int, span: float, frequencies: int, like: Tensor) -> Tensor:
    """[count, 2 * frequencies] sines then cosines of `count` places across [-span, span], pixel centres."""
    edge = span * (count - 1) / count
    places = torch.linspace(-edge, edge, count, dtype=torch.float64, device=like.device)
    omega = POSITION_BASE ** -(torch.arange(frequencies, dtype=torch.float64, device=like.device) / frequencies)
    angles = places[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)


class OutputPyramid(FusionPyramid):
    """VGGT's pyramid, which also holds the layers after it."""

    def __init__(self, config: DptConfig, out_features: int, outputs: int | None) -> None:
        """outputs: numbers a pixel; None where the map itself is wanted."""
        super().__init__(
            config.channels, config.features, rectified_skip=True, coarsest_takes_level=False, crop_doubled=False
        )
        self.output_conv1 = nn.Conv2d(config.features, out_features, 3, padding=1)
        self.output_conv2 = nn.Identity() if outputs is None else _last_layers(out_features, config.hidden, outputs)


def _last_layers(features: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(features, hidden, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(hidden, outputs, 1)
    )


class DptFeatures(nn.Module):
    """Tokens to a feature map. Source: reference sheet §2.2."""

    def __init__(
        self,
        config: DptConfig,
        dim: int,
        out_features: int,
        outputs: int | None,
        *,
        position: bool,
        norm: bool = True,
    ) -> None:
        """The heads of VGGT differ in four things.

        Args:
            config: widths.
            dim: channels of the tokens.
            out_features: of the map: half of `config.features` in the dense heads, all in the tracker.
            outputs: see OutputPyramid.
            position: whether maps carry the sine embedding (all but the tracker's).
            norm: whether tokens are normalised on entry (all but V-DPM's DPT decoder, which does it itself).
        """
        super().__init__()
        first, second, _, fourth = config.channels
        self.position = position
        self.norm = nn.LayerNorm(dim, eps=EPS) if norm else nn.Identity()
        self.projects = nn.ModuleList(nn.Conv2d(dim, count, 1) for count in config.channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, stride=4),
                nn.ConvTranspose2d(second, second, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(fourth, fourth, 3, stride=2, padding=1),
            ]
        )
        self.scratch = OutputPyramid(config, out_features, outputs)

    def features(self, levels: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """levels: four [N, rows * columns, dim] -> [N, out_features, *size]."""
        aspect = grid[1] / grid[0]
        maps = []
        for level, project, resize in zip(levels, self.projects, self.resize_layers, strict=True):
            x = self.norm(level.to(self.scratch.output_conv1.weight.dtype))
            # A 1 x 1 convolution is a linear layer on tokens, which lie channel last as it wants them.
            x = F.linear(x, project.get_parameter("weight").flatten(1), project.get_parameter("bias"))
            x = x.transpose(1, 2).unflatten(2, grid)
            maps.append(resize(add_position_(x, aspect) if self.position else x))
        x = resample(self.scratch.output_conv1(self.scratch(maps)), size)
        return add_position_(x, aspect) if self.position else x


class DptHead(DptFeatures):
    """Tokens to numbers for every pixel."""

    def __init__(self, config: DptConfig, dim: int, outputs: int, *, norm: bool = True) -> None:
        """norm: see DptFeatures."""
        super().__init__(config, dim, config.features // 2, outputs, position=True, norm=norm)

    def forward(self, levels: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Raw numbers, channel last; float32 also under autocast.

        Args:
            levels: four [N, rows * columns, dim] patch tokens, earliest layer first.
            grid: (rows, columns) of patches.
            size: (H, W) of the image.

        Returns:
            [N, H, W, outputs].
        """
        with full_precision(levels[0]):
            out: Tensor = self.scratch.output_conv2(self.features(levels, grid, size))
            return out.permute(0, 2, 3, 1)
