# SPDX-License-Identifier: Apache-2.0
"""The two-view protocol: what is right scores nothing, what is wrong scores what it should."""

import math

import pytest
import torch

from dpm_core.geometry.cameras import unproject
from training.evaluation.baselines import BASELINES, best_plane, constant_depth, still_world, tilted_plane, zero_motion
from training.evaluation.protocols import (
    MAP_INDEX,
    MAPS,
    MaskCount,
    TwoViewAnswer,
    TwoViewTruth,
    angle_between,
    judge,
    rotation_angle,
)

K = torch.tensor([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]]).double()
H, W = 24, 32


def turned(degrees: float) -> torch.Tensor:
    angle = math.radians(degrees)
    pose = torch.eye(4).double()
    pose[0, 0] = pose[2, 2] = math.cos(angle)
    pose[0, 2], pose[2, 0] = math.sin(angle), -math.sin(angle)
    return pose


@pytest.fixture
def truth():
    """A slanted wall with a square that moved by (0.5, 0, 0) before a camera that turned and went sideways."""
    generator = torch.Generator().manual_seed(0)
    depth = 2 + torch.rand(2, H, W, generator=generator).double()
    pose = turned(7)
    pose[:3, 3] = torch.tensor([0.4, 0.0, 0.1])
    own = unproject(depth, K.expand(2, 3, 3))
    own[1] = own[1] @ pose[:3, :3].mT + pose[:3, 3]
    points = own.expand(2, -1, -1, -1, -1).clone()
    points[1, 0, 5:10, 5:10] += torch.tensor([0.5, 0, 0]).double()
    points[0, 1, 5:10, 5:10] -= torch.tensor([0.5, 0, 0]).double()
    known = torch.ones(2, 2, H, W, dtype=torch.bool)
    known[:, :, :2] = False
    depth[:, :2] = 0
    return TwoViewTruth(points * known[..., None], known, depth, K.expand(2, 3, 3), pose)


def test_the_truth_itself_scores_nothing_in_any_unit(truth):
    scaled_pose = truth.first_from_second.clone()
    scaled_pose[:3, 3] *= 7.3
    figures = judge(TwoViewAnswer(7.3 * truth.points, 7.3 * truth.depth, scaled_pose), truth)
    assert set(figures) == {*MAPS, "abs_rel", "delta_1", "rotation", "translation"}
    assert figures.pop("delta_1") == 1
    assert max(figures.values()) < 1e-5


def test_epe_is_the_mean_distance_after_both_are_of_unit_mean_distance(truth):
    generator = torch.Generator().manual_seed(1)
    answer = truth.points + 0.1 * torch.randn(truth.points.shape, generator=generator).double()
    figures = judge(TwoViewAnswer(answer, truth.depth, torch.eye(4).double()), truth)

    def unit(points):
        total = count = 0.0
        for index in MAP_INDEX:
            for row in range(2, H):
                for column in range(W):
                    total += float(points[(*index, row, column)].norm())
                    count += 1
        return points / (total / count)

    for name, index in zip(MAPS, MAP_INDEX, strict=True):
        expected = (unit(answer) - unit(truth.points))[index][2:].norm(dim=-1).mean()
        assert figures[name] == pytest.approx(float(expected), rel=1e-9)


def test_what_is_not_known_is_left_out(truth):
    known = truth.known.clone()
    known[0, 1] = known[1, 0] = False
    part = TwoViewTruth(truth.points, known, truth.depth, truth.intrinsics, None)
    assert set(judge(zero_motion(part), part)) == {"P0(t0)", "P1(t1)", "abs_rel", "delta_1"}


def test_cameras_that_did_not_part_have_no_direction(truth):
    together = TwoViewTruth(truth.points, truth.known, truth.depth, truth.intrinsics, turned(5))
    figures = judge(zero_motion(together), together)
    assert figures["rotation"] == pytest.approx(5)
    assert "translation" not in figures


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 3.0, 90.0, 179.9])
def test_angles_are_exact_for_small_and_large_ones(degrees):
    assert rotation_angle(turned(degrees)[:3, :3]) == pytest.approx(degrees, abs=1e-12, rel=1e-6)
    there = turned(degrees)[:3, 2]
    assert angle_between(there, 3 * turned(0)[:3, 2]) == pytest.approx(degrees, abs=1e-12, rel=1e-6)


def test_no_movement_is_a_right_angle_away():
    assert angle_between(torch.zeros(3), torch.ones(3)) == 90


def test_baselines_are_what_they_say(truth):
    assert set(BASELINES) == {"constant_depth", "tilted_plane", "zero_motion", "still_world"}
    constant, plane, frozen, still = (judge(BASELINES[name](truth), truth) for name in BASELINES)
    assert torch.equal(constant_depth(truth).depth.unique(), truth.depth[truth.depth > 0].median()[None])
    assert frozen["abs_rel"] == still["abs_rel"] == 0
    assert frozen["rotation"] == pytest.approx(7)
    assert frozen["translation"] == 90
    assert still["rotation"] < 1e-5
    # Only the square moved; the global scale shares out what that changes.
    share = 0.5 * 25 / ((H - 2) * W) / float(truth.points[truth.known].norm(dim=-1).mean())
    assert still["P0(t1)"] == pytest.approx(share, rel=0.25)
    assert still["P0(t0)"] < 0.1 * share
    assert plane["abs_rel"] <= constant["abs_rel"] + 1e-3


def test_the_best_plane_of_a_plane_is_itself():
    v, u = torch.meshgrid(torch.arange(H).double(), torch.arange(W).double(), indexing="ij")
    depth = 1 / (0.2 + 0.004 * u + 0.007 * v)
    depth[3, 4:9] = 0
    expected = 1 / (0.2 + 0.004 * u + 0.007 * v)
    torch.testing.assert_close(
        best_plane(depth), expected.clamp(depth[depth > 0].min(), depth.max()), rtol=1e-6, atol=0
    )
    assert torch.equal(best_plane(torch.zeros(H, W)), torch.ones(H, W))
    outlier = depth.clone()
    outlier[10, 10] = 0.2
    assert ((best_plane(outlier) - expected).abs() < 0.02 * expected)[depth > 0].all()


def test_baselines_keep_the_shapes_of_answers(truth):
    for baseline in (constant_depth, tilted_plane, zero_motion, still_world):
        answer = baseline(truth)
        assert answer.points.shape == truth.points.shape
        assert answer.depth.shape == truth.depth.shape
        assert answer.first_from_second.shape == (4, 4)


def test_masks_are_counted_over_all_images():
    said = torch.tensor([[True, True, False, True]])
    true = torch.tensor([[True, False, True, True]])
    valid = torch.tensor([[True, True, True, False]])
    none = torch.zeros(1, 4, dtype=torch.bool)
    count = MaskCount().add(said, true, valid).add(true, true, ~none).add(said, none, valid)
    assert count.figures() == {"mask_iou": (1 + 3) / (3 + 3), "false_motion": 2 / 3}
    assert MaskCount().figures() == {}
