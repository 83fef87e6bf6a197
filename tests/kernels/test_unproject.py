# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.kernels import unproject_depth


def reference(depth, intrinsics, world_from_camera):
    """The formula, literally, in float64."""
    v, u = np.mgrid[0 : depth.shape[1], 0 : depth.shape[2]]
    pixels = np.stack([u, v, np.ones_like(u)], -1).astype(np.float64)
    rays = np.einsum("sij,hwj->shwi", np.linalg.inv(intrinsics.astype(np.float64)), pixels)
    camera = rays * np.where(depth > 0, depth, np.nan)[..., None]
    return np.einsum("sij,shwj->shwi", world_from_camera[:, :3, :3], camera) + world_from_camera[:, None, None, :3, 3]


def scene(seed, frames, height, width):
    random = np.random.default_rng(seed)
    depth = random.uniform(-0.2, 5, (frames, height, width)).astype(np.float32)
    intrinsics = np.tile(np.array([[90, 0, 31.5], [0, 80, 23.5], [0, 0, 1]], np.float32), (frames, 1, 1))
    rotation, _ = np.linalg.qr(random.standard_normal((frames, 3, 3)))
    pose = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = rotation, random.uniform(-2, 2, (frames, 3))
    return depth, intrinsics, pose


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 17), st.integers(1, 19))
def test_equals_the_formula(seed, frames, height, width):
    arrays = scene(seed, frames, height, width)
    points = unproject_depth(*map(torch.from_numpy, arrays))
    np.testing.assert_allclose(points.numpy(), reference(*arrays), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan")])
def test_no_point_without_depth(bad):
    depth, intrinsics, pose = map(torch.from_numpy, scene(0, 1, 4, 5))
    depth[0, 2, 3] = bad
    points = unproject_depth(depth, intrinsics, pose)
    assert points[0, 2, 3].isnan().all()


def test_no_frames_give_no_points():
    arrays = (torch.empty(shape) for shape in ((0, 4, 5), (0, 3, 3), (0, 4, 4)))
    assert unproject_depth(*arrays).shape == (0, 4, 5, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(depth=torch.ones(1, 4, 5, dtype=torch.float64)), "depth must be torch.float32"),
        (dict(intrinsics=torch.ones(2, 3, 3)), r"intrinsics must be \[S 3 3\] \(S = 1 from depth\), not \[2, 3, 3\]"),
        (dict(depth=torch.ones(1, 5, 4).transpose(1, 2)), "depth must be contiguous"),
    ],
)
def test_says_what_is_wrong(change, message):
    good = dict(depth=torch.ones(1, 4, 5), intrinsics=torch.eye(3)[None], world_from_camera=torch.eye(4)[None])
    with pytest.raises((TypeError, ValueError), match=message):
        unproject_depth(**(good | change))
