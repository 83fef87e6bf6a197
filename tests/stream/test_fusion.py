# SPDX-License-Identifier: Apache-2.0
"""Velocity and mask of point maps at two times, and what the fused cloud makes of them."""

import numpy as np
import torch

from dpm_core.geometry.sim3 import Sim3
from dpm_core.stream import SessionConfig
from dpm_core.stream.fusion import fused_cloud
from dpm_core.stream.motion import motion_between
from dpm_core.types import Prediction

STEP = torch.tensor([0.5, 0.0, 0.0])


def wall():
    """[2, 4, 6, 3]: two views of a wall, a unit between neighbours."""
    v, u = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    return torch.stack([u, v, torch.full_like(u, 8.0)], -1).expand(2, -1, -1, -1).contiguous()


def test_velocity_is_the_way_over_the_time_and_what_went_far_is_dynamic():
    now = wall()
    now[:, 1, 2] += STEP
    motion = motion_between(now, wall(), seconds=0.25, depth=8.0, config=SessionConfig())
    expected = torch.zeros_like(now)
    expected[:, 1, 2] = STEP / 0.25
    torch.testing.assert_close(motion.velocity, expected)
    assert motion.known
    assert torch.equal(motion.dynamic, expected[..., 0] > 0)


def test_where_a_point_is_missing_nothing_is_known_of_its_motion():
    now, past = wall(), wall()
    now[0, 0, 0], past[1, 0, 0] = torch.nan, torch.nan
    motion = motion_between(now, past, seconds=0.25, depth=8.0, config=SessionConfig())
    unknown = motion.velocity.isnan().all(-1)
    assert unknown.nonzero().tolist() == [[0, 0, 0], [1, 0, 0]]
    assert not motion.dynamic.any()


def fused(conf, past, in_map, voxel):
    now = wall()
    motion = motion_between(now, past, seconds=1.0, depth=8.0, config=SessionConfig())
    prediction = Prediction(now, conf, now[None], conf[None], (1,), torch.eye(4).expand(2, 4, 4), torch.eye(3))
    colors = [torch.full((4, 6, 3), 10 * view, dtype=torch.uint8) for view in range(2)]
    return fused_cloud(prediction, colors, motion, in_map, min_confidence=1.5, voxel=voxel)


def test_a_cell_is_the_weighted_mean_of_the_views_and_is_placed_in_the_map():
    in_map = Sim3(2.0, np.eye(3)[[1, 2, 0]], np.array([1.0, -2.0, 3.0]))
    conf = torch.tensor([2.0, 6.0])[:, None, None].expand(2, 4, 6).contiguous()
    cloud = fused(conf, wall() - STEP, in_map, voxel=0.4)
    expected = wall()[0].reshape(-1, 3).numpy() @ (2 * in_map.rotation.T) + in_map.translation
    np.testing.assert_allclose(cloud.points, expected, rtol=1e-6)
    np.testing.assert_allclose(cloud.velocity, np.tile(2 * in_map.rotation @ STEP.numpy(), (24, 1)), rtol=1e-6)
    np.testing.assert_array_equal(cloud.confidence, np.full(24, 4.0))
    np.testing.assert_array_equal(cloud.colors, np.full((24, 3), 8))


def test_what_is_not_trusted_has_no_part_in_the_cloud():
    conf = torch.full((2, 4, 6), 2.0)
    conf[0], conf[1, 0] = 1.4, torch.nan
    cloud = fused(conf, wall(), Sim3.identity(), voxel=0.4)
    np.testing.assert_array_equal(cloud.points, wall()[1, 1:].reshape(-1, 3))
    np.testing.assert_array_equal(cloud.colors, np.full((18, 3), 10))


def test_a_velocity_that_is_not_known_does_not_slow_its_cell():
    past = wall() - STEP
    past[0] = torch.nan
    cloud = fused(torch.full((2, 4, 6), 2.0), past, Sim3.identity(), voxel=0.4)
    np.testing.assert_allclose(cloud.velocity, np.tile(STEP.numpy(), (24, 1)), rtol=1e-6)
