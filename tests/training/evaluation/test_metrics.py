# SPDX-License-Identifier: Apache-2.0
"""What the metrics say of perfect and of impossible input."""

import numpy as np
import pytest
import torch

from dpm_core.errors import DpmError
from training.evaluation.depth import ALIGNMENTS, DepthProtocol, depth_metrics
from training.evaluation.flow import flow_metrics
from training.evaluation.tracks import SCALINGS, Tracks, track_metrics
from training.evaluation.trajectory import trajectory_metrics


@pytest.fixture
def depth():
    return 1 + 9 * torch.rand(2, 12, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path():
    random = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (10, 1, 1))
    poses[:, :3, 3] = random.standard_normal((10, 3)).cumsum(0)
    return np.arange(10.0), poses


@pytest.mark.parametrize("align", [name for name in ALIGNMENTS if name not in ("none", "least_absolute_adam")])
def test_depth_of_another_scale_is_perfect_after_alignment(depth, align):
    found = depth_metrics(3 * depth, depth, DepthProtocol(align))
    assert found.abs_rel < 1e-4
    assert found.delta_1 == 1
    assert found.valid_pixels == depth.numel()


@pytest.mark.parametrize("align", ["least_squares", "least_absolute"])
def test_depth_of_another_scale_and_shift_is_perfect_after_alignment_by_both(depth, align):
    assert depth_metrics(0.5 * depth + 2, depth, DepthProtocol(align)).abs_rel < 1e-3


def test_no_alignment_is_no_alignment(depth):
    assert depth_metrics(2 * depth, depth, DepthProtocol("none")).abs_rel == pytest.approx(1)


def test_unknown_and_far_depth_does_not_count(depth):
    truth = depth.clone()
    truth[0] = 0
    truth[1, 0] = 500
    assert depth_metrics(depth, truth).valid_pixels == 11 * 16


def test_a_path_of_another_frame_and_scale_is_perfect(path):
    seconds, truth = path
    moved = truth.copy()
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved[:, :3, :3] = turn @ truth[:, :3, :3]
    moved[:, :3, 3] = 2 * truth[:, :3, 3] @ turn.T + 5
    found = trajectory_metrics(seconds + 0.004, moved, seconds, truth)
    assert max(found.ate, found.rpe_translation, found.rpe_rotation) < 1e-6


def test_flow_outliers_must_be_wrong_in_pixels_and_in_share():
    truth = torch.zeros(1, 2, 1, 3)
    truth[0, 0, 0] = torch.tensor([10.0, 200.0, 10.0])
    wrong = truth + torch.tensor([4.0, 4.0, 2.0])
    found = flow_metrics(wrong, truth, torch.ones(1, 1, 3, dtype=torch.bool))
    assert found.outliers == pytest.approx(100 / 3)
    assert found.epe == pytest.approx(2**0.5 * (4 + 4 + 2) / 3)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_perfect_tracks_are_perfect(scaling):
    points = np.random.default_rng(0).uniform(1, 3, (20, 8, 3))
    tracks = Tracks(points, np.ones((20, 8), bool))
    found = track_metrics(tracks, tracks, scaling, query_times=np.zeros(20))
    assert (found.points_within, found.jaccard, found.occlusion_accuracy) == (1, 1, 1)


def test_bad_input_is_named(depth, path):
    seconds, poses = path
    tracks = Tracks(np.ones((3, 4, 3)), np.ones((3, 4), bool))
    with pytest.raises(DpmError, match="alignment 'best' is not known"):
        depth_metrics(depth, depth, DepthProtocol("best"))
    with pytest.raises(DpmError, match="no pixel"):
        depth_metrics(depth, 0 * depth)
    with pytest.raises(DpmError, match="make them equal"):
        depth_metrics(depth[:1], depth)
    with pytest.raises(DpmError, match="no stamps"):
        trajectory_metrics(seconds + 100, poses, seconds, poses)
    with pytest.raises(DpmError, match="cannot be aligned"):
        trajectory_metrics(seconds, np.tile(np.eye(4), (10, 1, 1)), seconds, poses)
    with pytest.raises(DpmError, match="image 0 has no pixel"):
        flow_metrics(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool))
    with pytest.raises(DpmError, match="needs the tracks' query times"):
        track_metrics(tracks, tracks, "per_trajectory")
    with pytest.raises(DpmError, match="scaling 'best'"):
        track_metrics(tracks, tracks, "best")
