# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from dpm_core.geometry.resection import resect

K = torch.tensor([[300.0, 0, 160], [0, 310, 120], [0, 0, 1]], dtype=torch.float64)


def rotation(*vector):
    x, y, z = vector
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))


def pose(turn, place):
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = rotation(*turn)
    matrix[:3, 3] = torch.tensor(place)
    return matrix


TRUE = torch.stack([pose((0.1, -0.2, 0.05), (0.3, 0.1, -0.2)), pose((0.0, 0.4, 0.0), (-0.5, 0.0, 0.1))])
OFF = torch.stack([pose((0.05, 0.03, -0.04), (0.2, -0.1, 0.15)), pose((-0.1, 0.02, 0.1), (0.1, 0.2, -0.3))])


@pytest.fixture
def scene():
    """Points, seen at the same pixels by two cameras: (points [2, N, 3] in the world, pixels, weights)."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(200, 2, generator=generator, dtype=torch.float64) * torch.tensor([320.0, 240.0])
    depth = 2 + 3 * torch.rand(2, 200, 1, generator=generator, dtype=torch.float64)
    rays = torch.cat([(pixels - K[:2, 2]) / torch.stack([K[0, 0], K[1, 1]]), torch.ones(200, 1)], -1)
    points = (rays * depth) @ TRUE[:, :3, :3].mT + TRUE[:, None, :3, 3]
    return points, pixels, torch.ones(2, 200, dtype=torch.float64)


def test_the_cameras_are_found_from_a_guess_that_is_off(scene):
    points, pixels, weights = scene
    torch.testing.assert_close(resect(points, pixels, weights, K, TRUE @ OFF), TRUE, atol=1e-8, rtol=0)


def test_the_truth_stays(scene):
    points, pixels, weights = scene
    torch.testing.assert_close(resect(points, pixels, weights, K, TRUE), TRUE, atol=1e-10, rtol=0)


def test_a_fifth_of_wrong_points_and_holes_do_not_move_it(scene):
    points, pixels, weights = scene
    points = points.clone()
    points[:, ::5] += torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    points[:, 1::10] = torch.nan
    torch.testing.assert_close(resect(points, pixels, weights, K, TRUE @ OFF), TRUE, atol=5e-3, rtol=0)


def test_points_without_weight_do_not_count(scene):
    points, pixels, weights = scene
    points, weights = points.clone(), weights.clone()
    points[:, :100] *= 1.5
    weights[:, :100] = 0
    torch.testing.assert_close(resect(points, pixels, weights, K, TRUE @ OFF), TRUE, atol=1e-8, rtol=0)


def test_rounding_moves_it_by_no_more_than_rounding(scene):
    """With noise, too: no vote decides, as it does in RANSAC."""
    points, pixels, weights = scene
    noisy = points + 0.1 * torch.randn(points.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    one = resect(noisy, pixels, weights, K, TRUE @ OFF)
    other = resect(noisy * (1 + 1e-7), pixels, weights, K, TRUE @ OFF)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_where_no_camera_explains_the_points_the_answer_is_finite_and_no_worse_than_the_guess(scene):
    points, pixels, weights = scene
    scattered = torch.randn(points.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert resect(scattered, pixels, weights, K, TRUE).isfinite().all()
    nothing = torch.full_like(points, torch.nan)
    torch.testing.assert_close(resect(nothing, pixels, weights, K, TRUE), TRUE)
