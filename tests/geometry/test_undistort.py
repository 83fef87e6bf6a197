# SPDX-License-Identifier: Apache-2.0
"""A ramp whose grey is its column (or row) tells, after the remap, from where each pixel was taken."""

import numpy as np
import pytest

from dpm_core.errors import DpmError
from dpm_core.geometry.undistort import undistort, undistort_depth
from dpm_core.types import Lens

HEIGHT, WIDTH = 120, 160
BENT = np.array([[150.0, 0, 80.5], [0, 152.0, 61.0], [0, 0, 1]])
STRAIGHT = np.array([[170.0, 0, 79.5], [0, 171.0, 59.5], [0, 0, 1]])
COEFFICIENTS = {
    "plumb_bob": (-0.2, 0.05, 0.002, -0.001, 0.01),
    "rational_polynomial": (0.3, -0.1, 0.001, 0.002, 0.02, 0.45, -0.05, 0.01),
    "equidistant": (0.1, -0.02, 0.01, -0.001),
}


def lens(model, coefficients=None):
    return Lens(model, COEFFICIENTS[model] if coefficients is None else coefficients, tuple(BENT.ravel()))


def bent_from_straight(model, u, v):
    """Where the lens puts what a pinhole sees at (u, v), by the published formulas."""
    x, y = (u - STRAIGHT[0, 2]) / STRAIGHT[0, 0], (v - STRAIGHT[1, 2]) / STRAIGHT[1, 1]
    r2 = x**2 + y**2
    if model == "equidistant":
        r, k = np.sqrt(r2), COEFFICIENTS[model]
        theta = np.arctan(r)
        bent = theta * (1 + sum(k[i] * theta ** (2 * i + 2) for i in range(4)))
        x, y = x * bent / r, y * bent / r
    else:
        k1, k2, p1, p2, k3, k4, k5, k6 = (*COEFFICIENTS[model], 0, 0, 0)[:8]
        radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2),
            y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y,
        )
    return BENT[0, 0] * x + BENT[0, 2], BENT[1, 1] * y + BENT[1, 2]


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_every_pixel_comes_from_where_the_lens_puts_it(model):
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    ramp = np.stack([u, v, np.zeros_like(u)], -1).astype(np.uint8)
    straight = undistort(ramp, lens(model), STRAIGHT)
    columns, rows = bent_from_straight(model, u, v)
    inside = (columns >= 0) & (columns <= WIDTH - 1) & (rows >= 0) & (rows <= HEIGHT - 1)
    assert inside.mean() > 0.8
    np.testing.assert_allclose(straight[..., 0][inside], columns[inside], atol=0.55)
    np.testing.assert_allclose(straight[..., 1][inside], rows[inside], atol=0.55)


def test_what_the_camera_did_not_see_is_black():
    image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    pincushion = lens("plumb_bob", (0.4, 0, 0, 0, 0))
    wide = STRAIGHT @ np.diag([0.5, 0.5, 1])
    straight = undistort(image, pincushion, wide)
    assert straight[0, 0].max() == 0
    assert straight[HEIGHT // 2, WIDTH // 2].min() == 200


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2)])
def test_depth_goes_the_way_of_its_image_and_is_never_mixed(size):
    depth = np.where(np.arange(size[1]) < size[1] // 2, 1.0, 5.0).astype(np.float32) * np.ones((size[0], 1), np.float32)
    straight = undistort_depth(depth, lens("plumb_bob"), STRAIGHT, (HEIGHT, WIDTH))
    assert straight.shape == (HEIGHT, WIDTH)
    assert set(np.unique(straight)) <= {0.0, 1.0, 5.0}
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    columns, _ = bent_from_straight("plumb_bob", u, v)
    sure = (straight > 0) & (np.abs(columns - (WIDTH / 2 - 0.5)) > 2)
    np.testing.assert_array_equal(straight[sure], np.where(columns[sure] < WIDTH / 2, 1.0, 5.0))


@pytest.mark.parametrize(
    ("model", "coefficients", "words"),
    [
        ("barrel", (0.1,), "distortion model 'barrel' is not known; choose one of: plumb_bob"),
        ("plumb_bob", (0.1,) * 8, "has 8 coefficients; it takes 4 or 5"),
        ("equidistant", (0.1, float("nan"), 0, 0), "not finite"),
        ("equidistant", (0.1, 0, -1e300, 0), "of no lens"),
    ],
)
def test_a_lens_that_cannot_be_meant_is_refused(model, coefficients, words):
    with pytest.raises(DpmError, match=words):
        undistort(np.zeros((8, 8, 3), np.uint8), Lens(model, coefficients, tuple(BENT.ravel())), STRAIGHT)
