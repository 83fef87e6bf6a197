# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.kernels import pointmap_dynamic_mask


def reference(moved, points, factor=3.0, floor=0.0, statistic="median"):
    """The formula, literally, view by view."""
    masks = []
    for a, b in zip(moved, points, strict=True):
        difference = a - b
        distance = np.sqrt((difference**2).sum(-1, dtype=np.float32))
        finite = np.sort(distance[np.isfinite(distance)])
        typical = 0.0
        if finite.size:
            typical = finite[(finite.size - 1) // 2] if statistic == "median" else finite.astype(np.float64).mean()
        threshold = np.maximum(np.float32(factor) * np.float32(typical), np.float32(floor))
        masks.append(np.isfinite(distance) & (distance > threshold))
    return np.array(masks, bool).reshape(points.shape[:3])


def maps(seed, views, height, width, holes=0.1):
    random = np.random.default_rng(seed)
    points = random.normal(0, 2, (views, height, width, 3)).astype(np.float32)
    moved = points + random.exponential(0.05, points.shape).astype(np.float32)
    moved[random.random(moved.shape[:3]) < holes] = np.nan
    points[random.random(moved.shape[:3]) < holes / 2] = np.inf
    return moved, points


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    views=st.integers(1, 3),
    height=st.integers(1, 23),
    width=st.integers(1, 29),
    factor=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    floor=st.sampled_from([0.0, 0.05]),
    holes=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_equals_the_formula(seed, views, height, width, factor, floor, holes):
    moved, points = maps(seed, views, height, width, holes)
    mask = pointmap_dynamic_mask(torch.from_numpy(moved), torch.from_numpy(points), factor=factor, floor=floor)
    np.testing.assert_array_equal(mask.numpy(), reference(moved, points, factor, floor))


def test_large_maps_are_no_different():
    moved, points = maps(3, 3, 150, 170)
    mask = pointmap_dynamic_mask(torch.from_numpy(moved), torch.from_numpy(points))
    np.testing.assert_array_equal(mask.numpy(), reference(moved, points))


def test_mean_of_the_view_as_threshold():
    moved, points = maps(4, 2, 40, 50)
    mask = pointmap_dynamic_mask(torch.from_numpy(moved), torch.from_numpy(points), factor=0.5, statistic="mean")
    np.testing.assert_array_equal(mask.numpy(), reference(moved, points, 0.5, statistic="mean"))


def test_nothing_moves_in_equal_maps():
    points = torch.randn(2, 7, 9, 3)
    assert not pointmap_dynamic_mask(points, points).any()


def test_a_moving_minority_is_found():
    points = torch.rand(1, 20, 20, 3)
    moved = points + 0.01
    moved[0, 3:6, 4:9, 2] += 1
    expected = torch.zeros(1, 20, 20, dtype=torch.bool)
    expected[0, 3:6, 4:9] = True
    assert torch.equal(pointmap_dynamic_mask(moved, points), expected)


def test_no_views_give_no_masks():
    assert pointmap_dynamic_mask(torch.empty(0, 4, 5, 3), torch.empty(0, 4, 5, 3)).shape == (0, 4, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(points=torch.ones(1, 4, 6, 3)), r"points must be \[S H W 3\] \(W = 5 from moved\), not \[1, 4, 6, 3\]"),
        (dict(moved=torch.ones(1, 4, 5, 3).double()), "moved must be torch.float32, not torch.float64"),
        (dict(factor=-1.0), "factor must be finite and >= 0, not -1.0"),
        (dict(floor=float("nan")), "floor must be finite and >= 0, not nan"),
        (dict(statistic="mode"), "statistic must be one of median, mean, not 'mode'"),
    ],
)
def test_says_what_is_wrong(change, message):
    good = dict(moved=torch.ones(1, 4, 5, 3), points=torch.ones(1, 4, 5, 3))
    with pytest.raises((TypeError, ValueError), match=message):
        pointmap_dynamic_mask(**(good | change))
