# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.kernels import camera_depth, scene_flow, unproject_depth


def point_maps(seed, views, height, width):
    random = np.random.default_rng(seed)
    points = random.normal(0, 2, (views, height, width, 3)).astype(np.float32)
    moved = points + random.normal(0, 0.1, points.shape).astype(np.float32)
    points[random.random(points.shape[:3]) < 0.1, 1] = np.nan
    moved[random.random(points.shape[:3]) < 0.1, 2] = np.inf
    return points, moved


sizes = st.tuples(st.integers(0, 3), st.integers(1, 17), st.integers(1, 19))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=sizes)
def test_displacement_is_the_difference_of_finite_points(seed, size):
    points, moved = point_maps(seed, *size)
    with np.errstate(invalid="ignore"):
        expected = moved - points
    expected[~np.isfinite(expected).all(-1)] = np.nan
    flow = scene_flow(torch.from_numpy(points), torch.from_numpy(moved))
    np.testing.assert_array_equal(flow.numpy(), expected)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=sizes)
def test_velocity_is_the_displacement_over_time(seed, size):
    points, moved = map(torch.from_numpy, point_maps(seed, *size))
    seconds = torch.linspace(-0.5, 2, size[0])
    velocity = scene_flow(points, moved, seconds=seconds)
    expected = scene_flow(points, moved) / seconds[:, None, None, None]
    torch.testing.assert_close(velocity, expected, rtol=1e-6, atol=0, equal_nan=True)


def test_no_velocity_where_no_time_passed():
    points = torch.rand(1, 3, 4, 3)
    assert scene_flow(points, points + 1, seconds=torch.zeros(1)).isnan().all()
    assert scene_flow(points, points, seconds=torch.zeros(1)).isnan().all()


def test_camera_depth_undoes_unprojection():
    random = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(random.standard_normal((2, 3, 3)))
    pose = torch.eye(4).repeat(2, 1, 1)
    pose[:, :3, :3], pose[:, :3, 3] = torch.from_numpy(rotation), torch.from_numpy(random.uniform(-2, 2, (2, 3)))
    depth = torch.from_numpy(random.uniform(0.1, 9, (2, 13, 17)).astype(np.float32))
    intrinsics = torch.tensor([[90, 0, 8], [0, 80, 6], [0, 0, 1.0]]).repeat(2, 1, 1)
    points = unproject_depth(depth, intrinsics, pose)
    torch.testing.assert_close(camera_depth(points, pose), depth, rtol=1e-5, atol=1e-5)


def test_no_depth_without_a_point():
    points = torch.ones(1, 2, 2, 3)
    points[0, 0, 0, 0], points[0, 1, 1, 2] = torch.nan, torch.inf
    depth = camera_depth(points, torch.eye(4)[None])
    assert depth.isnan().tolist() == [[[True, False], [False, True]]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: scene_flow(p, p[:, :1].contiguous()), r"moved must be \[S H W 3\] \(H = 2 from points\)"),
        (lambda p: scene_flow(p, p, seconds=torch.ones(2)), r"seconds must be \[S\] \(S = 1 from points\), not \[2\]"),
        (lambda p: scene_flow(p, p.double()), "moved must be torch.float32, not torch.float64"),
        (lambda p: camera_depth(p, torch.full((1, 4, 4), torch.nan)), "world_from_camera must be finite"),
        (lambda p: unproject_depth(p[..., 0].contiguous(), torch.full((1, 3, 3), torch.nan), torch.eye(4)[None]),
         "intrinsics must be finite"),
    ],
)  # fmt: skip
def test_says_what_is_wrong(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(torch.ones(1, 2, 2, 3))
