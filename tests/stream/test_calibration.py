# SPDX-License-Identifier: Apache-2.0
"""A network that takes a wrong focal length, and the calibrated camera that puts it right."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from oracle import OracleEngine, frame

from dpm_core.geometry.undistort import seen_through
from dpm_core.stream import Session, SessionConfig
from dpm_core.stream.calibration import straightened, with_intrinsics
from dpm_core.types import Lens

K = oracle.INTRINSICS
MISTAKEN = np.array([[40.0, 0, 15.0], [0, 36.0, 12.5], [0, 0, 1]])


class Mistaken(OracleEngine):
    """Sees every point of its reference camera on the ray of another camera matrix, its other cameras anyhow."""

    def predict(self, *args):
        truth = super().predict(*args)
        seen_from_true = torch.from_numpy(np.linalg.inv(MISTAKEN) @ K).float()
        poses = truth.world_from_camera.clone()
        poses[1:, :3, 3] += 0.02
        return replace(
            truth,
            own_points=truth.own_points @ seen_from_true.T,
            points=truth.points @ seen_from_true.T,
            intrinsics=torch.from_numpy(MISTAKEN).float().expand_as(truth.intrinsics),
            world_from_camera=poses,
        )


def map_from_camera(index):
    return np.linalg.inv(oracle.world_from_camera(0)) @ oracle.world_from_camera(index)


@pytest.mark.parametrize("engine", [OracleEngine, Mistaken])
def test_a_calibrated_camera_gives_the_true_world_whatever_focal_the_network_took(engine):
    session = Session(engine(), SessionConfig(window=4, voxel=1e-5))
    for index in range(8):
        estimate = session.process(frame(index, intrinsics=K))
        np.testing.assert_allclose(estimate.intrinsics, K, atol=1e-6)
        np.testing.assert_allclose(estimate.world_from_camera, map_from_camera(index), atol=2e-3)
        np.testing.assert_allclose(estimate.depth, oracle.depth(index), rtol=2e-3)
    np.testing.assert_array_equal(estimate.dynamic, oracle.MOVING)
    world_from_map = oracle.world_from_camera(0)
    points = estimate.cloud.points @ world_from_map[:3, :3].T + world_from_map[:3, 3]
    expected = np.concatenate([oracle.points_at(view, 7).reshape(-1, 3) for view in range(4, 8)])
    np.testing.assert_allclose(points, expected, atol=0.02)


def test_without_calibration_the_mistake_stays():
    estimate = Session(Mistaken()).process(frame(0))
    np.testing.assert_allclose(estimate.intrinsics, MISTAKEN, atol=1e-6)


def test_maps_poses_and_intrinsics_agree_in_every_view():
    engine = Mistaken()
    tokens = [engine.encode(torch.full((3, 4, 4), index / 255)) for index in range(4)]
    prediction = with_intrinsics(engine.predict(tokens, (oracle.HEIGHT, oracle.WIDTH), [3]), K)
    v, u = np.mgrid[: oracle.HEIGHT, : oracle.WIDTH]
    for points, pose in zip(prediction.own_points, prediction.world_from_camera.double(), strict=True):
        camera = (points.double() - pose[:3, 3]) @ pose[:3, :3]
        pixels = camera.numpy() @ K.T
        np.testing.assert_allclose(pixels[..., 0] / pixels[..., 2], u, atol=0.02)
        np.testing.assert_allclose(pixels[..., 1] / pixels[..., 2], v, atol=0.02)


def test_another_calibration_starts_the_window_anew_and_the_same_one_does_not():
    engine = OracleEngine()
    session = Session(engine)
    session.process(frame(0, intrinsics=K))
    session.process(frame(1, intrinsics=K.copy()))
    assert engine.windows[-1] == [0, 1]
    session.process(frame(2, intrinsics=K * [[1.1], [1.1], [1]]))
    assert engine.windows[-1] == [2]
    lens = Lens("plumb_bob", (0.0,) * 5, tuple(K.ravel()))
    session.process(frame(3, intrinsics=K * [[1.1], [1.1], [1]], lens=lens))
    assert engine.windows[-1] == [3]
    session.process(frame(4))
    assert engine.windows[-1] == [4]


def test_where_the_camera_saw_nothing_nothing_is_known():
    """A pincushion lens leaves corners of the straight image black."""
    lens = Lens("plumb_bob", (0.5, 0, 0, 0, 0), tuple(K.ravel()))
    wide = K * [[0.8], [0.8], [1]]
    wide[:2, 2] = K[:2, 2]
    estimate = Session(OracleEngine(), SessionConfig(voxel=1e-5)).process(frame(0, intrinsics=wide, lens=lens))
    seen = seen_through(lens, wide, (oracle.HEIGHT, oracle.WIDTH))
    assert 0.3 < seen.mean() < 0.95
    np.testing.assert_array_equal(np.isfinite(estimate.depth), seen)
    assert (estimate.conf[~seen] == 0).all()
    assert len(estimate.cloud.points) == seen.sum()
    assert np.isfinite(estimate.world_from_camera).all()


def test_the_image_and_its_depth_are_made_straight_before_the_network_sees_them():
    bent = Lens("plumb_bob", (-0.3, 0.1, 0, 0, 0), tuple(K.ravel()))
    image = np.zeros((oracle.HEIGHT, oracle.WIDTH, 3), np.uint8)
    image[:, ::4] = 250
    depth = np.ones((oracle.HEIGHT, oracle.WIDTH), np.float32)
    straight = straightened(frame(0, image=image, intrinsics=K, lens=bent, depth=depth))
    assert straight.lens is None
    assert (straight.image != image).any()
    assert straight.depth.shape == depth.shape
    unbent = straightened(frame(0, image=image, intrinsics=K, lens=replace(bent, coefficients=(0.0,) * 5)))
    np.testing.assert_array_equal(unbent.image, image)
