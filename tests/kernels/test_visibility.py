# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.kernels import project_zbuffer, seen_through

INTRINSICS = torch.tensor([[20, 0, 9.5], [0, 22, 6.5], [0, 0, 1.0]], dtype=torch.float64)
SIZE = (13, 19)


def camera(seed):
    random = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(random.standard_normal((3, 3)))
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3], pose[:3, 3] = torch.from_numpy(rotation), torch.from_numpy(random.normal(0, 1, 3))
    return pose


def cloud(seed, size):
    random = np.random.default_rng(seed)
    points = random.normal(0, 3, (size, 3)).astype(np.float32)
    points[random.random(size) < 0.05, 1] = np.nan
    return points


def project(points, pose):
    """Pixel coordinates and depth, in float64."""
    inverse = np.linalg.inv(pose.numpy())
    local = points.astype(np.float64) @ inverse[:3, :3].T + inverse[:3, 3]
    with np.errstate(invalid="ignore", divide="ignore"):
        pixels = local[:, :2] / local[:, 2:] * [20, 22] + [9.5, 6.5]
    return pixels, local[:, 2]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 400))
def test_the_nearest_point_of_each_pixel_is_seen(seed, size):
    points, pose = cloud(seed, size), camera(seed + 1)
    pixels, z = project(points, pose)
    certain = np.abs(pixels + 0.5 - np.round(pixels + 0.5)).min(-1) > 1e-3  # not at the edge of a pixel
    points, pixels, z = points[certain], pixels[certain], z[certain]
    expected, index = np.full(SIZE, np.nan), np.full(SIZE, -1)
    for i in np.argsort(-z):
        u, v = np.round(np.nan_to_num(pixels[i], nan=-1e9, posinf=1e9, neginf=-1e9))
        if z[i] > 0 and 0 <= u < SIZE[1] and 0 <= v < SIZE[0]:
            expected[int(v), int(u)], index[int(v), int(u)] = z[i], i
    buffer = project_zbuffer(torch.from_numpy(points), pose, INTRINSICS, size=SIZE)
    np.testing.assert_allclose(buffer.depth.numpy(), expected, rtol=1e-4, atol=1e-5)
    seen = index >= 0
    np.testing.assert_array_equal(buffer.index.numpy() >= 0, seen)
    np.testing.assert_allclose(z[buffer.index.numpy()[seen]], expected[seen], rtol=1e-4, atol=1e-5)


def test_equally_near_points_give_the_lowest_index():
    points = torch.tensor([[0, 0, 5], [0, 0, 2], [0, 0, 2], [0, 0, 3.0]])
    buffer = project_zbuffer(points, torch.eye(4), torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1.0]]), size=(1, 1))
    assert (buffer.depth.item(), buffer.index.item()) == (2.0, 1)


def test_many_points_are_no_different_in_number_of_threads():
    points, pose, threads = torch.from_numpy(cloud(3, 100_000)), camera(4), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = project_zbuffer(points, pose, INTRINSICS, size=SIZE)
    finally:
        torch.set_num_threads(threads)
    two = project_zbuffer(points, pose, INTRINSICS, size=SIZE)
    assert torch.equal(one.index, two.index)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 300))
def test_points_before_the_measured_surface_are_seen_through(seed, size):
    points, pose = cloud(seed, size), camera(seed + 1)
    pixels, z = project(points, pose)
    depth = np.random.default_rng(seed).uniform(0.5, 6, SIZE).astype(np.float32)
    depth[0, :] = np.nan
    u, v = np.round(np.nan_to_num(pixels, nan=-1e9, posinf=1e9, neginf=-1e9)).T
    inside = (z > 0) & (u >= 0) & (u < SIZE[1]) & (v >= 0) & (v < SIZE[0])
    behind = np.full(size, np.nan)
    behind[inside] = depth[v[inside].astype(int), u[inside].astype(int)] - (1.1 * z[inside] + 0.2)
    with np.errstate(invalid="ignore"):
        certain = ~inside | ((np.abs(pixels + 0.5 - np.round(pixels + 0.5)).min(-1) > 1e-3) & ~(np.abs(behind) < 1e-4))
    mask = seen_through(torch.from_numpy(points), torch.from_numpy(depth), pose, INTRINSICS, margin=0.2, relative=0.1)
    np.testing.assert_array_equal(mask.numpy()[certain], (behind > 0)[certain])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(points=torch.zeros(4, 2)), r"points must be \[N 3\], not \[4, 2\]"),
        (dict(world_from_camera=torch.eye(3)), r"world_from_camera must be \[4, 4\], not \[3, 3\]"),
        (dict(intrinsics=torch.full((3, 3), torch.nan)), "intrinsics must be finite"),
        (dict(intrinsics=torch.zeros(3, 3)), "intrinsics must have focal lengths other than zero"),
        (dict(intrinsics=torch.ones(3, 3).int()), "intrinsics must be torch.float32 or torch.float64, not torch.int32"),
        (dict(intrinsics=np.eye(3)), "intrinsics must be a torch.Tensor, not ndarray"),
        (dict(size=(0, 4)), r"size must be \(height, width\), both > 0, not \(0, 4\)"),
    ],
)
def test_says_what_is_wrong(change, message):
    good = dict(points=torch.zeros(4, 3), world_from_camera=torch.eye(4), intrinsics=torch.eye(3), size=(3, 4))
    with pytest.raises((TypeError, ValueError), match=message):
        project_zbuffer(**(good | change))
