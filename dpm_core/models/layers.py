# SPDX-License-Identifier: Apache-2.0
"""What all transformers here are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import SelfAttention
from .rope import RotaryTable


class Mlp(nn.Module):
    """Two linear layers with the exact (erf) GELU between."""

    def __init__(self, dim: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim if out is None else out)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., out]."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class LayerScale(nn.Module):
    """A learned factor a channel on a residual branch."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.gamma = nn.Parameter(torch.full((dim,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., dim]."""
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block: attention, then MLP, each on a residual branch."""

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float,
        *,
        eps: float,
        layer_scale: float | None = None,
        qk_norm: bool = False,
    ) -> None:
        """The families differ in three things.

        Args:
            dim: channels of a token.
            heads: attention heads.
            mlp_ratio: hidden channels of the MLP to `dim`.
            eps: of both LayerNorms: 1e-6 in DINOv2 and CroCo, 1e-5 in VGGT's own blocks.
            layer_scale: initial factor of the residual branches; None where the family has none (CroCo).
            qk_norm: see SelfAttention.
        """
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = SelfAttention(dim, heads, qk_norm=qk_norm)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale)

    def forward(self, x: Tensor, table: RotaryTable | None = None) -> Tensor:
        """x: [B, N, C]; table: positions of the N tokens -> [B, N, C]."""
        x = x + self.ls1(self.attn(self.norm1(x), table))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class PatchEmbed(nn.Module):
    """One token a patch of the image."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, H/patch * W/patch, dim], row by row."""
        out: Tensor = self.proj(images)
        return out.flatten(2).transpose(1, 2)
