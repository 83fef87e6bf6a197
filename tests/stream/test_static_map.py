# SPDX-License-Identifier: Apache-2.0
"""The map holds what does not move, in a world whose truth is known."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from ball import ONWARD, RADIUS, WALL, BallWorld, passing
from oracle import OracleEngine, frame

from dpm_core.errors import DpmError
from dpm_core.stream import MapConfig, Session, SessionConfig

EVERY_FRAME = MapConfig(period_s=0)
CELL = 0.01 * WALL  # the first median depth is the wall's


def session(world, config=EVERY_FRAME, window=4):
    return Session(OracleEngine(world), SessionConfig(window=window, map=config))


def ends_of(world, count, **options):
    """The map after each of `count` frames."""
    stream = session(world, **options)
    return [stream.process(frame(index)).static_map() for index in range(count)]


def beside_the_wall(cloud):
    """How many points are not on the wall, all that stands still."""
    return int((np.abs(cloud.points[:, 2] - WALL) > CELL).sum())


def test_what_passes_leaves_no_trail():
    maps = ends_of(BallWorld(passing), 40)
    assert [beside_the_wall(cloud) for cloud in maps] == [0] * 40
    seen_at_last = oracle.HEIGHT * oracle.WIDTH
    assert len(maps[-1].points) > seen_at_last / 2, "the wall behind the ball is there when the ball has gone"


def test_what_stands_still_is_in_it_once_and_where_it_is():
    world = BallWorld(lambda index: np.array([0, 0, 2.5]))
    stream = session(world)
    for index in range(12):
        estimate = stream.process(frame(index))
    points = estimate.static_map().points
    on_ball = np.abs(np.linalg.norm(points - world.centre(0), axis=1) - RADIUS) < CELL
    on_wall = np.abs(points[:, 2] - WALL) < CELL
    assert on_ball.sum() > 50
    assert (on_ball | on_wall).all()
    cells = np.unique(np.floor(points / CELL), axis=0)
    assert len(cells) > 0.9 * len(points), "a cell holds one point"


def test_what_stood_still_and_moves_off_is_forgotten():
    def leaves_after_ten(index):
        return np.array([0, 0, 2.5]) + ONWARD * max(0, index - 10)

    maps = ends_of(BallWorld(leaves_after_ten), 24)
    assert beside_the_wall(maps[10]) > 50
    assert beside_the_wall(maps[-1]) == 0


def test_nothing_enters_before_motion_is_known():
    """A ball so slow that one step shows nothing: only over a whole window is it seen to move."""
    slow = BallWorld(lambda index: np.array([-0.5, 0, 2.5]) + 0.5 * ONWARD * index)
    maps = ends_of(slow, 8)
    assert [len(cloud.points) for cloud in maps[:3]] == [0, 0, 0]
    assert [beside_the_wall(cloud) for cloud in maps] == [0] * 8


def test_frames_enter_no_more_often_than_asked():
    maps = ends_of(BallWorld(passing), 10, config=MapConfig(period_s=0.25))
    changed = [index for index in range(1, 10) if len(maps[index].points) != len(maps[index - 1].points)]
    assert changed == [3, 6, 9]


def test_a_full_map_keeps_what_is_near_the_camera():
    config = MapConfig(period_s=0, capacity=800)
    world = BallWorld(lambda index: np.array([0, 0, -5.0]))  # behind the camera: a wall alone
    world.world_from_camera = lambda index: np.block([[np.eye(3), np.array([[0.2 * index, 0, 0]]).T], [0, 0, 0, 1]])
    stream = session(world, config=config)
    for index in range(30):
        cloud = stream.process(frame(index)).static_map()
        assert len(cloud.points) <= 800
    assert cloud.points[:, 0].max() > world.world_from_camera(29)[0, 3], "what the camera sees now is in it"
    assert cloud.points[:, 0].min() > 0, "what it saw first is not"


def test_an_estimate_keeps_the_map_of_its_time():
    stream = session(BallWorld(passing))
    estimates = [stream.process(frame(index)) for index in range(8)]
    before = [len(estimate.static_map().points) for estimate in estimates]
    stream.reset()
    assert [len(estimate.static_map().points) for estimate in estimates] == before
    assert before == sorted(before)


def test_a_new_map_is_empty():
    stream = session(BallWorld(passing))
    for index in range(6):
        estimate = stream.process(frame(index))
    assert len(estimate.static_map().points) > 0
    assert len(stream.process(frame(0)).static_map().points) == 0, "time went back"


def test_with_a_window_of_one_frame_nothing_is_known_to_stand_still():
    assert all(len(cloud.points) == 0 for cloud in ends_of(BallWorld(passing), 3, window=1))


@pytest.mark.parametrize("name", ["voxel", "capacity"])
def test_the_size_of_the_map_stays_what_it_was(name):
    stream = session(BallWorld(passing))
    changed = SessionConfig(window=4, map=MapConfig(**{name: 1}))
    with pytest.raises(DpmError, match=rf"map\.{name} cannot change"):
        stream.configure(changed)


class NoisyOracle(OracleEngine):
    """Errs by some of the depth at every pixel, another way at every call."""

    def __init__(self, world, part):
        super().__init__(world)
        self.part = part
        self.random = torch.Generator().manual_seed(0)

    def predict(self, *arguments):
        truth = super().predict(*arguments)
        cameras = truth.world_from_camera[:, None, None, :3, 3]
        maps = (self.erring(maps, cameras) for maps in (truth.own_points, truth.points))
        return replace(truth, **dict(zip(("own_points", "points"), maps, strict=True)))

    def erring(self, points, cameras):
        error = self.part * torch.randn(*points.shape[:-1], 1, generator=self.random)
        return cameras + (points - cameras) * (1 + error)


def ghosts_of_a_noisy_ball(see_through):
    """Points of the map in the way of a ball that has passed, seen by a network that errs by 2 % of the depth."""
    config = SessionConfig(window=4, map=MapConfig(period_s=0, see_through=see_through))
    stream = Session(NoisyOracle(BallWorld(passing), 0.02), config)
    for index in range(10, 46):
        points = stream.process(frame(index)).static_map().points
    return int((points[:, 2] < 3).sum())


def test_what_slips_in_by_noise_is_seen_through_later():
    assert ghosts_of_a_noisy_ball(see_through=10.0) > 10, "without seeing through"
    assert ghosts_of_a_noisy_ball(see_through=0.05) == 0


def with_depth(world, index, units_a_metre=2):
    """A frame with what a depth sensor sees."""
    depth = (world.own_points(index) - world.world_from_camera(index)[:3, 3])[..., 2] / units_a_metre
    return frame(index, depth=depth.astype(np.float32))


def test_a_map_of_metres_holds_nothing_of_another_unit():
    world = BallWorld(passing)
    stream = session(world)
    for index in range(8):
        estimate = stream.process(frame(index))
    assert (estimate.unit, len(estimate.static_map().points) > 0) == ("network", True)
    for index in range(8, 16):
        estimate = stream.process(with_depth(world, index))
    assert estimate.unit == "m"
    np.testing.assert_allclose(estimate.static_map().points[:, 2], WALL / 2, rtol=0.02)


def test_a_sensor_that_pauses_does_not_cost_the_map():
    world = BallWorld(passing)
    stream = session(world)
    before = [stream.process(with_depth(world, index)) for index in range(8)][-1]
    after_gap = stream.process(frame(30))
    assert (before.unit, after_gap.unit) == ("m", "network")
    assert len(after_gap.static_map().points) == len(before.static_map().points) > 0


@pytest.mark.parametrize(("name", "value"), [("voxel", 0), ("capacity", 0), ("period_s", -1), ("see_through", np.inf)])
def test_configuration_says_what_is_wrong(name, value):
    with pytest.raises(DpmError, match=rf"map\.{name} is {value}"):
        MapConfig(**{name: value})
