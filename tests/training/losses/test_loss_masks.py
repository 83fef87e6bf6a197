# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from dpm_core.errors import DpmError
from training.losses import (
    camera_flow,
    dynamic_mask,
    occlusion_mask,
    pair_truth,
    pomato_temporal_truth,
    pomato_truth,
    sample_nearest,
)
from training.records import Window


def bilinear(image, u, v):
    height, width = image.shape[:2]
    u, v = np.clip(u, 0, width - 1), np.clip(v, 0, height - 1)
    x, y = min(int(u), width - 2), min(int(v), height - 2)
    du, dv = u - x, v - y
    top = (1 - du) * image[y, x] + du * image[y, x + 1]
    bottom = (1 - du) * image[y + 1, x] + du * image[y + 1, x + 1]
    return (1 - dv) * top + dv * bottom


def test_occlusion_equals_eq_4():
    random = np.random.default_rng(0)
    forward, backward = random.uniform(-2, 2, (2, 6, 8, 2)), random.uniform(-2, 2, (2, 6, 8, 2))
    expected = np.zeros((2, 6, 8), bool)
    for b, v, u in np.ndindex(2, 6, 8):
        there = np.array([u, v]) + forward[b, v, u]
        home = there + bilinear(backward[b], *there)
        outside = not (0 <= there[0] <= 7 and 0 <= there[1] <= 5)
        expected[b, v, u] = outside or np.linalg.norm(home - [u, v]) > 1.5
    found = occlusion_mask(torch.from_numpy(forward), torch.from_numpy(backward), 1.5).numpy()
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.mean() < 1


def two_views(seed=0, height=5, width=7):
    random = np.random.default_rng(seed)
    K = np.tile(np.array([[6.0, 0, 3], [0, 5, 2], [0, 0, 1]]), (1, 2, 1, 1))
    pose = np.tile(np.eye(4), (1, 2, 1, 1))
    pose[0, :, :3, 3] = random.uniform(-0.3, 0.3, (2, 3))
    angle = 0.1
    pose[0, 1, :3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    return random.uniform(1, 3, (1, 2, height, width)), K, pose


def test_camera_flow_equals_eq_5():
    depth, K, pose = two_views()
    depth[0, 0, 1, 2] = 0
    found = camera_flow(*map(torch.from_numpy, (depth[:, 0], K, pose)))[0].numpy()
    relative = np.linalg.inv(pose[0, 1]) @ pose[0, 0]
    for v, u in np.ndindex(*depth.shape[2:]):
        p = np.array([u, v, 1.0])
        moved = K[0, 1] @ (relative[:3, :3] @ (depth[0, 0, v, u] * np.linalg.inv(K[0, 0]) @ p) + relative[:3, 3])
        expected = moved[:2] / moved[2] - p[:2] if depth[0, 0, v, u] > 0 else [np.nan, np.nan]
        np.testing.assert_allclose(found[v, u], expected, atol=1e-12)


def test_dynamic_pixels_are_those_that_the_camera_does_not_explain():
    """The complement of eq. 5 as printed."""
    flow = torch.tensor([[[[1.0, 0.0], [5.0, 0.0], [5.0, 0.0]]]])
    from_camera = torch.tensor([[[[1.0, 0.5], [1.0, 0.0], [torch.nan, 0.0]]]])
    assert dynamic_mask(flow, from_camera, 1.0).tolist() == [[[False, True, False]]]


def test_samples_what_the_flow_points_at():
    maps = torch.arange(12.0).view(1, 3, 4, 1)
    valid = torch.ones(1, 3, 4, dtype=torch.bool)
    valid[0, 1, 1] = False
    flow = torch.zeros(1, 3, 4, 2)
    flow[0, 0, 0] = torch.tensor([1.4, 1.6])  # to (1, 2)
    flow[0, 0, 1] = torch.tensor([0.0, 1.0])  # to the invalid pixel
    flow[0, 0, 2] = torch.tensor([9.0, 0.0])  # outside
    flow[0, 0, 3] = torch.tensor([torch.nan, 0.0])
    found, known = sample_nearest(maps, valid, flow)
    assert found[0, 0, :, 0].tolist() == [9, 0, 0, 0]
    assert known[0, 0].tolist() == [True, False, False, False]


def window(frames=2, times=(0, 1)):
    """A wall whose lower half moves right by 0.2 a frame before cameras that are not the world."""
    height, width = 4, 6
    K = torch.tensor([[4.0, 0, 2.5], [0, 4, 1.5], [0, 0, 1]]).expand(1, frames, 3, 3)
    pose = torch.eye(4).repeat(1, frames, 1, 1)
    pose[0, :, 0, 3] = 0.1 * torch.arange(frames) + 0.3
    depth = torch.full((1, frames, height, width), 2.0)
    blank = torch.zeros(1, len(times), frames, height, width, 3)
    dynamic = torch.zeros(1, frames, height, width, dtype=torch.bool)
    dynamic[:, :, 2:] = True
    valid = torch.ones(blank.shape[:-1], dtype=torch.bool)
    whole = Window(torch.zeros(1, frames, 3, height, width), K, pose, depth, blank, valid, times, dynamic=dynamic)
    own, _ = whole.own_points()
    points = torch.stack([own.clone() for _ in times], 1)
    for index, time in enumerate(times):
        for view in range(frames):
            points[:, index, view, 2:, :, 0] += 0.2 * (time - view)
    visible = valid.clone()
    visible[..., 3, :] = False
    return Window(whole.images, K, pose, depth, points, valid, times, dynamic=dynamic, visible=visible)


@pytest.mark.parametrize("first", [0, 1])
def test_pair_truth_is_in_the_first_camera_at_its_time(first):
    truth = pair_truth(window(), first)
    second = 1 - first
    assert truth.points_1[0, :, :, 2].eq(2).all()
    offset = 0.1 * (second - first)
    torch.testing.assert_close(truth.points_2 - truth.points_1, torch.tensor([offset, 0, 0]).expand_as(truth.points_1))
    torch.testing.assert_close(truth.aligned_2[:, :2], truth.points_2[:, :2])
    motion = torch.tensor([0.2 * (first - second), 0, 0])
    torch.testing.assert_close(
        truth.aligned_2[:, 2:] - truth.points_2[:, 2:], motion.expand_as(truth.points_2[:, 2:]), atol=1e-6, rtol=0
    )


def test_moving_pixels_without_a_correspondence_are_not_supervised():
    truth = pair_truth(window(), 0)
    assert truth.valid_2[0, :3].all()
    assert not truth.valid_2[0, 3].any()


def test_matching_is_the_second_view_at_the_first_time():
    assert torch.equal(pomato_truth(window(), 0).matching, pair_truth(window(), 0).aligned_2)


def test_temporal_truth_tracks_the_keyframe_in_each_camera():
    clip = window(3, (0, 1, 2))
    truth = pomato_temporal_truth(clip, 2, 0)
    assert truth.depth_points[..., 2].eq(2).all()
    nearer = truth.recon_points[0, :, 0, 2, 0] - truth.depth_points[0, :, 0, 2, 0]
    torch.testing.assert_close(nearer, torch.tensor([-0.2, -0.1, 0]), atol=1e-6, rtol=0)
    moved = truth.tracking[0, :, 3, 2, 0] - truth.depth_points[0, 0, 3, 2, 0]
    torch.testing.assert_close(moved, torch.tensor([0, 0.1, 0.2]), atol=1e-6, rtol=0)  # 0.2 a frame, camera 0.1


def test_says_what_windows_it_needs():
    with pytest.raises(DpmError, match="needs 2 frames and both times, not 3 at times"):
        pair_truth(window(3, (0, 1, 2)), 0)
    with pytest.raises(DpmError, match="needs all 3 times of a clip"):
        pomato_temporal_truth(window(3, (0, 2)), 2, 0)
