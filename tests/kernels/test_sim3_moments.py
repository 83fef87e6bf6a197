# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpm_core.kernels import sim3_moments, sim3_residuals


def pairs(seed, size):
    random = np.random.default_rng(seed)
    source = random.normal(1, 2, (size, 3)).astype(np.float32)
    target = random.normal(-3, 1, (size, 3)).astype(np.float32)
    weight = random.uniform(0, 4, size).astype(np.float32)
    source[random.random(size) < 0.1, 0] = np.nan
    target[random.random(size) < 0.1, 2] = np.inf
    weight[random.random(size) < 0.1] = np.nan
    weight[random.random(size) < 0.1] = -1
    return source, target, weight


def parts(moments):
    """All moments, in the order of the reference."""
    means = moments.source_mean, moments.target_mean
    return moments.weight, *means, moments.covariance, moments.source_variance, moments.target_variance, moments.pairs


ESTIMATE = np.array([[0, -1.5, 0, -4], [1.5, 0, 0, -4], [0, 0, 1.5, -4], [0, 0, 0, 1]])
LOSSES = {
    "huber": lambda residual, radius: np.minimum(1, radius / np.maximum(residual, 1e-300)),
    "cauchy": lambda residual, radius: 1 / (1 + (residual / radius) ** 2),
}


def reference(source, target, weight, estimate=None, radius=None, loss="huber"):
    """Textbook weighted moments in float64, means first."""
    good = np.isfinite(source).all(1) & np.isfinite(target).all(1) & np.isfinite(weight) & (weight > 0)
    a, b, w = (array[good].astype(np.float64) for array in (source, target, weight))
    if estimate is not None:
        residual = np.linalg.norm(b - (a @ estimate[:3, :3].T + estimate[:3, 3]), axis=1)
        w = w * LOSSES[loss](residual, radius)
    if not len(w):
        return 0.0, *[np.full(shape, np.nan) for shape in ((3,), (3,), (3, 3), (), ())], 0
    a_mean, b_mean = np.average(a, 0, w), np.average(b, 0, w)
    da, db = a - a_mean, b - b_mean
    covariance = (w[:, None, None] * db[:, :, None] * da[:, None, :]).sum(0) / w.sum()
    variances = (np.average((d**2).sum(1), weights=w) for d in (da, db))
    return w.sum(), a_mean, b_mean, covariance, *variances, good.sum()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(0, 700), loss=st.sampled_from([None, *LOSSES]))
def test_equals_the_formula(seed, size, loss):
    arrays = pairs(seed, size)
    options = {}
    if loss:
        options = dict(estimate=ESTIMATE, radius=0.7, loss=loss)
    expected = reference(*arrays, **options)
    if loss:
        options["estimate"] = torch.from_numpy(ESTIMATE)
    moments = sim3_moments(*map(torch.from_numpy, arrays), **options)
    for ours, theirs in zip(parts(moments), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [0, 1, 300, 50_000])
def test_residuals_are_distances_to_where_the_estimate_takes_the_source(size):
    source, target, weight = pairs(3, size)
    good = np.isfinite(source).all(1) & np.isfinite(target).all(1) & np.isfinite(weight) & (weight > 0)
    expected = np.linalg.norm(target - (source.astype(np.float64) @ ESTIMATE[:3, :3].T + ESTIMATE[:3, 3]), axis=1)
    arrays = (torch.from_numpy(array) for array in (source, target, weight))
    residuals = sim3_residuals(*arrays, estimate=torch.from_numpy(ESTIMATE))
    np.testing.assert_allclose(residuals.numpy(), np.where(good, expected, np.nan), rtol=1e-6)


def test_same_bytes_whatever_the_number_of_threads():
    arrays, threads = [torch.from_numpy(array) for array in pairs(1, 100_000)], torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(sim3_moments(*arrays).row.numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    assert results[0] == results[1] == results[2]


def test_the_closed_form_finds_the_similarity():
    random = np.random.default_rng(2)
    source = random.normal(0, 1, (5000, 3)).astype(np.float32)
    rotation, _ = np.linalg.qr(random.standard_normal((3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    target = (1.7 * source @ rotation.T + [3, -2, 1]).astype(np.float32)
    moments = sim3_moments(torch.from_numpy(source), torch.from_numpy(target), torch.ones(5000))
    u, singular, vt = np.linalg.svd(moments.covariance.numpy())
    np.testing.assert_allclose(u @ vt, rotation, atol=1e-6)
    np.testing.assert_allclose(singular.sum() / moments.source_variance.item(), 1.7, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(target=torch.zeros(5, 3)), r"target must be \[N 3\] \(N = 4 from source\), not \[5, 3\]"),
        (dict(weight=torch.zeros(4, dtype=torch.float64)), "weight must be torch.float32, not torch.float64"),
        (dict(radius=1.0), "estimate and radius must be given together"),
        (dict(estimate=torch.eye(4), radius=0.0), "radius must be finite and > 0, not 0.0"),
        (dict(loss="welsch"), "loss must be one of huber, cauchy, not 'welsch'"),
        (dict(estimate=torch.eye(3), radius=1.0), r"estimate must be \[4, 4\], not \[3, 3\]"),
    ],
)
def test_says_what_is_wrong(change, message):
    good = dict(source=torch.zeros(4, 3), target=torch.zeros(4, 3), weight=torch.ones(4))
    with pytest.raises((TypeError, ValueError), match=message):
        sim3_moments(**(good | change))


def test_residuals_say_what_is_wrong():
    points, nowhere = torch.zeros(4, 3), torch.full((4, 4), torch.nan)
    with pytest.raises(ValueError, match=r"weight must be \[N\] \(N = 4 from source\), not \[5\]"):
        sim3_residuals(points, points, torch.ones(5), estimate=torch.eye(4))
    with pytest.raises(ValueError, match="estimate must be finite"):
        sim3_residuals(points, points, torch.ones(4), estimate=nowhere)
