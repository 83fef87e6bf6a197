# SPDX-License-Identifier: Apache-2.0
"""Metres through the whole session, with a network that answers in a unit of its own."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from oracle import OracleEngine, frame

from dpm_core.errors import DpmError
from dpm_core.stream import Session, SessionConfig
from dpm_core.stream.config import ScaleConfig
from dpm_core.stream.scale import combined
from dpm_core.stream.scale_sources import Measurement

UNIT = 2.5  # of the network, per metre
ODOM_FROM_WORLD = np.array([[0.0, -1, 0, 3], [1, 0, 0, -2], [0, 0, 1, 0.5], [0, 0, 0, 1]])


class Unscaled(OracleEngine):
    def unit(self, window):
        return UNIT * super().unit(window)


def session(window=4, engine=None, **scale):
    return Session(engine or Unscaled(), SessionConfig(window=window, scale=ScaleConfig(**scale)))


def with_depth(index, **changes):
    return frame(index, depth=oracle.depth(index).astype(np.float32), **changes)


def with_odometry(index, **changes):
    return frame(index, odom_from_camera=ODOM_FROM_WORLD @ oracle.world_from_camera(index), **changes)


def map_from_camera(index):
    return np.linalg.inv(oracle.world_from_camera(0)) @ oracle.world_from_camera(index)


def assert_metric(estimate, index):
    assert estimate.unit == "m"
    np.testing.assert_allclose(estimate.depth, oracle.depth(index), rtol=1e-4)
    np.testing.assert_allclose(estimate.world_from_camera, map_from_camera(index), atol=1e-4)


def test_without_any_other_sensor_lengths_are_the_network_s():
    stream = session()
    for index in range(5):
        estimate = stream.process(frame(index))
        assert (estimate.unit, estimate.scale) == ("network", None)
    assert np.median(estimate.depth / oracle.depth(4)) == pytest.approx(UNIT, rel=1e-3)


def test_depth_makes_everything_metric_from_the_first_frame():
    stream = session()
    for index in range(10):
        estimate = stream.process(with_depth(index))
        assert_metric(estimate, index)
        assert estimate.scale.source == "depth"
        assert estimate.scale.metres_per_unit == pytest.approx(1 / UNIT, rel=1e-4)
    in_map = np.linalg.inv(oracle.world_from_camera(0))[:3, :3] @ oracle.VELOCITY
    moving = estimate.cloud.velocity[estimate.cloud.dynamic]
    np.testing.assert_allclose(moving, np.broadcast_to(in_map, moving.shape), atol=2e-3)


def test_odometry_makes_it_metric_after_three_steps():
    stream = session()
    estimates = [stream.process(with_odometry(index)) for index in range(16)]
    first = [estimate.unit for estimate in estimates].index("m")
    assert 6 <= first <= 9  # 0.11 m a frame
    assert {estimate.unit for estimate in estimates[first:]} == {"m"}
    for index in range(first, 16):
        assert_metric(estimates[index], index)
        assert estimates[index].scale.source == "odometry"


def test_the_height_of_the_camera_makes_it_metric():
    """The oracle's world has no ground; this one is a floor 1.4 m below a camera that looks down at it."""
    height, pitch = 1.4, 0.6
    v, u = np.mgrid[: oracle.HEIGHT, : oracle.WIDTH]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(oracle.INTRINSICS).T
    downwards = rays[..., 1] * np.cos(pitch) + np.sin(pitch)
    floor = torch.from_numpy((UNIT * height / downwards)[..., None] * rays).float()

    class OverFloor(OracleEngine):
        def predict(self, tokens, size, times):
            answer = super().predict(tokens, size, times)
            still = torch.eye(4).expand(len(tokens), 4, 4)
            own = floor.expand_as(answer.own_points)
            return replace(answer, own_points=own, points=own.expand_as(answer.points), world_from_camera=still)

    estimate = session(engine=OverFloor(), camera_height=height).process(frame(0))
    assert (estimate.unit, estimate.scale.source) == ("m", "height")
    np.testing.assert_allclose(estimate.depth, floor[..., 2].numpy() / UNIT, rtol=1e-3)


def test_a_fixed_factor_is_taken_as_it_is():
    stream = session(source="fixed", factor=1 / UNIT)
    for index in range(5):
        estimate = stream.process(frame(index))
        assert_metric(estimate, index)
    assert (estimate.scale.source, estimate.scale.relative_sigma) == ("fixed", 0)


@pytest.mark.parametrize("source", ["none", "odometry"])
def test_a_source_that_was_not_chosen_does_not_count(source):
    assert session(source=source).process(with_depth(0)).unit == "network"


def test_single_wrong_depth_images_do_not_move_the_scale():
    stream = session(window=4)
    for index in range(20):
        factor = 3.0 if index in (7, 11, 12, 16) else 1.0
        wrong = frame(index, depth=(factor * oracle.depth(index)).astype(np.float32))
        assert_metric(stream.process(wrong), index)


def test_scatter_of_the_looks_is_in_the_uncertainty():
    random = np.random.default_rng(0)

    def sigma(noise):
        stream = session(window=4)
        for index in range(20):
            factor = np.exp(random.normal(0, noise))
            estimate = stream.process(frame(index, depth=(factor * oracle.depth(index)).astype(np.float32)))
        return estimate.scale.relative_sigma

    assert sigma(0.0) < 0.02 < sigma(0.08) < 0.1


def test_too_uncertain_is_not_metric():
    """Depth that has nothing to do with what the network sees."""
    noise = np.random.default_rng(0).lognormal(0, 2, (oracle.HEIGHT, oracle.WIDTH)).astype(np.float32)
    assert session().process(frame(0, depth=noise)).unit == "network"


def test_a_chain_that_drifts_is_held_to_metres_and_poses_never_jump():
    """One that loses 1 % of its unit a window: the map neither shrinks nor leaps."""

    class Shrinking(Unscaled):
        def predict(self, tokens, size, times):
            answer = super().predict(tokens, size, times)
            shrunk = 0.99 ** torch.arange(len(tokens), dtype=torch.float32)  # the newer, the smaller
            centre = answer.world_from_camera[:, None, None, :3, 3]
            own = centre + (answer.own_points - centre) * shrunk[:, None, None, None]
            return replace(answer, own_points=own)

    free, held = session(engine=Shrinking()), session(engine=Shrinking(), memory=4)
    step = [0.0, 0.0]
    for index in range(40):
        loose, tight = free.process(frame(index)), held.process(with_depth(index))
        depth = oracle.depth(index) * (0.99 ** min(index, 3))
        assert np.median(tight.depth / depth) == pytest.approx(1, abs=0.06)
        step = [*step, np.linalg.norm(tight.world_from_camera[:3, 3] - map_from_camera(index)[:3, 3])]
    assert np.median(loose.depth / depth) / UNIT < 0.9
    assert max(np.diff(step[2:])) < 0.02


def test_after_a_gap_the_unit_is_a_new_one_and_must_be_measured_again():
    stream = session()
    for index in range(12):
        before = stream.process(with_odometry(index))
    after = stream.process(with_odometry(60))
    assert (before.unit, after.unit) == ("m", "network")
    np.testing.assert_allclose(after.world_from_camera[:3, 3], before.world_from_camera[:3, 3], atol=1e-4)
    again = [stream.process(with_odometry(60 + index)) for index in range(1, 12)]
    assert again[-1].unit == "m"
    np.testing.assert_allclose(again[-1].depth, oracle.depth(71), rtol=1e-3)
    moved = np.linalg.norm(again[-1].world_from_camera[:3, 3] - again[-2].world_from_camera[:3, 3])
    expected = np.linalg.norm(map_from_camera(71)[:3, 3] - map_from_camera(70)[:3, 3])
    assert moved == pytest.approx(expected, rel=1e-3)


def test_with_depth_a_gap_costs_nothing():
    stream = session()
    for index in range(3):
        stream.process(with_depth(index))
    after = stream.process(with_depth(60))
    assert after.unit == "m"
    np.testing.assert_allclose(after.depth, oracle.depth(60), rtol=1e-4)


def test_what_adds_up_over_windows_begins_anew_when_the_unit_changes():
    stream = session(window=2)
    for index in range(20):
        estimate = stream.process(with_odometry(index))
    assert estimate.unit == "m"
    cloud = estimate.static_map()
    assert len(cloud.points)
    distance = np.linalg.norm(cloud.points, axis=-1)
    assert distance.max() < 10, "nothing of the map is left in the old unit"


def test_other_knobs_count_from_the_next_frame():
    stream = session(source="fixed", factor=7.0)
    assert stream.process(frame(0)).scale.metres_per_unit == 7
    stream.configure(replace(stream.config, scale=ScaleConfig(source="auto")))
    assert_metric(stream.process(with_depth(1)), 1)
    assert stream.process(with_depth(2)).scale.source == "depth"


def test_a_new_map_measures_anew():
    stream = session()
    stream.process(with_depth(0))
    stream.reset()
    assert stream.process(frame(1)).unit == "network"


def test_better_looks_weigh_more():
    looks = [Measurement(0.0, 0.02, "depth"), Measurement(1.0, 0.5, "odometry"), Measurement(1.1, 0.5, "odometry")]
    scale = combined(looks, window=1)
    assert (scale.metres_per_unit, scale.source) == (1.0, "depth and odometry")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(source="moon"), "scale.source is 'moon'; choose one of: auto, none, depth, odometry, height, fixed"),
        (dict(source="fixed", factor=0.0), "scale.factor is 0"),
        (dict(source="height"), "scale.camera_height is 0; give the camera's height"),
        (dict(memory=0), "scale.memory is 0"),
        (dict(max_sigma=float("nan")), "scale.max_sigma is nan"),
    ],
)
def test_configuration_says_what_is_wrong(wrong, message):
    with pytest.raises(DpmError, match=message):
        ScaleConfig(**wrong)
