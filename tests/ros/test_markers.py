# SPDX-License-Identifier: Apache-2.0
"""Lines that are drawn are those of the estimate."""

from dataclasses import replace

import numpy as np
import pytest
from dpm_ros import bags, conversions
from dpm_ros.markers import flow_lines, marker_array, track_lines
from plain_markers import plain
from rclpy.serialization import deserialize_message, serialize_message
from visualization_msgs.msg import Marker, MarkerArray

from dpm_core.io.colors import HUES, track_colors
from dpm_core.types import Cloud, Tracks

HEADER = conversions.header(1_700_000_000_123_456_789, "map")


def positions(marker):
    return np.array([[point.x, point.y, point.z] for point in marker.points])


def cloud(count, moving):
    random = np.random.default_rng(0)
    vectors = random.normal(0, 1, (2, count, 3)).astype(np.float32)
    colors, confidence = np.zeros((count, 3), np.uint8), np.ones(count, np.float32)
    return Cloud(vectors[0], colors, confidence, vectors[1], np.arange(count) < moving)


def test_a_line_of_flow_goes_from_where_a_point_is_to_where_it_will_be():
    moving = cloud(9, moving=4)
    (marker,) = plain(flow_lines(HEADER, moving, seconds=0.5, most=100, width=0.01)).markers
    assert (marker.type, marker.action, marker.header) == (Marker.LINE_LIST, Marker.ADD, HEADER)
    assert marker.scale.x == 0.01
    lines = positions(marker).reshape(-1, 2, 3)
    np.testing.assert_allclose(lines[:, 0], moving.points[:4], atol=1e-6)
    np.testing.assert_allclose(lines[:, 1] - lines[:, 0], 0.5 * moving.velocity[:4], atol=1e-6)


def test_of_many_lines_some_are_left_out_evenly():
    many = cloud(1000, moving=1000)
    (marker,) = plain(flow_lines(HEADER, many, seconds=1, most=11, width=1)).markers
    begins = positions(marker)[::2]
    chosen = [int(np.abs(many.points - begin).sum(1).argmin()) for begin in begins]
    assert (len(chosen), chosen[0], chosen[-1]) == (11, 0, 999)
    assert max(np.diff(chosen)) <= 101


@pytest.mark.parametrize(("moving", "most"), [(0, 10), (5, 0)])
def test_where_nothing_is_to_be_drawn_the_old_lines_go(moving, most):
    (marker,) = plain(flow_lines(HEADER, cloud(9, moving), seconds=1, most=most, width=1)).markers
    assert (marker.action, marker.points) == (Marker.DELETE, [])


@pytest.fixture
def tracks():
    """Three points at three instants: one from the first on, one from the second, one from the last."""
    points = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    points[0, 1] = points[:2, 2] = np.nan
    return Tracks(np.array([3, 40, 41]), (1, 2, 3), points)


def test_a_track_is_a_strip_from_where_it_began(tracks):
    strips = plain(track_lines(HEADER, tracks, lifetime=1.5, width=0.02)).markers
    assert [marker.id for marker in strips] == [3, 40], "one position is no line"
    for marker in strips:
        assert (marker.type, marker.action, marker.ns) == (Marker.LINE_STRIP, Marker.ADD, "tracks")
        assert (marker.lifetime.sec, marker.lifetime.nanosec) == (1, 500_000_000)
    np.testing.assert_array_equal(positions(strips[0]), tracks.points[:, 0])
    np.testing.assert_array_equal(positions(strips[1]), tracks.points[1:, 1])


def test_a_strip_fades_into_the_past_in_a_hue_of_its_own(tracks):
    strips = plain(track_lines(HEADER, tracks, lifetime=1, width=1)).markers
    for marker in strips:
        assert len(marker.colors) == len(marker.points)
        alphas = [color.a for color in marker.colors]
        assert alphas == sorted(alphas)
        assert alphas[-1] == 1
    newest = [(strip.colors[-1].r, strip.colors[-1].g, strip.colors[-1].b) for strip in strips]
    np.testing.assert_allclose(255 * np.array(newest), track_colors([3, 40]), atol=1e-3)


def test_tracks_that_begin_together_have_hues_far_apart():
    colors = track_colors(range(HUES)).astype(int)
    assert len({tuple(color) for color in colors}) == HUES
    assert np.abs(np.diff(colors, axis=0)).sum(1).min() > 100


def test_identities_beyond_the_messages_range_are_kept_in_it(tracks):
    (first, *_) = plain(track_lines(HEADER, replace(tracks, ids=tracks.ids + 2**40), lifetime=1, width=1)).markers
    assert first.id == 3


def test_no_tracks_are_no_markers():
    assert plain(track_lines(HEADER, Tracks.none(), lifetime=1, width=1)).markers == []


@pytest.mark.parametrize("frame_id", ["map", "m", "odometry", ""])
@pytest.mark.parametrize("anew", [False, True])
def test_bytes_are_those_of_the_plain_messages(tracks, frame_id, anew):
    header = conversions.header(1_700_000_000_123_456_789, frame_id)
    flow = flow_lines(header, cloud(9, moving=4), seconds=0.5, most=100, width=0.01)
    strips = track_lines(header, tracks, lifetime=1.5, width=0.02)
    before = header if anew else None
    for lines in (flow, strips, track_lines(header, Tracks.none(), lifetime=1, width=1), None):
        expected = bags.repeatable(serialize_message(plain(lines, before)), MarkerArray)
        assert marker_array(lines, before) == expected


def test_all_can_be_taken_away_before_more_is_drawn(tracks):
    def actions(*drawn):
        return [marker.action for marker in deserialize_message(marker_array(*drawn), MarkerArray).markers]

    strips = track_lines(HEADER, tracks, lifetime=1, width=1)
    assert actions(None, HEADER) == [Marker.DELETEALL]
    assert actions(strips, HEADER) == [Marker.DELETEALL, Marker.ADD, Marker.ADD]
