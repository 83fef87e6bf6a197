# SPDX-License-Identifier: Apache-2.0
"""CroCo: the trunk of DUSt3R's family. Source: reference sheet §4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from .attention import CrossAttention, SelfAttention
from .checks import patch_grid
from .layers import Block, Mlp, PatchEmbed
from .pair_config import CrocoConfig
from .rope import RotaryTable, grid_positions, rotary_table

EPS = 1e-6


class CrossBlock(nn.Module):
    """Pre-norm decoder block: self-attention, attention to the other stream, MLP, each on a residual branch."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.norm_y = nn.LayerNorm(dim, eps=EPS)
        self.cross_attn = CrossAttention(dim, heads)
        self.norm3 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, other: Tensor, table: RotaryTable, other_table: RotaryTable) -> Tensor:
        """x: [B, N, C]; other: [B, M, C], the other stream one layer before; tables: positions -> [B, N, C]."""
        x = x + self.attn(self.norm1(x), table)
        x = x + self.cross_attn(self.norm2(x), self.norm_y(other), table, other_table)
        out: Tensor = x + self.mlp(self.norm3(x))
        return out

    def attention_map(self, x: Tensor, other: Tensor, table: RotaryTable, other_table: RotaryTable) -> Tensor:
        """Where the block's cross-attention looks, a mean over its heads. As `forward` -> [B, N, M], rows sum to 1."""
        x = x + self.attn(self.norm1(x), table)
        return self.cross_attn.map(self.norm2(x), self.norm_y(other), table, other_table)


class Decoded(NamedTuple):
    """What the decoder's two streams say.

    Attributes:
        first, second: the wanted entries of each stream's list, [B, P, C] and [B, Q, C].
        maps_12, maps_21: [B, P, Q] and [B, Q, P], where each stream's cross-attention looked in the watched blocks.
    """

    first: list[Tensor]
    second: list[Tensor]
    maps_12: list[Tensor]
    maps_21: list[Tensor]


class CrocoTrunk(nn.Module):
    """Images to tokens, and tokens of two images to two lists of tokens that know of each other."""

    def __init__(self, config: CrocoConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.head_dim = config.dim // config.heads
        self.decoder_head_dim = config.decoder_dim // config.decoder_heads
        dim, decoder_dim = config.dim, config.decoder_dim
        self.patch_embed = PatchEmbed(config.patch, dim)
        # Of the pre-training; no path leads to it, but the published files hold it.
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.enc_blocks = nn.ModuleList(
            Block(dim, config.heads, config.mlp_ratio, eps=EPS) for _ in range(config.depth)
        )
        self.enc_norm = nn.LayerNorm(dim, eps=EPS)
        self.decoder_embed = nn.Linear(dim, decoder_dim)
        self.dec_blocks, self.dec_blocks2 = (
            nn.ModuleList(
                CrossBlock(decoder_dim, config.decoder_heads, config.mlp_ratio) for _ in range(config.decoder_depth)
            )
            for _ in range(2)
        )
        self.dec_norm = nn.LayerNorm(decoder_dim, eps=EPS)

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
        table = self._table(grid, self.head_dim, images.device)
        x = self.patch_embed(2 * images - 1)
        for block in self.enc_blocks:
            x = block(x, table)
        tokens: Tensor = self.enc_norm(x)
        return tokens

    def decode(
        self,
        first: Tensor,
        second: Tensor,
        sizes: tuple[tuple[int, int], tuple[int, int]],
        taps: Sequence[int],
        watched: Sequence[int] = (),
    ) -> Decoded:
        """The two streams.

        Args:
            first, second: [B, P, C] and [B, Q, C] from `encode`.
            sizes: (H, W) of the two images.
            taps: entries of the decoder's list that are wanted, ascending; 0 is the encoder's output, k the output of
                block k, the last is normed.
            watched: blocks, counted from 1, whose attention maps are wanted; they cost their self-attention twice.
        """
        tables = [self._table(patch_grid(*size, self.patch), self.decoder_head_dim, first.device) for size in sizes]
        out = Decoded([first], [second], [], []) if 0 in taps else Decoded([], [], [], [])
        x, y = self.decoder_embed(first), self.decoder_embed(second)
        last = len(self.dec_blocks)
        for layer, (block, block2) in enumerate(zip(self.dec_blocks, self.dec_blocks2, strict=True), start=1):
            if layer in watched:
                out.maps_12.append(cast(CrossBlock, block).attention_map(x, y, tables[0], tables[1]))
                out.maps_21.append(cast(CrossBlock, block2).attention_map(y, x, tables[1], tables[0]))
            x, y = block(x, y, tables[0], tables[1]), block2(y, x, tables[1], tables[0])
            if layer in taps:
                out.first.append(self.dec_norm(x) if layer == last else x)
                out.second.append(self.dec_norm(y) if layer == last else y)
        return out

    def _table(self, grid: tuple[int, int], head_dim: int, device: torch.device) -> RotaryTable:
        return rotary_table(grid_positions(grid, first=0, specials=0, device=device), head_dim)
