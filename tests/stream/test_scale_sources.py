# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from dpm_core.geometry.fit import Fit, fit_dust3r, fit_width
from dpm_core.stream.scale_sources import Odometer, from_depth, from_height

SCALE = 0.37


def whole(height, width):
    return Fit((height, width), (height, width), (0, 0), (height, width))


def slanted(height, width):
    """Depth that tells every pixel from its neighbours."""
    v, u = np.mgrid[:height, :width]
    return (2 + (u + 0.5) / width + 2 * (v + 0.5) / height).astype(np.float32)


def pose(x, y=0.0, z=0.0):
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def test_depth_gives_the_ratio_of_the_two_maps():
    ours = slanted(48, 64)
    look = from_depth(ours, SCALE * ours, whole(48, 64))
    assert math.exp(look.log_scale) == pytest.approx(SCALE, rel=1e-6)
    assert look.sigma < 1e-6


@pytest.mark.parametrize("fit", [fit_width(480, 640, 140), fit_dust3r(640, 480, 128), fit_width(640, 320, 140)])
@pytest.mark.parametrize("sensed", [(1.0, 1.0), (0.5, 0.5), (2.0, 1.0)])
def test_depth_is_compared_at_the_pixels_where_the_fit_put_them(fit, sensed):
    """Resized, cropped, and of another size than the image."""
    height, width = fit.source
    theirs = slanted(round(height * sensed[0]), round(width * sensed[1]))
    v, u = np.mgrid[: fit.size[0], : fit.size[1]]
    at_u = (u + fit.origin[1] + 0.5) / fit.resized[1]
    at_v = (v + fit.origin[0] + 0.5) / fit.resized[0]
    ours = (2 + at_u + 2 * at_v).astype(np.float32)
    look = from_depth(ours, SCALE * theirs, fit)
    assert math.exp(look.log_scale) == pytest.approx(SCALE, rel=2e-3)
    assert look.sigma < 1e-3


def test_holes_and_a_third_of_wrong_pixels_do_not_move_it():
    random = np.random.default_rng(1)
    ours = slanted(48, 64)
    theirs = SCALE * ours
    kind = random.uniform(size=theirs.shape)
    theirs[kind < 0.15] *= 3
    theirs[(kind > 0.15) & (kind < 0.3)] *= 0.2
    theirs[(kind > 0.3) & (kind < 0.4)] = 0
    theirs[(kind > 0.4) & (kind < 0.5)] = np.nan
    ours[(kind > 0.5) & (kind < 0.6)] = np.nan
    ours[0, :5] = [-1, 0, np.inf, np.nan, -np.inf]
    assert math.exp(from_depth(ours, theirs, whole(48, 64)).log_scale) == pytest.approx(SCALE, rel=1e-5)


@pytest.mark.parametrize("empty", [0.0, np.nan])
def test_an_empty_depth_image_says_nothing(empty):
    assert from_depth(slanted(48, 64), np.full((48, 64), empty, np.float32), whole(48, 64)) is None


def test_the_spread_of_the_pixels_is_in_the_sigma():
    random = np.random.default_rng(1)
    ours = slanted(48, 64)
    noisy = (SCALE * ours * np.exp(random.normal(0, 0.2, ours.shape))).astype(np.float32)
    look = from_depth(ours, noisy, whole(48, 64))
    assert look.sigma == pytest.approx(0.2 * math.sqrt(math.pi / 2) / 4, rel=0.1)


def test_the_odometer_measures_chords_of_a_quarter_metre_and_more():
    meter = Odometer()
    looks = [meter.measure(pose(0.1 * i, z=3), pose(0, 0.1 * i / SCALE)) for i in range(10)]
    assert [look is not None for look in looks] == [i in (3, 6, 9) for i in range(10)]
    for look in filter(None, looks):
        assert math.exp(look.log_scale) == pytest.approx(SCALE)
        assert look.sigma == pytest.approx(0.01 / 0.3)


def test_standing_still_measures_nothing():
    meter = Odometer()
    assert all(meter.measure(pose(5 + 0.001 * (i % 2)), pose(0.01 * i)) is None for i in range(100))


def test_a_map_that_stands_still_while_the_wheels_turn_measures_nothing():
    meter = Odometer()
    assert all(meter.measure(pose(i), pose(1)) is None for i in range(3))


def test_what_was_forgotten_is_not_measured_from():
    meter = Odometer()
    meter.measure(pose(0), pose(0))
    meter.forget()
    assert meter.measure(pose(1), pose(50)) is None
    assert math.exp(meter.measure(pose(2), pose(50 + 1 / SCALE)).log_scale) == pytest.approx(SCALE)


def ground_and_wall(height=1.2, pitch=0.3, roll=0.05, wall_at=6.0, unit=1 / SCALE):
    """[H, W, 3] in the camera: level ground `height` metres below it and a wall ahead, in the network's unit."""
    v, u = np.mgrid[:48, :64]
    rays = np.stack([(u - 31.5) / 50, (v - 23.5) / 50, np.ones_like(u)], -1)
    level_from_camera = rotation_x(-pitch) @ rotation_z(roll)
    level = rays @ level_from_camera.T
    with np.errstate(divide="ignore"):
        to_ground = np.where(level[..., 1] > 0, height / level[..., 1], np.inf)
    to_wall = wall_at / level[..., 2]
    return (unit * np.minimum(to_ground, to_wall)[..., None] * rays).astype(np.float32)


def rotation_x(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_z(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize("pitch", [0.0, 0.3, 0.6])
def test_the_ground_is_found_below_a_pitched_camera(pitch):
    look = from_height(ground_and_wall(pitch=pitch), 1.2)
    assert math.exp(look.log_scale) == pytest.approx(SCALE, rel=3e-3)  # the foot of the wall is on it too
    assert look.sigma < 3e-3


def test_things_on_the_ground_and_noise_do_not_move_it():
    random = np.random.default_rng(1)
    points = ground_and_wall()
    points[20:40, 10:25] = points[20:40, 10:25] * 0.7  # a box before it
    points *= np.exp(random.normal(0, 0.01, points.shape[:2]))[..., None].astype(np.float32)
    points[::7, ::5] = np.nan
    look = from_height(points, 1.2)
    assert math.exp(look.log_scale) == pytest.approx(SCALE, rel=0.01)


def test_a_wall_or_a_ceiling_is_no_ground():
    wall = ground_and_wall(height=1e6)
    assert from_height(wall, 1.2) is None
    ceiling = ground_and_wall(wall_at=1e6, pitch=0.6) * np.float32([1, -1, 1])
    assert from_height(ceiling, 1.2) is None


def test_a_table_with_a_floor_under_it_is_no_ground():
    points = ground_and_wall(pitch=0.5)
    points[-12:] *= 0.4  # a table near the camera, beyond whose edge the ground is seen
    look = from_height(points, 1.2)
    assert math.exp(look.log_scale) == pytest.approx(SCALE, rel=0.01)


def test_a_view_without_points_says_nothing():
    assert from_height(np.full((48, 64, 3), np.nan, np.float32), 1.2) is None
