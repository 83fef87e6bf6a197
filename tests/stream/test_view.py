# SPDX-License-Identifier: Apache-2.0
"""The newest frame in the map: points project to the pixels that see them."""

import numpy as np
import oracle
import pytest
import torch
from ball import BallWorld, passing

from dpm_core.geometry.sim3 import Sim3
from dpm_core.stream.view import newest_view

INDEX = 20
IN_MAP = Sim3(2.5, np.eye(3)[[1, 2, 0]], np.array([1.0, -2.0, 3.0]))


@pytest.fixture
def view():
    """The last frame of a window, in a map of another scale and other axes."""
    world = BallWorld(passing)
    window = [torch.full((1, 1), float(index)) for index in (INDEX - 1, INDEX)]
    prediction = oracle.OracleEngine(world).predict(window, (oracle.HEIGHT, oracle.WIDTH), [1])
    points, pose = prediction.own_points[-1], prediction.world_from_camera[-1]
    depth = ((points - pose[:3, 3]) @ pose[:3, :3])[..., 2]
    depth[0, 0] = torch.nan
    prediction.own_conf[-1, 0, 1] = 1.0
    moving = torch.from_numpy(world.moving(INDEX))
    colors = torch.zeros(oracle.HEIGHT, oracle.WIDTH, 3, dtype=torch.uint8)
    return newest_view(7, prediction, depth, moving, colors, IN_MAP, min_confidence=1.5)


def test_a_point_falls_on_the_pixel_that_sees_it(view):
    pixel, depth = view.project(view.points.reshape(-1, 3))
    assert torch.equal(pixel, torch.arange(oracle.HEIGHT * oracle.WIDTH))
    torch.testing.assert_close(depth[1:], view.depth.flatten()[1:], rtol=1e-4, atol=1e-4)


def test_what_is_behind_or_beside_falls_on_none(view):
    centre = torch.from_numpy(view.world_from_camera[:3, 3]).float()
    forward, right = (torch.from_numpy(view.world_from_camera[:3, axis]).float() for axis in (2, 0))
    outside = torch.stack([centre - forward, centre + forward + 5 * right, centre + 0.01 * forward - right])
    assert view.project(outside)[0].tolist() == [-1, -1, -1]


def test_only_what_has_depth_and_confidence_is_trusted(view):
    assert not view.trusted[0, :2].any()
    assert view.trusted.sum() == view.trusted.numel() - 2


def test_it_is_in_the_unit_of_the_map(view):
    distance = (view.points - torch.from_numpy(view.world_from_camera[:3, 3]).float()).norm(dim=-1)
    assert float(distance[12, 16]) == pytest.approx(float(view.depth[12, 16]), rel=0.01)
