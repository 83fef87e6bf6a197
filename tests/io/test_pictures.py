# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from estimates import HEIGHT, WIDTH, cloud, estimate

from dpm_core.io.pictures import depth_colors, panel, picture, round_length, side_view, tinted
from dpm_core.types import Cloud

RED, GREEN = (255, 60, 40), (0, 255, 0)


def points(positions, dynamic=False):
    count = len(positions)
    return Cloud(
        points=np.array(positions, np.float32).reshape(-1, 3),
        colors=np.full((count, 3), GREEN, np.uint8),
        confidence=np.ones(count, np.float32),
        velocity=np.zeros((count, 3), np.float32),
        dynamic=np.full(count, dynamic),
    )


def where(image, color):
    """(row, column) of the pixels of a colour."""
    return np.argwhere((image == np.array(color)).all(-1))


def test_near_is_red_and_far_is_blue_and_nothing_is_black():
    depth = np.tile(np.linspace(1, 9, 100, dtype=np.float32), (4, 1))
    depth[0, 50] = np.nan
    colors = depth_colors(depth).astype(int)
    assert colors[2, 0, 0] > colors[2, 0, 2]
    assert colors[2, -1, 2] > colors[2, -1, 0]
    assert colors[0, 50].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_depth_without_range(value):
    assert depth_colors(np.full((3, 4), value, np.float32)).shape == (3, 4, 3)


def test_what_moves_is_red_on_grey():
    image = np.full((2, 2, 3), (10, 200, 30), np.uint8)
    mask = np.array([[True, False], [False, False]])
    red, grey = tinted(image, mask)[0].astype(int)
    assert red[0] > red[1] + 50
    assert grey[0] == grey[1] == grey[2]


def test_three_in_a_row():
    assert panel(estimate(1)).shape == (HEIGHT, 3 * WIDTH, 3)


def test_the_whole_picture():
    whole = picture(estimate(1), [np.zeros(3)])
    assert whole.shape[1] == 3 * WIDTH
    assert whole.dtype == np.uint8


def test_forward_is_right_and_down_is_down():
    near_top, far_bottom = (0, -1, 1), (0, 1, 5)
    view = side_view(points([near_top, far_bottom]), "m", [], (200, 300))
    (top, left), (bottom, right) = where(view, GREEN)
    assert top < bottom
    assert left < right
    assert (right - left) / (bottom - top) == pytest.approx(4 / 2, rel=0.05)


def test_moving_points_are_red_and_nearer_points_hide_those_behind():
    still, moving = points([(0, 0, 0), (0, 1, 1)]), points([(2, 0, 0), (-2, 1, 1)], dynamic=True)
    both = Cloud(*(np.concatenate(pair) for pair in zip(vars(still).values(), vars(moving).values(), strict=True)))
    view = side_view(both, "m", [], (200, 300))
    assert len(where(view, RED)) == 1
    assert len(where(view, GREEN)) == 1


@pytest.mark.parametrize("given", [points([]), points([(0, 0, 0)]), cloud(0)], ids=["none", "one", "many"])
def test_any_cloud_can_be_shown(given):
    assert side_view(given, "network", [np.ones(3)], (120, 160)).shape == (120, 160, 3)


def test_far_points_do_not_shrink_the_rest():
    many = cloud(0, 2000)
    far = replace(many, points=np.concatenate([many.points[:-1], [[0, 0, 1e9]]]).astype(np.float32))
    changed = side_view(far, "m", [], (200, 300)) != side_view(many, "m", [], (200, 300))
    assert changed.mean() < 0.2


@pytest.mark.parametrize(("longest", "length"), [(1, 1), (4.99, 2), (5, 5), (0.3, 0.2), (999, 500)])
def test_round_lengths(longest, length):
    assert round_length(longest) == pytest.approx(length)
