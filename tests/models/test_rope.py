# SPDX-License-Identifier: Apache-2.0
"""Rotary positions, against the plain formula of reference sheet §2.1."""

import math

import pytest
import torch

from dpm_core.models.rope import grid_positions, rotary_table, rotate

CPU = torch.device("cpu")


def plain(x, positions, base=100.0):
    """One token, one head at a time: half of the channels turns with y, the other with x."""
    out = torch.empty_like(x, dtype=torch.float64)
    for token, position in enumerate(positions.tolist()):
        for axis, half in enumerate(x.double().chunk(2, dim=-1)):
            count = half.shape[-1] // 2
            for i in range(count):
                angle = position[axis] * base ** (-2 * i / (2 * count))
                a, b = half[:, token, :, i], half[:, token, :, count + i]
                start = axis * half.shape[-1]
                out[:, token, :, start + i] = a * math.cos(angle) - b * math.sin(angle)
                out[:, token, :, start + count + i] = b * math.cos(angle) + a * math.sin(angle)
    return out


@pytest.mark.parametrize("head_dim", [4, 12, 64])
def test_rotation_is_the_formula(head_dim):
    positions = grid_positions((3, 4), first=1, specials=2, device=CPU)
    x = torch.randn(2, len(positions), 3, head_dim, generator=torch.Generator().manual_seed(0))
    expected = plain(x, positions)
    torch.testing.assert_close(rotate(x, rotary_table(positions, head_dim)).double(), expected, rtol=1e-5, atol=1e-5)


def test_special_tokens_lie_at_zero_and_patches_from_the_stated_first_place():
    positions = grid_positions((2, 3), first=1, specials=2, device=CPU).tolist()
    assert positions == [[0, 0], [0, 0], [1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    assert grid_positions((1, 2), first=0, specials=0, device=CPU).tolist() == [[0, 0], [0, 1]]


def test_attention_sees_only_the_difference_of_positions():
    query, key = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(0)).unbind(0)

    def product(query_at, key_at):
        tables = [rotary_table(torch.tensor([at], dtype=torch.float32), 16) for at in (query_at, key_at)]
        return (rotate(query, tables[0]) * rotate(key, tables[1])).sum()

    torch.testing.assert_close(product((2, 5), (3, 1)), product((12, 25), (13, 21)), rtol=1e-4, atol=1e-4)


def test_angles_stay_exact_where_tokens_are_half_precision():
    positions = grid_positions((1, 200), first=1, specials=0, device=CPU)
    x = torch.ones(1, 200, 1, 16)
    table = rotary_table(positions, 16)
    assert rotate(x.bfloat16(), table).dtype == torch.bfloat16
    torch.testing.assert_close(rotate(x.bfloat16(), table).float(), rotate(x, table), rtol=0.01, atol=0.01)


def test_a_repeated_table_is_that_of_frames_in_a_row():
    table = rotary_table(grid_positions((2, 2), first=1, specials=1, device=CPU), 8)
    x = torch.randn(1, 15, 2, 8, generator=torch.Generator().manual_seed(0))
    frames = [rotate(frame, table) for frame in x.split(5, dim=1)]
    torch.testing.assert_close(rotate(x, table.repeat(3)), torch.cat(frames, dim=1))
