# SPDX-License-Identifier: Apache-2.0
"""Twists that are the camera's, and covariances that are as large as the errors."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from oracle import OracleEngine, frame

from dpm_core.geometry.sim3 import Sim3
from dpm_core.stream import Session, SessionConfig
from dpm_core.stream.odometry import CameraOdometry

SECOND = 1_000_000_000
IDENTITY = Sim3.identity()


def shaky(generator, pose, metres, radians):
    """A pose with an error of these standard deviations along and about every axis."""
    turn = generator.normal(0, radians, 3)
    cross = np.array([[0, -turn[2], turn[1]], [turn[2], 0, -turn[0]], [-turn[1], turn[0], 0]])
    U, _, Vt = np.linalg.svd(np.eye(3) + cross)
    wrong = pose.copy()
    wrong[:3, :3] = U @ Vt @ pose[:3, :3]
    wrong[:3, 3] += generator.normal(0, metres, 3)
    return wrong


def test_the_twist_is_the_camera_s_along_its_own_axes():
    session = Session(OracleEngine(), SessionConfig(window=4))
    for index in range(6):
        odometry = session.process(frame(index)).odometry
    now, before = oracle.world_from_camera(5), oracle.world_from_camera(4)
    linear = now[:3, :3].T @ (now[:3, 3] - before[:3, 3]) / 0.1
    np.testing.assert_allclose(odometry.linear, linear, atol=1e-3)
    np.testing.assert_allclose(odometry.angular, [0, 0.5, 0], atol=1e-3)  # 0.05 rad a frame about y


def test_one_frame_alone_has_no_odometry():
    session = Session(OracleEngine())
    assert session.process(frame(0)).odometry is None
    assert session.process(frame(1)).odometry is not None


def test_windows_that_agree_leave_no_doubt():
    session = Session(OracleEngine(), SessionConfig(window=4))
    for index in range(10):
        odometry = session.process(frame(index)).odometry
    assert np.abs(odometry.pose_covariance).max() < 1e-6
    assert np.abs(odometry.twist_covariance).max() < 1e-4


def test_errors_of_a_random_walk_are_as_large_as_the_covariance_says():
    """Windows that each lie a little beside the one before: pose errors add up, and so do their covariances."""
    generator = np.random.default_rng(1)
    metres, radians, frames, walks = 0.01, 0.002, 40, 60
    squared, told = [], []
    for _ in range(walks):
        odometry, drift = CameraOdometry(), np.eye(4)
        for index in range(frames):
            stamps = list(range(max(0, index - 3), index + 1))
            drift = shaky(generator, drift, metres, radians)
            poses = np.stack([drift @ np.eye(4) for _ in stamps])
            answer = odometry.add([stamp * SECOND for stamp in stamps], poses, True, IDENTITY, 0.0)
        first = 1  # the first window is the map
        squared.append(drift[:3, 3] ** 2)
        told.append(np.diag(answer.pose_covariance)[:3])
    ratio = np.mean(squared) / np.mean(told)
    assert ratio == pytest.approx(frames / (frames - first), rel=0.4)


def test_the_twist_is_as_wrong_as_its_covariance_says():
    generator = np.random.default_rng(2)
    odometry, errors = CameraOdometry(), []
    for index in range(300):
        stamps = list(range(max(0, index - 3), index + 1))
        poses = np.stack([shaky(generator, np.eye(4), 0.01, 0.002) for _ in stamps])
        answer = odometry.add([stamp * SECOND // 10 for stamp in stamps], poses, True, IDENTITY, 0.0)
        if index > 100:
            errors.append(np.concatenate([answer.linear, answer.angular]))
    told = np.diag(answer.twist_covariance)
    ratio = np.mean(np.square(errors), axis=0) / told
    assert (ratio > 0.3).all()
    assert (ratio < 1.2).all(), "the truth is never worse than told"


def test_lengths_are_in_the_unit_of_the_map():
    generator = np.random.default_rng(3)
    poses = [np.stack([shaky(generator, np.eye(4), 0.01, 0.002) for _ in range(3)]) for _ in range(5)]

    def run(scale):
        odometry = CameraOdometry()
        for index, window in enumerate(poses):
            answer = odometry.add(range(index, index + 3), window, True, Sim3(scale, np.eye(3), np.ones(3)), 0.0)
        return answer

    one, ten = run(1.0), run(10.0)
    units = np.diag([10, 10, 10, 1, 1, 1])
    np.testing.assert_allclose(ten.pose_covariance, units @ one.pose_covariance @ units)
    np.testing.assert_allclose(ten.twist_covariance, units @ one.twist_covariance @ units)
    np.testing.assert_allclose(ten.linear, 10 * one.linear)
    np.testing.assert_allclose(ten.angular, one.angular)


def test_an_uncertain_scale_is_uncertainty_along_the_way():
    session = Session(OracleEngine(), SessionConfig(window=4))
    for index in range(12):
        wrong = np.exp(0.1 * (-1) ** index)
        estimate = session.process(frame(index, depth=(wrong * oracle.depth(index)).astype(np.float32)))
    sigma, place = estimate.scale.relative_sigma, estimate.world_from_camera[:3, 3]
    assert sigma > 0.02
    np.testing.assert_allclose(
        estimate.odometry.pose_covariance[:3, :3],
        sigma**2 * np.outer(place, place),
        atol=0.2 * sigma**2 * place @ place,
    )


def test_after_a_gap_the_pose_is_anywhere():
    session = Session(OracleEngine(), SessionConfig(window=4))
    for index in (0, 1, 2, 50, 51):
        odometry = session.process(frame(index)).odometry
    assert np.diag(odometry.pose_covariance)[:3].min() > 1e5
    assert np.diag(odometry.twist_covariance).max() < 1e-3, "but how it moves is known"


def test_covariances_are_symmetric_and_not_negative():
    class Shaky(OracleEngine):
        def predict(self, *args):
            answer = super().predict(*args)
            noise = 0.01 * torch.randn(answer.own_points.shape, generator=torch.Generator().manual_seed(7))
            return replace(answer, own_points=answer.own_points + noise)

    session = Session(Shaky(), SessionConfig(window=4))
    for index in range(12):
        odometry = session.process(frame(index)).odometry
    for covariance in (odometry.pose_covariance, odometry.twist_covariance):
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-15)
        assert np.linalg.eigvalsh(covariance).min() > -1e-15
