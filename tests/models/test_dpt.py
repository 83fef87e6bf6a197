# SPDX-License-Identifier: Apache-2.0
"""The fusion pyramid and its families' differences."""

import math

import pytest
import torch
import torch.nn.functional as F

from dpm_core.models.dpt import FusionBlock, FusionPyramid, ResidualConvUnit, add_position_, resample


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def levels(rows, columns, channels):
    coarse = (-(-rows // 2), -(-columns // 2))
    sizes = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), (rows, columns), coarse]
    return [noise(1, count, *size) for count, size in zip(channels, sizes, strict=True)]


@pytest.mark.parametrize("rectified", [True, False])
def test_the_skip_carries_what_the_family_carries(rectified):
    unit, x = ResidualConvUnit(4, rectified_skip=rectified), noise(1, 4, 5, 6)
    branch = unit.conv2(F.relu(unit.conv1(F.relu(x))))
    torch.testing.assert_close(unit(x), branch + (F.relu(x) if rectified else x))


def test_input_is_left_as_it_was():
    unit, x = ResidualConvUnit(4, rectified_skip=True), noise(1, 4, 5, 6)
    before = x.clone()
    unit(x)
    assert torch.equal(x, before)


def test_convolving_before_enlarging_gives_what_after_gives():
    block, x, level = FusionBlock(4, rectified_skip=True), noise(1, 4, 5, 6), noise(1, 4, 5, 6)
    fused = block.resConfUnit2(x + block.resConfUnit1(level))
    published_order = block.out_conv(resample(fused, (10, 12)))
    torch.testing.assert_close(block(x, level, (10, 12)), published_order, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("grid", [(4, 6), (5, 7)])
def test_the_map_is_twice_the_finest_level(grid, crop):
    channels = (3, 4, 5, 6)
    pyramid = FusionPyramid(channels, 8, rectified_skip=False, coarsest_takes_level=True, crop_doubled=crop)
    assert pyramid(levels(*grid, channels)).shape == (1, 8, 8 * grid[0], 8 * grid[1])


def test_families_enlarge_the_coarsest_level_differently_only_where_a_side_is_odd():
    channels = (3, 4, 5, 6)
    options = {"rectified_skip": False, "coarsest_takes_level": True}
    fitted = FusionPyramid(channels, 8, **options, crop_doubled=False)
    cropped = FusionPyramid(channels, 8, **options, crop_doubled=True)
    cropped.load_state_dict(fitted.state_dict())
    even, odd = levels(4, 6, channels), levels(5, 7, channels)
    torch.testing.assert_close(fitted(even), cropped(even))
    assert (fitted(odd) - cropped(odd)).abs().max() > 1e-3


def test_position_embedding_is_the_formula():
    rows, columns, channels, aspect = 3, 5, 8, 1.5
    added = add_position_(torch.zeros(1, channels, rows, columns), aspect)[0]
    diagonal = math.sqrt(aspect**2 + 1)
    for row in range(rows):
        for column in range(columns):
            u = aspect / diagonal * (2 * column + 1 - columns) / columns
            v = 1 / diagonal * (2 * row + 1 - rows) / rows
            waves = [f(x * 100 ** (-i / 2)) for x in (u, v) for f in (math.sin, math.cos) for i in range(2)]
            torch.testing.assert_close(added[:, row, column], 0.1 * torch.tensor(waves), rtol=1e-5, atol=1e-6)
