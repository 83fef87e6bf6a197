# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.kernels import fuse_points


def cloud(seed, size, spread=1.0):
    random = np.random.default_rng(seed)
    points = random.normal(0, spread, (size, 3)).astype(np.float32)
    colors = random.integers(0, 256, (size, 3), np.uint8)
    confidence = random.uniform(1, 20, size).astype(np.float32)
    velocity = random.normal(0, 1, (size, 3)).astype(np.float32)
    dynamic = random.random(size) < 0.4
    points[random.random(size) < 0.05] = np.nan
    confidence[random.random(size) < 0.05] = 0
    confidence[random.random(size) < 0.02] = np.nan
    velocity[random.random(size) < 0.1, 1] = np.inf
    return points, colors, confidence, velocity, dynamic


def reference(points, colors, confidence, velocity, dynamic, voxel):
    """Cells in a dictionary, which keeps the order of first appearance."""
    cells = {}
    for i in range(len(points)):
        if not (np.isfinite(points[i]).all() and np.isfinite(confidence[i]) and confidence[i] > 0):
            continue
        cell = np.floor(points[i] / np.float32(voxel))
        if (np.abs(cell + 0.5) < 2**20).all():
            cells.setdefault(tuple(cell), []).append(i)
    rows = []
    for members in cells.values():
        w = confidence[members].astype(np.float64)
        known = np.isfinite(velocity[members]).all(1)
        motion = np.average(velocity[members][known], 0, w[known]) if known.any() else np.zeros(3)
        color = np.floor(np.average(colors[members], 0, w) + 0.5)
        moving = w[dynamic[members]].sum() > 0.5 * w.sum()
        rows.append((np.average(points[members], 0, w), color, w.mean(), motion, moving, len(members)))
    return [np.array(column) for column in zip(*rows, strict=True)] if rows else [np.empty(0)] * 6


def fuse(arrays, voxel):
    return fuse_points(*map(torch.from_numpy, arrays), voxel=voxel)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 300), voxel=st.sampled_from([0.05, 0.5, 3.0, 1e-7, 1e9]))
def test_equals_the_formula(seed, size, voxel):
    arrays = cloud(seed, size)
    fused, expected = fuse(arrays, voxel), reference(*arrays, voxel)
    assert len(fused.points) == len(expected[0])
    for ours, theirs in zip(fused[:6], expected, strict=True):
        if theirs.size:
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", ["as they come", "neighbours together", "far apart"])
def test_many_points_are_no_different(order):
    arrays = cloud(1, 60_000, spread=500.0 if order == "far apart" else 1.0)
    if order == "neighbours together":
        arrays = tuple(array[np.lexsort(np.floor(arrays[0].T))] for array in arrays)
    fused, expected = fuse(arrays, 0.08), reference(*arrays, 0.08)
    assert len(fused.points) == len(expected[0])
    for ours, theirs in zip(fused[:6], expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=1e-6)


def test_a_long_run_of_points_in_one_cell_is_one_point():
    points, colors, confidence, velocity, dynamic = cloud(5, 40_000)
    points[:] = [-0.3, 0.2, 0.9]
    arrays = points, colors, confidence, velocity, dynamic
    fused, expected = fuse(arrays, 1.0), reference(*arrays, 1.0)
    assert len(fused.points) == 1
    for ours, theirs in zip(fused[:6], expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=1e-6)


def test_same_bytes_whatever_the_number_of_threads():
    arrays = cloud(2, 100_000)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append([array.numpy().tobytes() for array in fuse(arrays, 0.1)[:6]])
    finally:
        torch.set_num_threads(threads)
    assert results[0] == results[1] == results[2]


def test_weight_is_kept_so_that_clouds_fuse_again():
    points, colors, confidence, velocity, dynamic = cloud(3, 5000)
    fused = fuse((points, colors, confidence, velocity, dynamic), 0.5)
    good = np.isfinite(points).all(1) & np.isfinite(confidence) & (confidence > 0)
    weight = (fused.confidence.double() * fused.count).sum().item()
    np.testing.assert_allclose(weight, confidence[good].astype(np.float64).sum(), rtol=1e-6)
    assert int(fused.count.sum()) == good.sum()


def test_points_beyond_the_grid_are_left_out_and_counted():
    points, colors, confidence, velocity, dynamic = cloud(4, 4)
    points[:] = [[0, 0, 0], [1e30, 0, 0], [0, -(2.0**21), 0], [2.0**20 - 1, 0, 0]]
    confidence[:] = 1
    fused = fuse((points, colors, confidence, velocity, dynamic), 1.0)
    assert (len(fused.points), fused.outside) == (2, 2)


def test_half_of_the_weight_moving_is_not_more_than_half():
    one = (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.uint8), torch.ones(2), torch.zeros(2, 3))
    assert not fuse_points(*one, torch.tensor([True, False]), voxel=1.0).dynamic.any()
    assert fuse_points(*one, torch.tensor([True, True]), voxel=1.0).dynamic.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(voxel=-1.0), "voxel must be finite and > 0, not -1.0"),
        (dict(voxel=float("nan")), "voxel must be finite and > 0, not nan"),
        (
            dict(colors=torch.zeros(5, 3, dtype=torch.uint8)),
            r"colors must be \[N 3\] \(N = 4 from points\), not \[5, 3\]",
        ),
        (dict(dynamic=torch.zeros(4)), "dynamic must be torch.bool, not torch.float32"),
        (dict(points=torch.zeros(4, 6)[:, ::2]), "points must be contiguous"),
        (dict(confidence=torch.zeros(4, requires_grad=True)), "confidence requires grad"),
        (dict(velocity=[1, 2]), "velocity must be a torch.Tensor, not list"),
    ],
)
def test_says_what_is_wrong(change, message):
    good = dict(
        points=torch.zeros(4, 3),
        colors=torch.zeros(4, 3, dtype=torch.uint8),
        confidence=torch.ones(4),
        velocity=torch.zeros(4, 3),
        dynamic=torch.zeros(4, dtype=torch.bool),
        voxel=1.0,
    )
    with pytest.raises((TypeError, ValueError), match=message):
        fuse_points(**(good | change))
