# SPDX-License-Identifier: Apache-2.0
"""Tokens of a window brought to an asked time: V-DPM's decoder and the variants of its ablation.

A decoder first prepares what it needs of the asked times' tokens, for all times at once, then decodes any part of the
times. Conditions are [B, T, F, D]: T asked times, F = 1 where all views of a time are asked for the same instant, F = S
where each view has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from .attention import SelfAttention
from .config import AdaptiveDecoderConfig, AdditiveDecoderConfig
from .layers import Block, LayerScale, Mlp
from .rope import RotaryTable

EPS = 1e-5
LAYER_SCALE = 0.01
LEVELS = 4


class Modulation(nn.Module):
    """A condition to as many vectors as are asked of it: a linear layer on its SiLU."""

    def __init__(self, dim: int, vectors: int) -> None:
        super().__init__()
        self.lin = nn.Linear(dim, vectors * dim)

    def forward(self, condition: Tensor) -> Tensor:
        """[..., dim] -> [..., vectors * dim]."""
        out: Tensor = self.lin(nn.functional.silu(condition))
        return out


class ConditionalBlock(nn.Module):
    """A transformer block whose attention branch is shifted, scaled and gated by a condition."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, *, across_frames: bool) -> None:
        """across_frames: whether a token sees the whole window, or its own frame only."""
        super().__init__()
        self.across_frames = across_frames
        self.modulation = Modulation(dim, 3)
        self.norm1 = nn.LayerNorm(dim, eps=EPS, elementwise_affine=False)
        self.attn = SelfAttention(dim, heads, qk_norm=True)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.ls2 = LayerScale(dim, LAYER_SCALE)

    def forward(self, x: Tensor, modulation: Tensor, table: RotaryTable) -> Tensor:
        """One step.

        Args:
            x: [N, S, P, C].
            modulation: [N, S or 1, 1, 3C], the same for every token of a frame: shift, scale, gate.
            table: positions of the P tokens, or of S * P across frames.

        Returns:
            [N, S, P, C].
        """
        shift, scale, gate = modulation.chunk(3, dim=-1)
        h = torch.addcmul(shift, self.norm1(x), 1 + scale)
        h = self.attn(h.flatten(1, 2) if self.across_frames else h.flatten(0, 1), table).view_as(x)
        return self._second_half(torch.addcmul(x, gate, h))

    def of_views(self, x: Tensor, modulation: Tensor, table: RotaryTable, views: Sequence[int]) -> Tensor:
        """What `forward` gives of some frames, for a block across frames: [N, V, P, C]."""
        shift, scale, gate = modulation.chunk(3, dim=-1)
        h = torch.addcmul(shift, self.norm1(x), 1 + scale)
        tokens = x.shape[2]
        # Made on the device: a CUDA graph takes nothing from the host.
        rows = torch.cat([torch.arange(view * tokens, (view + 1) * tokens, device=x.device) for view in views])
        x = of_views(x, views)
        gate = gate if gate.shape[1] == 1 else of_views(gate, views)
        h = self.attn.of_rows(h.flatten(1, 2), table, rows).view_as(x)
        return self._second_half(torch.addcmul(x, gate, h))

    def _second_half(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class AdaptiveDecoder(nn.Module):
    """The published decoder, one for all four levels. Source: reference sheet §3.2."""

    def __init__(self, config: AdaptiveDecoderConfig, dim: int) -> None:
        super().__init__()
        self.head_dim = dim // config.heads
        # The published file nests the blocks in a list of one.
        self.frame_blocks = nn.ModuleList([self._blocks(config, dim, across_frames=False)])
        self.global_blocks = nn.ModuleList([self._blocks(config, dim, across_frames=True)])

    @staticmethod
    def _blocks(config: AdaptiveDecoderConfig, dim: int, *, across_frames: bool) -> nn.ModuleList:
        return nn.ModuleList(
            ConditionalBlock(dim, config.heads, config.mlp_ratio, across_frames=across_frames)
            for _ in range(config.depth)
        )

    def blocks(self) -> list[ConditionalBlock]:
        """All blocks, in the order they are run."""
        return cast("list[ConditionalBlock]", _by_turns(self.frame_blocks[0], self.global_blocks[0]))

    def prepare(self, condition: Tensor) -> list[Tensor]:
        """[B, T, F, D] -> one [B, T, F, 3D] a block."""
        return [block.modulation(condition) for block in self.blocks()]

    def forward(
        self,
        levels: Sequence[Tensor],
        prepared: Sequence[Tensor],
        table: RotaryTable,
        views: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """All blocks but the last need every view; the last is run for the wanted ones.

        Args:
            levels: four [B, S, P, D].
            prepared: of T times.
            table: of one frame's P tokens.
            views: which of the S are wanted, by default all.

        Returns:
            Four [B, T, V, P, D].
        """
        times, frames = prepared[0].shape[1], levels[0].shape[1]
        x = _for_times(levels, times)
        in_window = table.repeat(frames)
        blocks, vectors = self.blocks(), [_per_entry(each, len(levels)) for each in prepared]
        for block, modulation in zip(blocks[:-1], vectors[:-1], strict=True):
            x = block(x, modulation, in_window if block.across_frames else table)
        if views is None:
            x = blocks[-1](x, vectors[-1], in_window)
        else:
            x = blocks[-1].of_views(x, vectors[-1], in_window, views)
        return list(x.unflatten(0, (len(levels), -1, times)).unbind(0))


class AdditiveDecoder(nn.Module):
    """Ablation "addition conditioning": our reading of V-DPM supplement §7, whose code was never published."""

    def __init__(self, config: AdditiveDecoderConfig, dim: int) -> None:
        super().__init__()
        self.head_dim = dim // config.heads
        self.frame_blocks = nn.ModuleList([self._blocks(config, dim)])
        self.global_blocks = nn.ModuleList([self._blocks(config, dim)])

    @staticmethod
    def _blocks(config: AdditiveDecoderConfig, dim: int) -> nn.ModuleList:
        return nn.ModuleList(
            Block(dim, config.heads, config.mlp_ratio, eps=EPS, layer_scale=LAYER_SCALE, qk_norm=True)
            for _ in range(config.depth)
        )

    def prepare(self, condition: Tensor) -> list[Tensor]:
        """The condition itself."""
        return [condition]

    def forward(
        self,
        levels: Sequence[Tensor],
        prepared: Sequence[Tensor],
        table: RotaryTable,
        views: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """See AdaptiveDecoder."""
        (condition,) = prepared
        times, frames = condition.shape[1], levels[0].shape[1]
        x = _for_times(levels, times) + condition.flatten(0, 1).repeat(len(levels), 1, 1).unsqueeze(2)
        in_window = table.repeat(frames)
        frame_blocks, global_blocks = self.frame_blocks[0].children(), self.global_blocks[0].children()
        for frame_block, global_block in zip(frame_blocks, global_blocks, strict=True):
            x = frame_block(x.flatten(0, 1), table).view_as(x)
            x = global_block(x.flatten(1, 2), in_window).view_as(x)
        return list(of_views(x, views).unflatten(0, (len(levels), -1, times)).unbind(0))


class DptDecoder(nn.Module):
    """Ablation "DPT decoder": adaLN on each level's tokens, in place of the second head's own input norm.

    Our reading of V-DPM supplement §7 ("condition it directly through adaLN"), whose code was never published.
    """

    def __init__(self, dim: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.norm = nn.LayerNorm(dim, eps=EPS, elementwise_affine=False)
        self.modulation = nn.ModuleList(Modulation(dim, 2) for _ in range(LEVELS))

    def prepare(self, condition: Tensor) -> list[Tensor]:
        """[B, T, F, D] -> one [B, T, F, 2D] a level."""
        return [modulation(condition) for modulation in self.modulation]

    def forward(
        self,
        levels: Sequence[Tensor],
        prepared: Sequence[Tensor],
        table: RotaryTable,
        views: Sequence[int] | None = None,
    ) -> list[Tensor]:
        """See AdaptiveDecoder; positions play no part."""
        decoded = []
        for level, vectors in zip(levels, prepared, strict=True):
            shift, scale = vectors.unsqueeze(3).chunk(2, dim=-1)
            decoded.append(of_views(torch.addcmul(shift, self.norm(level)[:, None], 1 + scale), views))
        return decoded


def of_views(x: Tensor, views: Sequence[int] | None) -> Tensor:
    """[..., S, P, D] -> [..., V, P, D]: some views' tokens, by default all."""
    return x if views is None else torch.stack([x[..., view, :, :] for view in views], dim=-3)


def _per_entry(vectors: Tensor, levels: int) -> Tensor:
    """Modulation of B batch entries at T times, [B, T, F, C], for each of levels * B * T: [N, F, 1, C]."""
    return vectors.flatten(0, 1).repeat(levels, 1, 1).unsqueeze(2)


def _by_turns(first: nn.Module, second: nn.Module) -> list[nn.Module]:
    pairs = zip(first.children(), second.children(), strict=True)
    return [module for pair in pairs for module in pair]


def _for_times(levels: Sequence[Tensor], times: int) -> Tensor:
    """Four [B, S, P, D] -> [4 * B * times, S, P, D]."""
    stacked = torch.stack(list(levels))[:, :, None]
    return stacked.expand(-1, -1, times, -1, -1, -1).flatten(0, 2)
