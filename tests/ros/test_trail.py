# SPDX-License-Identifier: Apache-2.0
"""The trail of what moves: which points it has, how old each is, and how many it keeps."""

import numpy as np
import pytest
from dpm_ros import conversions
from dpm_ros.trail import Trail
from test_conversions import cloud, columns, read_back

SECOND = 1_000_000_000
BEGIN = 1_341_846_434 * SECOND + 123
HEADER = conversions.header(BEGIN, "map")


def moving(count, seed=0):
    """A cloud of which every other point moves, and these points."""
    made = cloud(2 * count)
    made.points[:] = np.random.default_rng(seed).normal(size=made.points.shape)
    made.dynamic[:] = np.arange(2 * count) % 2 == 1
    return made, made.points[made.dynamic]


def trail_of(stamps, seconds=1.0, most=1000, count=5):
    """A trail, and the moving points of each stamp."""
    trail, points = Trail(seconds, most), []
    for seed, stamp_ns in enumerate(stamps):
        made, moved = moving(count, seed)
        trail.add(stamp_ns, made)
        points.append(moved)
    return trail, points


def test_points_are_those_that_move_with_the_seconds_since_they_were_seen_there():
    stamps = [BEGIN, BEGIN + SECOND // 4, BEGIN + SECOND]
    trail, points = trail_of(stamps)
    read = read_back(trail.message(HEADER))
    np.testing.assert_array_equal(columns(read, "x", "y", "z"), np.concatenate(points))
    np.testing.assert_allclose(read["age"], np.repeat([1.0, 0.75, 0.0], 5), atol=1e-7)


def test_each_point_keeps_its_colour():
    made, _ = moving(5)
    trail = Trail(1.0, 1000)
    trail.add(BEGIN, made)
    packed = np.ascontiguousarray(read_back(trail.message(HEADER))["rgb"]).view(np.uint32)
    colors = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], -1)
    np.testing.assert_array_equal(colors, made.colors[made.dynamic])


def test_what_is_older_than_the_trail_is_long_goes():
    trail, points = trail_of([BEGIN, BEGIN + 1, BEGIN + SECOND, BEGIN + SECOND + 1])
    read = read_back(trail.message(HEADER))
    np.testing.assert_array_equal(columns(read, "x", "y", "z"), np.concatenate(points[1:]))


def test_a_trail_of_no_length_is_the_newest_instant():
    trail, points = trail_of([BEGIN, BEGIN + 1], seconds=0.0)
    np.testing.assert_array_equal(columns(read_back(trail.message(HEADER)), "x", "y", "z"), points[1])


@pytest.mark.parametrize(("most", "kept"), [(14, 10), (10, 10), (9, 5), (3, 3), (0, 0)])
def test_of_too_many_points_the_oldest_instants_go_first(most, kept):
    trail, points = trail_of([BEGIN, BEGIN + 1, BEGIN + 2], most=most)
    read = read_back(trail.message(HEADER))
    assert len(read) == kept
    if kept >= 5:
        np.testing.assert_array_equal(columns(read, "x", "y", "z"), np.concatenate(points)[-kept:])


def test_of_one_instant_with_too_many_points_some_are_left_out_evenly():
    trail, (points,) = trail_of([BEGIN], most=3)
    np.testing.assert_array_equal(columns(read_back(trail.message(HEADER)), "x", "y", "z"), points[[0, 2, 4]])


def test_points_that_are_not_finite_are_left_out():
    made, points = moving(5)
    made.points[np.flatnonzero(made.dynamic)[1], 2] = np.nan
    trail = Trail(1.0, 1000)
    trail.add(BEGIN, made)
    read = read_back(trail.message(HEADER))
    np.testing.assert_array_equal(columns(read, "x", "y", "z"), points[[0, 2, 3, 4]])


def test_where_nothing_moves_it_is_empty_and_says_what_its_fields_are():
    trail, _ = trail_of([BEGIN], count=0)
    message = trail.message(HEADER)
    assert (message.header, message.width, message.point_step, len(message.data)) == (HEADER, 0, 20, 0)
    assert [field.name for field in message.fields] == ["x", "y", "z", "rgb", "age"]


def test_forgotten_it_begins_anew():
    trail, _ = trail_of([BEGIN])
    trail.forget()
    made, points = moving(5, seed=9)
    trail.add(BEGIN - 5 * SECOND, made)
    read = read_back(trail.message(HEADER))
    np.testing.assert_array_equal(columns(read, "x", "y", "z"), points)
    assert not read["age"].any()
