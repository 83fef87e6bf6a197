# SPDX-License-Identifier: Apache-2.0
"""The tracker's transformer: tracks see their own past and future, and each other through virtual tracks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import TrackConfig
from .layers import Mlp

EPS = 1e-5
MLP_RATIO = 4


class TrackBlock(nn.Module):
    """Attention over one axis. Unlike elsewhere here, the residual is the *normalised* input (reference sheet §2.4)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, MLP_RATIO * dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, dim] -> the same."""
        x = self.norm1(x)
        x = x + self.attn(x, x, x, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class TrackCrossBlock(nn.Module):
    """As TrackBlock, but one set of tokens asks and another answers."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.norm_context = nn.LayerNorm(dim, eps=EPS)
        self.cross_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, MLP_RATIO * dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x: [B, N, dim]; context: [B, M, dim] -> [B, N, dim]."""
        x, context = self.norm1(x), self.norm_context(context)
        x = x + self.cross_attn(x, context, context, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class TrackTransformer(nn.Module):
    """What is known of every track at every frame, to its correction. Key names as published, one misspelt."""

    def __init__(self, config: TrackConfig, dim_in: int, dim_out: int) -> None:
        super().__init__()
        dim, heads = config.hidden, config.heads
        self.virual_tracks = nn.Parameter(torch.zeros(1, config.virtual_tracks, 1, dim))
        self.input_norm = nn.LayerNorm(dim_in, eps=EPS)
        self.input_transform = nn.Linear(dim_in, dim)
        self.output_norm = nn.LayerNorm(dim, eps=EPS)
        self.flow_head = nn.Linear(dim, dim_out)
        self.time_blocks = nn.ModuleList(TrackBlock(dim, heads) for _ in range(config.depth))
        self.space_virtual_blocks = nn.ModuleList(TrackBlock(dim, heads) for _ in range(config.depth))
        self.space_point2virtual_blocks = nn.ModuleList(TrackCrossBlock(dim, heads) for _ in range(config.depth))
        self.space_virtual2point_blocks = nn.ModuleList(TrackCrossBlock(dim, heads) for _ in range(config.depth))

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, S, dim_in] (N tracks, S frames) -> [B, N, S, dim_out]."""
        batch, tracks, frames, _ = x.shape
        first = self.input_transform(self.input_norm(x))
        x = torch.cat([first, self.virual_tracks.expand(batch, -1, frames, -1)], dim=1)
        layers = zip(
            self.time_blocks,
            self.space_virtual2point_blocks,
            self.space_virtual_blocks,
            self.space_point2virtual_blocks,
            strict=True,
        )
        for over_time, gather, among_virtual, spread in layers:
            x = over_time(x.flatten(0, 1)).view_as(x)
            by_frame = x.transpose(1, 2).flatten(0, 1)
            points, virtual = by_frame[:, :tracks], by_frame[:, tracks:]
            virtual = among_virtual(gather(virtual, points))
            points = spread(points, virtual)
            x = torch.cat([points, virtual], dim=1).unflatten(0, (batch, frames)).transpose(1, 2)
        out: Tensor = self.flow_head(self.output_norm(x[:, :tracks] + first))
        return out
