# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.kernels import flow_dynamic_mask, occlusion_mask


def rotation(random, angle):
    axis = random.standard_normal(3)
    x, y, z = axis / np.linalg.norm(axis) * angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross


def scene(seed, views, height, width):
    random = np.random.default_rng(seed)
    depth = random.uniform(-0.2, 5, (views, height, width))
    intrinsics = np.array([[[90, 0, 9.5], [0, 80, 7.5], [0, 0, 1]]]) * np.ones((views, 1, 1))
    other = np.array([[[70, 0, 8.5], [0, 75, 6.5], [0, 0, 1]]]) * np.ones((views, 1, 1))
    pose = np.tile(np.eye(4), (views, 1, 1))
    for s in range(views):
        pose[s, :3, :3] = rotation(random, 0.3)
        pose[s, :3, 3] = random.normal(0, 0.5, 3)
    return [array.astype(np.float32) for array in (depth, intrinsics, other, pose)]


def camera_flow(depth, intrinsics, other, pose):
    """Equation 5, literally, in float64: a projective point and the flow to it."""
    depth, intrinsics, other, pose = (array.astype(np.float64) for array in (depth, intrinsics, other, pose))
    v, u = np.mgrid[0 : depth.shape[1], 0 : depth.shape[2]]
    p = np.stack([u, v, np.ones_like(u)], -1).astype(np.float64)
    rotated = np.einsum("sij,sjk,skl,hwl->shwi", other, pose[:, :3, :3], np.linalg.inv(intrinsics), p)
    shifted = np.einsum("sij,sj->si", other, pose[:, :3, 3])
    projected = depth[..., None] * rotated + shifted[:, None, None]
    return projected[..., :2] / projected[..., 2:] - p[..., :2], projected[..., 2]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), views=st.integers(1, 3), height=st.integers(1, 17), width=st.integers(1, 19))
def test_dynamic_pixels_are_those_that_leave_the_camera_flow(seed, views, height, width):
    depth, intrinsics, other, pose = scene(seed, views, height, width)
    expected_flow, z = camera_flow(depth, intrinsics, other, pose)
    random = np.random.default_rng(seed)
    difference = random.choice([0.5, 3.0], depth.shape)
    angle = random.uniform(0, 6.28, depth.shape)
    flow = expected_flow + difference[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    near = np.abs(expected_flow).max(-1) < 1e4  # where float32 pixels are exact enough
    mask = flow_dynamic_mask(
        *(torch.from_numpy(array.astype(np.float32)) for array in (flow, depth, intrinsics, pose)),
        other_intrinsics=torch.from_numpy(other),
        threshold=1.5,
    )
    expected = (difference > 1.5) & (depth > 0) & (z > 0)
    np.testing.assert_array_equal(mask.numpy()[near], expected[near])


def test_a_static_camera_has_no_flow():
    flow = torch.zeros(1, 5, 6, 2)
    flow[0, 2, 3] = torch.tensor([2.0, 0])
    intrinsics = torch.tensor([[[50, 0, 3], [0, 50, 2], [0, 0, 1.0]]])
    mask = flow_dynamic_mask(flow, torch.ones(1, 5, 6), intrinsics, torch.eye(4)[None], threshold=1.0)
    assert mask.nonzero().tolist() == [[0, 2, 3]]


def test_unknown_flow_or_depth_is_not_called_dynamic():
    flow, depth = torch.full((1, 1, 3, 2), 9.0), torch.ones(1, 1, 3)
    flow[0, 0, 0, 1], depth[0, 0, 1] = torch.nan, torch.nan
    mask = flow_dynamic_mask(flow, depth, torch.eye(3)[None], torch.eye(4)[None], threshold=1.0)
    assert mask.tolist() == [[[False, False, True]]]


def bilinear(image, x, y):
    height, width = image.shape[:2]
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    wx, wy = x - x0, y - y0
    upper = image[y0, x0] * (1 - wx) + image[y0, x1] * wx
    lower = image[y1, x0] * (1 - wx) + image[y1, x1] * wx
    return upper * (1 - wy) + lower * wy


def occlusion_reference(forward, backward, threshold):
    mask = np.ones(forward.shape[:3], bool)
    for s, v, u in np.ndindex(mask.shape):
        x, y = np.float32(u) + forward[s, v, u, 0], np.float32(v) + forward[s, v, u, 1]
        if 0 <= x <= mask.shape[2] - 1 and 0 <= y <= mask.shape[1] - 1:
            error = np.linalg.norm(forward[s, v, u] + bilinear(backward[s].astype(np.float64), x, y))
            if abs(error - threshold) < 1e-4:
                return None  # too near to call in float32
            mask[s, v, u] = not error <= threshold
    return mask


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), views=st.integers(1, 2), height=st.integers(1, 9), width=st.integers(1, 11))
def test_occluded_pixels_do_not_come_back(seed, views, height, width):
    random = np.random.default_rng(seed)
    forward = random.normal(0, 2, (views, height, width, 2)).astype(np.float32)
    backward = random.normal(0, 2, (views, height, width, 2)).astype(np.float32)
    forward[random.random(forward.shape[:3]) < 0.1] = np.nan
    expected = occlusion_reference(forward, backward, 2.0)
    mask = occlusion_mask(torch.from_numpy(forward), torch.from_numpy(backward), threshold=2.0)
    if expected is not None:
        np.testing.assert_array_equal(mask.numpy(), expected)


def test_opposite_flows_are_consistent_up_to_the_border():
    forward = torch.tensor([2.0, 1.0]).expand(1, 6, 8, 2).contiguous()
    mask = occlusion_mask(forward, -forward)
    expected = torch.ones(1, 6, 8, dtype=torch.bool)
    expected[0, :5, :6] = False
    assert torch.equal(mask, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(threshold=-1.0), "threshold must be finite and >= 0, not -1.0"),
        (dict(intrinsics=torch.full((1, 3, 3), torch.nan)), "intrinsics must be finite"),
        (dict(depth=torch.ones(1, 4, 6)), r"depth must be \[S H W\] \(W = 5 from flow\), not \[1, 4, 6\]"),
        (dict(flow=torch.zeros(1, 4, 5, 3)), r"flow must be \[S H W 2\], not \[1, 4, 5, 3\]"),
    ],
)
def test_says_what_is_wrong(change, message):
    good = dict(
        flow=torch.zeros(1, 4, 5, 2),
        depth=torch.ones(1, 4, 5),
        intrinsics=torch.eye(3)[None],
        other_from_camera=torch.eye(4)[None],
        threshold=1.0,
    )
    with pytest.raises((TypeError, ValueError), match=message):
        flow_dynamic_mask(**(good | change))


def test_flows_must_be_of_one_size():
    with pytest.raises(ValueError, match=r"backward must be \[S H W 2\] \(W = 5 from forward\), not \[1, 4, 6, 2\]"):
        occlusion_mask(torch.zeros(1, 4, 5, 2), torch.zeros(1, 4, 6, 2))
