# SPDX-License-Identifier: Apache-2.0
"""DINOv2 vision transformer with registers: the per-frame image encoder of VGGT and V-DPM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import EncoderConfig
from .layers import Block, PatchEmbed

EPS = 1e-6
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """[N, 3, H, W] in [0, 1] -> ImageNet mean 0, deviation 1 a channel."""
    channels = zip(images.unbind(1), MEAN, STD, strict=True)
    return torch.stack([(channel - mean) / std for channel, mean, std in channels], dim=1)


class DinoV2(nn.Module):
    """Image to patch tokens. Source: reference sheet §2.1."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        dim = config.dim
        self.native_grid = (config.image_size // config.patch, config.image_size // config.patch)
        self.registers = config.registers
        self.patch_embed = PatchEmbed(config.patch, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_tokens = nn.Parameter(torch.zeros(1, config.registers, dim))
        # Read by the pre-training only; part of the published files.
        self.mask_token = nn.Parameter(torch.zeros(1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.native_grid[0] * self.native_grid[1], dim))
        self.blocks = nn.ModuleList(
            Block(dim, config.heads, config.mlp_ratio, eps=EPS, layer_scale=1.0) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=EPS)

    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """images: [N, 3, H, W] in [0, 1]; grid: (rows, columns) of patches -> [N, rows * columns, dim]."""
        patches = self.patch_embed(normalise(images).to(self.patch_embed.proj.weight.dtype))
        positions = self.positions(grid)
        first = self.cls_token + positions[:, :1]
        x = torch.cat(
            [
                first.expand(len(patches), -1, -1),
                self.register_tokens.expand(len(patches), -1, -1),
                patches + positions[:, 1:],
            ],
            dim=1,
        )
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x[:, 1 + self.registers :])
        return out

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """The position table for this grid, resampled unless it is the native one: [1, 1 + rows * columns, dim]."""
        if grid == self.native_grid:
            return self.pos_embed
        table = self.pos_embed[:, 1:].float().unflatten(1, self.native_grid).permute(0, 3, 1, 2)
        table = F.interpolate(table, size=grid, mode="bicubic", antialias=True)
        return torch.cat([self.pos_embed[:, :1], table.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)], dim=1)
