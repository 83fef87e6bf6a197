# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding in two dimensions: half of a head's channels turn with y, the other half with x."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RotaryTable(NamedTuple):
    """Cosines and sines of every token's angles, [N, 1, head_dim] float32 each; sines signed as `rotate` needs them."""

    cos: Tensor
    sin: Tensor

    def repeat(self, times: int) -> RotaryTable:
        """The table of `times` frames one after another: [times * N, 1, head_dim]."""
        return RotaryTable(self.cos.repeat(times, 1, 1), self.sin.repeat(times, 1, 1))

    def of_rows(self, rows: Tensor) -> RotaryTable:
        """The angles of some tokens. rows: [M] int64."""
        return RotaryTable(self.cos[rows], self.sin[rows])


def grid_positions(grid: tuple[int, int], *, first: int, specials: int, device: torch.device) -> Tensor:
    """Positions of one frame's tokens: the special tokens at (0, 0), then the patches row by row.

    Args:
        grid: (rows, columns) of patches.
        first: position of the first row and column: 1 in VGGT, where 0 is the special tokens' own; 0 in DUSt3R.
        specials: how many special tokens precede the patches.
        device: where the positions are made.

    Returns:
        [specials + rows * columns, 2] float32, (y, x).
    """
    y, x = (torch.arange(first, first + n, device=device, dtype=torch.float32) for n in grid)
    patches = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)
    return torch.cat([patches.new_zeros(specials, 2), patches])


def rotary_table(positions: Tensor, head_dim: int, base: float = 100.0) -> RotaryTable:
    """Angles stay in float32 whatever the network's precision: bfloat16 cannot tell neighbouring patches apart.

    Args:
        positions: [N, 2] float32, (y, x).
        head_dim: channels of a head, a multiple of 4.
        base: the lowest frequency is about 1 / base radians a patch.
    """
    half = head_dim // 2
    exponents = torch.arange(0, half, 2, device=positions.device, dtype=torch.float32) / half
    angles = positions[:, :, None] / base**exponents
    cos, sin = angles.cos(), angles.sin()
    return RotaryTable(*(torch.cat(halves, dim=-1).flatten(1)[:, None] for halves in ([cos, cos], [-sin, sin])))


def rotate(x: Tensor, table: RotaryTable) -> Tensor:
    """Turn queries or keys. x: [B, N, heads, head_dim] -> the same shape and dtype."""
    first, second = x.unflatten(-1, (2, 2, -1)).unbind(-2)
    swapped = torch.stack([second, first], dim=-2).flatten(-3)
    return torch.addcmul(x * table.cos, swapped, table.sin).to(x.dtype)
