# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.geometry.sim3 import DegenerateError, Sim3, robust_sim3, weighted_sim3


def random_sim3(random):
    rotation, _ = np.linalg.qr(random.standard_normal((3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    return Sim3(float(np.exp(random.uniform(-3, 3))), rotation, random.uniform(-5, 5, 3))


def close(a, b, tolerance=1e-9):
    assert a.scale == pytest.approx(b.scale, rel=tolerance)
    np.testing.assert_allclose(a.rotation, b.rotation, atol=tolerance)
    np.testing.assert_allclose(a.translation, b.translation, atol=tolerance * 100)


@given(st.integers(0, 2**32 - 1), st.integers(4, 60))
def test_recovers_the_transform_that_made_the_points(seed, count):
    random = np.random.default_rng(seed)
    truth = random_sim3(random)
    source = torch.from_numpy(random.standard_normal((count, 3)))
    weights = torch.from_numpy(random.uniform(0.1, 1, count))
    close(weighted_sim3(source, truth.points(source), weights), truth, 1e-6)


@given(st.integers(0, 2**32 - 1))
def test_composition_and_inverse_act_on_points_and_poses(seed):
    random = np.random.default_rng(seed)
    a_from_b, b_from_c = random_sim3(random), random_sim3(random)
    points = torch.from_numpy(random.standard_normal((5, 3)))
    composed = (a_from_b @ b_from_c).points(points)
    torch.testing.assert_close(composed, a_from_b.points(b_from_c.points(points)))
    close(a_from_b @ a_from_b.inverse(), Sim3.identity())
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = random_sim3(random).rotation, random.standard_normal(3)
    moved = a_from_b.pose(pose)
    np.testing.assert_allclose(moved[:3, 3], a_from_b.points(torch.from_numpy(pose[:3, 3])).numpy(), atol=1e-9)
    np.testing.assert_allclose(moved[:3, :3] @ moved[:3, :3].T, np.eye(3), atol=1e-9)


def test_zero_weight_means_not_there():
    random = np.random.default_rng(0)
    truth, source = random_sim3(random), torch.from_numpy(random.standard_normal((20, 3)))
    target, weights = truth.points(source), torch.ones(20)
    target[7], weights[7] = 1e6, 0
    close(weighted_sim3(source, target, weights), truth, 1e-6)


def test_a_third_of_gross_errors_does_not_matter_to_the_robust_form():
    random = np.random.default_rng(1)
    truth, source = random_sim3(random), torch.from_numpy(random.standard_normal((300, 3)))
    target = truth.points(source)
    target[:100] += torch.from_numpy(random.uniform(-1, 1, (100, 3))) * truth.scale * 5
    target[200:] += torch.from_numpy(random.normal(0, 1e-4, (100, 3))) * truth.scale
    target[299] = torch.nan
    found = robust_sim3(source, target, torch.ones(300), rounds=20)
    assert found.scale == pytest.approx(truth.scale, rel=2e-3)
    np.testing.assert_allclose(found.rotation, truth.rotation, atol=2e-3)


def plain_robust(source, target, weights, rounds):
    """The same reweighting in torch and float64, step by step."""
    keep = torch.isfinite(source).all(-1) & torch.isfinite(target).all(-1) & (weights > 0)
    source, target, weights = (array[keep].double() for array in (source, target, weights))
    found = weighted_sim3(source, target, weights)
    for _ in range(rounds):
        residual = (target - found.points(source)).norm(dim=-1)
        found = weighted_sim3(source, target, weights / (1 + (residual / (2 * residual.median())).square()))
    return found


@given(st.integers(0, 2**32 - 1), st.integers(10, 400))
def test_the_robust_form_equals_its_plain_steps(seed, count):
    random = np.random.default_rng(seed)
    truth, source = random_sim3(random), torch.from_numpy(random.normal(1, 1, (count, 3))).float()
    target = truth.points(source) + torch.from_numpy(random.standard_t(2, (count, 3))).float() * 0.05 * truth.scale
    weights = torch.from_numpy(random.uniform(-0.1, 1, count)).float()
    source[random.random(count) < 0.05, 1] = torch.nan
    target[random.random(count) < 0.05, 0] = torch.inf
    close(robust_sim3(source, target, weights), plain_robust(source, target, weights, rounds=4), 1e-6)


def test_far_from_the_origin_the_robust_form_is_as_good():
    random = np.random.default_rng(2)
    source = torch.from_numpy(random.normal(0, 1, (3000, 3))).float()
    truth = Sim3(1.5, random_sim3(random).rotation, np.array([1000.0, -2000.0, 500.0]))
    found = robust_sim3(source, truth.points(source), torch.ones(3000))
    assert found.scale == pytest.approx(truth.scale, rel=1e-5)
    np.testing.assert_allclose(found.rotation, truth.rotation, atol=1e-5)
    np.testing.assert_allclose(found.translation, truth.translation, atol=1e-3)


@pytest.mark.parametrize(
    "points",
    [
        torch.zeros(10, 3),
        torch.tensor([[0.1, -7.3, 5.7]]).expand(1000, 3),
        torch.arange(10.0)[:, None] * torch.tensor([[1.0, 2, 3]]),
        torch.empty(0, 3),
    ],
    ids=["the origin", "one place", "a line", "nothing"],
)
def test_says_when_points_determine_nothing(points):
    with pytest.raises(DegenerateError):
        robust_sim3(points, points, torch.rand(len(points), generator=torch.Generator().manual_seed(0)))
