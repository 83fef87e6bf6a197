# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.geometry.cameras import camera_matrix, inverse_rigid, pixel_grid, project, rigid, transform, unproject
from dpm_core.geometry.focal import median_focal, weiszfeld_focal
from dpm_core.geometry.pnp import solve_pnp
from dpm_core.geometry.pose_encoding import decode_pose, encode_pose
from dpm_core.geometry.rotations import quaternion_from_rotation, rotation_from_quaternion

HEIGHT, WIDTH = 24, 32


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def rotations(count, random):
    return rotation_from_quaternion(torch.randn(count, 4, generator=random, dtype=torch.float64))


def scene(random, focal=30.0, count=2):
    """Wavy depth maps seen by cameras here and there."""
    depth = 2 + torch.rand(count, HEIGHT, WIDTH, generator=random, dtype=torch.float64)
    K = camera_matrix(torch.full((count, 1), focal, dtype=torch.float64), torch.tensor([WIDTH / 2, HEIGHT / 2]))
    poses = rigid(rotations(count, random), torch.randn(count, 3, generator=random, dtype=torch.float64))
    return depth, K, poses


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_quaternions_and_rotations_are_two_names_of_one_thing(quaternion):
    quaternion = torch.tensor(quaternion, dtype=torch.float64)
    rotation = rotation_from_quaternion(quaternion)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))
    back = quaternion_from_rotation(rotation)
    assert back[3] >= 0
    assert torch.linalg.norm(back) == pytest.approx(1)
    torch.testing.assert_close(rotation_from_quaternion(back), rotation)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_have_a_quaternion(axis):
    rotation = -torch.eye(3, dtype=torch.float64)
    rotation[axis, axis] = 1
    quaternion = quaternion_from_rotation(rotation)
    assert quaternion[axis].abs() == pytest.approx(1)


def test_xyzw_is_the_order_of_a_quaternion():
    quarter_about_z = torch.tensor([0, 0, math.sin(math.pi / 4), math.cos(math.pi / 4)])
    x_axis = rotation_from_quaternion(quarter_about_z) @ torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(x_axis, torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


def test_projecting_what_was_unprojected_gives_the_pixels_back(random):
    depth, K, poses = scene(random)
    world = transform(poses, unproject(depth, K))
    seen = project(transform(inverse_rigid(poses), world), K)
    torch.testing.assert_close(seen, pixel_grid(depth).expand_as(seen))


def test_pose_encoding_holds_a_camera(random):
    _, K, poses = scene(random)
    camera_from_world, intrinsics = decode_pose(encode_pose(inverse_rigid(poses), K, (HEIGHT, WIDTH)), (HEIGHT, WIDTH))
    torch.testing.assert_close(camera_from_world, inverse_rigid(poses)[:, :3])
    torch.testing.assert_close(intrinsics, K)


@pytest.mark.parametrize("estimate", [weiszfeld_focal, median_focal])
def test_focal_comes_back_in_spite_of_gross_errors(random, estimate):
    depth, K, _ = scene(random, focal=41.0)
    points = unproject(depth, K)
    points[:, ::5, :, 2] *= 1.5
    assert estimate(points) == pytest.approx(41.0, rel=5e-3)


def test_focal_ignores_points_that_are_not_there(random):
    depth, K, _ = scene(random, focal=41.0)
    points = unproject(depth, K)
    points[:, 5:9] = torch.nan
    assert weiszfeld_focal(points) == pytest.approx(41.0, rel=1e-6)


def test_pnp_finds_the_camera_that_saw_the_points(random):
    depth, K, poses = scene(random)
    points = transform(poses, unproject(depth, K))[0].float().numpy()
    points[:2] = np.nan
    found = solve_pnp(points, np.ones((HEIGHT, WIDTH), bool), 30.0)
    np.testing.assert_allclose(found.world_from_camera, poses[0], atol=1e-4)
    assert found.inliers == (HEIGHT - 2) * WIDTH


def test_pnp_finds_a_focal_that_explains_every_pixel(random):
    depth, K, poses = scene(random)
    points = transform(poses, unproject(depth, K))[0].float().numpy()
    found = solve_pnp(points, np.ones((HEIGHT, WIDTH), bool))
    assert found.focal in np.geomspace(WIDTH / 2, WIDTH * 3, 21)
    assert found.inliers == HEIGHT * WIDTH


def test_pnp_says_when_there_is_no_camera_to_find(random):
    depth, K, _ = scene(random)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[3, 4:7] = True
    assert solve_pnp(unproject(depth, K)[0].float().numpy(), mask, 30.0) is None
