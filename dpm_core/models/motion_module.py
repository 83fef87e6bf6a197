# SPDX-License-Identifier: Apache-2.0
"""POMATO's motion module: every place of the map attends over time. Source: reference sheet §7.2."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DpmError
from .pair_config import TemporalConfig

GROUP_NORM_EPS = 1e-6
LAYER_NORM_EPS = 1e-5
POSITION_BASE = 10000.0


class TimePosition(nn.Module):
    """The sinusoids that tell frames apart."""

    def __init__(self, frames: int, dim: int) -> None:
        super().__init__()
        rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(POSITION_BASE) / dim))
        angles = torch.arange(frames)[:, None] * rates
        # Sines on even channels, cosines on odd ones. In the published files, though nothing learns it.
        self.register_buffer("pe", torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[None])
        self.pe: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C] -> the same."""
        return x + self.pe


class TimeAttention(nn.Module):
    """Attention over the frames; the position is in queries, keys and values."""

    def __init__(self, config: TemporalConfig, dim: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.pos_encoder = TimePosition(config.frames, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C] -> the same."""
        x = self.pos_encoder(x)
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v)
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        out: Tensor = self.to_out[0](attended)
        return out


class GatedLinear(nn.Module):
    """value · gelu(gate)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., hidden]."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        out: Tensor = value * F.gelu(gate)
        return out


class GatedMlp(nn.Module):
    """The published files count the dropout between the layers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GatedLinear(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> the same."""
        out: Tensor = self.net(x)
        return out


class TimeBlock(nn.Module):
    """Attention over time, a few times, then an MLP, each on a residual branch."""

    def __init__(self, config: TemporalConfig, dim: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(TimeAttention(config, dim) for _ in range(config.blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps=LAYER_NORM_EPS) for _ in range(config.blocks))
        self.ff = GatedMlp(dim)
        self.ff_norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C] -> the same."""
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            x = x + attention(norm(x))
        out: Tensor = x + self.ff(self.ff_norm(x))
        return out


class TemporalTransformer(nn.Module):
    """A map of every frame of a window; the frames see each other place by place."""

    def __init__(self, config: TemporalConfig, dim: int) -> None:
        super().__init__()
        self.frames = config.frames
        self.norm = nn.GroupNorm(config.groups, dim, eps=GROUP_NORM_EPS)
        self.proj_in = nn.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList([TimeBlock(config, dim)])
        self.proj_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B · T, C, h, w] -> the same.

        Raises:
            DpmError: the window has another length.
        """
        if x.shape[0] % self.frames:
            raise DpmError(f"the network's windows are of {self.frames} frames; {x.shape[0]} maps are no such windows")
        batch = x.shape[0] // self.frames
        # torch 2.13 crashes on the CPU where this norm learns from a channels-last input that needs no gradient itself.
        tokens = self.proj_in(self.norm(x.contiguous()).flatten(2).transpose(1, 2))
        by_place = tokens.unflatten(0, (batch, self.frames)).transpose(1, 2).flatten(0, 1)
        for block in self.transformer_blocks:
            by_place = block(by_place)
        moved = self.proj_out(by_place).unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)
        out: Tensor = x + moved.transpose(1, 2).unflatten(2, x.shape[2:])
        return out


class MotionModule(nn.Module):
    """The published name of a TemporalTransformer."""

    def __init__(self, config: TemporalConfig, dim: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(config, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B · T, C, h, w] -> the same."""
        out: Tensor = self.temporal_transformer(x)
        return out
