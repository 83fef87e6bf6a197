# SPDX-License-Identifier: Apache-2.0
"""The fused attention equals the plain one."""

import torch

from dpm_core.models.attention import CrossAttention, SelfAttention
from dpm_core.models.rope import grid_positions, rotary_table, rotate

CPU = torch.device("cpu")
DIM, HEADS = 24, 3


def plain(query, key, value):
    """softmax(q kᵀ / √d) v, spelt out. [B, N, heads, d] each."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    return (weights @ value).transpose(1, 2).flatten(2)


def tokens(count, seed=0):
    return torch.randn(2, count, DIM, generator=torch.Generator().manual_seed(seed))


def table_of(grid):
    return rotary_table(grid_positions(grid, first=1, specials=0, device=CPU), DIM // HEADS)


def test_self_attention_without_positions():
    layer, x = SelfAttention(DIM, HEADS), tokens(5)
    query, key, value = layer.qkv(x).unflatten(-1, (3, HEADS, -1)).unbind(2)
    torch.testing.assert_close(layer(x), layer.proj(plain(query, key, value)), rtol=1e-5, atol=1e-5)


def test_self_attention_normalises_before_it_turns():
    layer, x, table = SelfAttention(DIM, HEADS, qk_norm=True), tokens(6), table_of((2, 3))
    torch.nn.init.normal_(layer.q_norm.weight)
    query, key, value = layer.qkv(x).unflatten(-1, (3, HEADS, -1)).unbind(2)
    query, key = rotate(layer.q_norm(query), table), rotate(layer.k_norm(key), table)
    torch.testing.assert_close(layer(x, table), layer.proj(plain(query, key, value)), rtol=1e-5, atol=1e-5)


def test_cross_attention_turns_each_side_by_its_own_positions():
    layer, x, other = CrossAttention(DIM, HEADS), tokens(6), tokens(4, seed=1)
    table, other_table = table_of((2, 3)), table_of((4, 1))
    query, key, value = (
        projection(y).unflatten(-1, (HEADS, -1))
        for projection, y in ((layer.projq, x), (layer.projk, other), (layer.projv, other))
    )
    expected = layer.proj(plain(rotate(query, table), rotate(key, other_table), value))
    torch.testing.assert_close(layer(x, other, table, other_table), expected, rtol=1e-5, atol=1e-5)
