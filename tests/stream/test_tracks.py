# SPDX-License-Identifier: Apache-2.0
"""Moving points keep their identity while they are seen, in a world whose truth is known."""

from itertools import pairwise

import numpy as np
import pytest
from ball import ONWARD, BallWorld, passing
from oracle import HEIGHT, WIDTH, OracleEngine, frame

from dpm_core.errors import DpmError
from dpm_core.stream import Session, SessionConfig, TrackConfig


def session(world, window=4, **config):
    return Session(OracleEngine(world), SessionConfig(window=window, tracks=TrackConfig(spacing=4, **config)))


def all_tracks(world, frames, **config):
    stream = session(world, **config)
    return [stream.process(frame(index)).tracks for index in range(frames)]


@pytest.fixture(scope="module")
def passed():
    """A ball goes through the picture, over ten windows long."""
    return all_tracks(BallWorld(passing), 60)


def test_a_track_goes_where_its_point_goes(passed):
    for tracks in passed[6:30]:
        assert len(tracks.ids)
        moved = np.diff(tracks.points, axis=0)
        known = np.isfinite(moved).all(-1)
        np.testing.assert_allclose(moved[known], np.broadcast_to(ONWARD, (known.sum(), 3)), atol=1e-4)


def test_identities_last_over_many_windows(passed):
    """A point that was seen first in the middle of the way is the same one ten frames, over two windows, later."""
    at_first, later = passed[14], passed[24]
    both, before, after = np.intersect1d(at_first.ids, later.ids, return_indices=True)
    assert len(both) > len(at_first.ids) / 2
    where = at_first.points[-1, before] + 10 * ONWARD
    np.testing.assert_allclose(later.points[-1, after], where, atol=1e-3)


def test_an_identity_is_never_given_twice(passed):
    ended = set()
    for before, after in pairwise(passed):
        ended |= set(before.ids) - set(after.ids)
        assert not ended & set(after.ids)
        assert len(set(after.ids)) == len(after.ids)


def test_a_track_ends_when_its_point_is_out_of_sight(passed):
    out_of_sight = max(index for index in range(60) if BallWorld(passing).moving(index).any()) + 1
    window = 4
    assert len(passed[out_of_sight - 1].ids)
    assert len(passed[out_of_sight + window].ids) == 0


def test_what_stands_still_is_not_followed():
    assert all(len(tracks.ids) == 0 for tracks in all_tracks(BallWorld(lambda index: np.array([0, 0, 2.5])), 8))


def test_what_stops_is_followed_on():
    def stops_after_ten(index):
        return passing(9 + min(index, 10))

    tracks = all_tracks(BallWorld(stops_after_ten), 24)
    kept = np.isin(tracks[10].ids, tracks[23].ids)
    assert kept.mean() > 0.5


def test_the_whole_way_is_remembered_and_no_more():
    tracks = all_tracks(BallWorld(passing), 20, length=6)
    assert [len(each.stamps_ns) for each in tracks] == [1, 2, 3, 4, 5] + 15 * [6]
    for index, each in enumerate(tracks):
        assert each.points.shape == (len(each.stamps_ns), len(each.ids), 3)
        assert each.stamps_ns[-1] == frame(index).stamp_ns


def test_a_track_begins_where_a_pixel_is_seen_to_move():
    world = BallWorld(passing)
    for index, tracks in enumerate(all_tracks(world, 12)):
        surface = world.own_points(index)[world.moving(index)]
        newborn = np.isnan(tracks.points[:-1]).all((0, 2)) & (index > 0)
        for point in tracks.points[-1, newborn]:
            assert np.linalg.norm(surface - point, axis=1).min() < 1e-3


def test_no_more_are_followed_than_asked():
    tracks = all_tracks(BallWorld(passing), 12, count=3)
    assert max(len(each.ids) for each in tracks) == 3


def test_where_fewer_are_asked_the_oldest_stay():
    stream = session(BallWorld(passing))
    before = [stream.process(frame(index)).tracks for index in range(12, 20)][-1]
    stream.configure(SessionConfig(window=4, tracks=TrackConfig(spacing=4, count=2)))
    after = stream.process(frame(20)).tracks
    assert len(before.ids) > 2
    assert list(after.ids) == sorted(before.ids)[:2]


def test_a_gap_ends_all_tracks_and_the_next_ones_are_others():
    stream = session(BallWorld(passing))
    before = [stream.process(frame(index)).tracks for index in range(10)][-1]
    assert len(before.ids)
    later = [stream.process(frame(index)).tracks for index in range(25, 30)]
    assert len(later[0].ids) == 0
    assert later[-1].ids.min() > before.ids.max()


def test_another_image_size_ends_all_tracks():
    stream = session(BallWorld(passing))
    for index in range(10):
        stream.process(frame(index))
    smaller = stream.process(frame(10, image=np.full((HEIGHT, WIDTH - 2, 3), 10, np.uint8)))
    assert len(smaller.tracks.ids) == 0


def test_a_new_map_begins_without_tracks():
    stream = session(BallWorld(passing))
    for index in range(10):
        stream.process(frame(index))
    stream.reset()
    tracks = stream.process(frame(11)).tracks
    assert (len(tracks.ids), len(tracks.stamps_ns)) == (0, 1)


def test_its_memory_stays_what_it_was_and_its_thresholds_change():
    stream = session(BallWorld(passing))
    with pytest.raises(DpmError, match=r"tracks\.length cannot change from 20 to 21"):
        stream.configure(SessionConfig(window=4, tracks=TrackConfig(length=21)))
    stream.configure(SessionConfig(window=4, tracks=TrackConfig(count=0)))
    assert all(len(stream.process(frame(index)).tracks.ids) == 0 for index in range(10))


@pytest.mark.parametrize(("name", "value"), [("spacing", 0), ("length", 0), ("tolerance", float("nan")), ("count", -1)])
def test_configuration_says_what_is_wrong(name, value):
    with pytest.raises(DpmError, match=rf"tracks\.{name} is {value}"):
        TrackConfig(**{name: value})
