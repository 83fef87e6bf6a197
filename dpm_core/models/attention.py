# SPDX-License-Identifier: Apache-2.0
"""Attention of all families: one fused kernel, with or without rotary positions and normalised queries and keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rope import RotaryTable, rotate

QK_NORM_EPS = 1e-5


def _heads(x: Tensor, heads: int) -> Tensor:
    return torch.unflatten(x, -1, (heads, -1))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v. Each [B, N, heads, d] -> [B, N, heads * d], in the dtype of `value`."""
    query, key, value = (x.to(value.dtype).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Every token looks at every other of its batch entry."""

    def __init__(self, dim: int, heads: int, *, qk_norm: bool = False) -> None:
        """qk_norm: LayerNorm over each head's queries and keys before they turn (VGGT's alternating blocks)."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.LayerNorm(dim // heads, eps=QK_NORM_EPS) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(dim // heads, eps=QK_NORM_EPS) if qk_norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, table: RotaryTable | None = None) -> Tensor:
        """x: [B, N, C]; table: positions of the N tokens -> [B, N, C]."""
        query, key, value = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        query, key = self.q_norm(query), self.k_norm(key)
        if table is not None:
            query, key = rotate(query, table), rotate(key, table)
        out: Tensor = self.proj(attend(query, key, value))
        return out

    def scores(self, x: Tensor, table: RotaryTable, head: int) -> Tensor:
        """What one head takes the softmax of, q kᵀ / √d. x: [B, N, C] -> [B, N, N], the asking token first."""
        query, key, _ = (_heads(part, self.heads)[:, :, head : head + 1] for part in self.qkv(x).chunk(3, dim=-1))
        query, key = rotate(self.q_norm(query), table)[:, :, 0], rotate(self.k_norm(key), table)[:, :, 0]
        scores: Tensor = query @ key.mT / query.shape[-1] ** 0.5
        return scores

    def of_rows(self, x: Tensor, table: RotaryTable, rows: Tensor) -> Tensor:
        """What `forward` gives for some of the tokens, which still look at all. rows: [M] int64 -> [B, M, C]."""
        dim = x.shape[-1]
        x = x.to(self.qkv.weight.dtype)  # a trunk may be stored in bfloat16
        (asking, answering), (asking_bias, answering_bias) = (
            parameter.split([dim, 2 * dim]) for parameter in (self.qkv.weight, self.qkv.bias)
        )
        query = self.q_norm(_heads(F.linear(x[:, rows], asking, asking_bias), self.heads))
        key, value = (_heads(part, self.heads) for part in F.linear(x, answering, answering_bias).chunk(2, dim=-1))
        out: Tensor = self.proj(attend(rotate(query, table.of_rows(rows)), rotate(self.k_norm(key), table), value))
        return out


class CrossAttention(nn.Module):
    """Tokens of one stream look at those of another (CroCo's decoder)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(dim, dim)
        self.projk = nn.Linear(dim, dim)
        self.projv = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, other: Tensor, table: RotaryTable, other_table: RotaryTable) -> Tensor:
        """x: [B, N, C] asks; other: [B, M, C] answers; tables: positions of each -> [B, N, C]."""
        query = rotate(_heads(self.projq(x), self.heads), table)
        key = rotate(_heads(self.projk(other), self.heads), other_table)
        out: Tensor = self.proj(attend(query, key, _heads(self.projv(other), self.heads)))
        return out

    def map(self, x: Tensor, other: Tensor, table: RotaryTable, other_table: RotaryTable) -> Tensor:
        """Where `forward` looks, a mean over the heads. Arguments as there -> [B, N, M], rows sum to 1."""
        query = rotate(_heads(self.projq(x), self.heads), table)
        key = rotate(_heads(self.projk(other), self.heads), other_table)
        scores: Tensor = query.transpose(1, 2) @ key.permute(0, 2, 3, 1) * query.shape[-1] ** -0.5
        return scores.softmax(-1).mean(1)
