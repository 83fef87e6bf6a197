# SPDX-License-Identifier: Apache-2.0
import io

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from dpm_core.errors import DpmError
from dpm_core.geometry.fit import fit_dust3r, fit_dust3r_square, fit_landscape, fit_padded, fit_width, widened
from dpm_core.geometry.preprocess import fitted, load_square, upright

RULES = {fit_width: 14, fit_padded: 14, fit_dust3r: 16, fit_dust3r_square: 16}
SIDES = st.integers(32, 4000)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@given(height=SIDES, width=SIDES)
def test_every_rule_gives_whole_patches(rule, height, width):
    assume(max(height, width) <= 8 * min(height, width))
    fit = rule(height, width)
    assert fit.size[0] % RULES[rule] == 0
    assert fit.size[1] % RULES[rule] == 0
    assert fit.size[0] > 0


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_intrinsics_follow_the_pixels(rule):
    """A camera pixel's ray is the fitted pixel's ray, by areas: corner to corner."""
    fit = rule(480, 640)
    K = np.array([[600.0, 0, 315], [0, 610, 235], [0, 0, 1]])
    fitted_K = fit.intrinsics(K)
    for corner in ([-0.5, -0.5], [639.5, 479.5], [100.0, 300.0]):
        scale = np.array(fit.resized[::-1]) / [640, 480]
        moved = (np.array(corner) + 0.5) * scale - 0.5 - np.array(fit.origin[::-1])
        ray = np.linalg.solve(K, [*corner, 1])
        np.testing.assert_allclose(fitted_K @ ray, [*moved, 1], atol=1e-9)


def test_portrait_is_cropped_by_vggt_and_refused_by_vdpm():
    assert fit_width(640, 480).size == (518, 518)
    with pytest.raises(DpmError, match="480 x 640"):
        fit_landscape(640, 480)
    assert fit_landscape(480, 640) == fit_width(480, 640)


def test_an_image_too_narrow_for_a_patch_is_refused():
    with pytest.raises(DpmError, match="4000 x 40: at 512 pixels its shorter side is less than a patch of 16"):
        fit_dust3r(40, 4000)


def test_a_square_image_is_cropped_to_four_by_three_unless_allowed():
    assert fit_dust3r(512, 512).size == (384, 512)
    assert fit_dust3r(512, 512, square_ok=True).size == (512, 512)


def test_a_widened_box_keeps_the_image_in_its_middle():
    fit = fit_width(300, 518)
    assert widened(fit, (fit.size[0] + 28, fit.size[1])).origin == (fit.origin[0] - 14, fit.origin[1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_as_the_image_viewers_read_it(orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    tagged = Image.fromarray(pixels)
    tagged.getexif()[0x0112] = orientation
    file = io.BytesIO()
    tagged.save(file, "png", exif=tagged.getexif())
    seen = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(upright(pixels, orientation), seen)


def test_what_is_no_orientation_is_named():
    with pytest.raises(DpmError, match="orientation 9"):
        upright(np.zeros((2, 2, 3), np.uint8), 9)


def test_the_square_loader_says_where_the_image_went():
    square, box = load_square(np.full((100, 200), 255, np.uint8), target=56)
    left, top, right, bottom, width, height = box
    assert (width, height) == (200, 100)
    assert square[:, int(top) + 2 : int(bottom) - 2, int(left) : int(right)].min() == 1
    assert square[:, : int(top) - 2].max() == 0


def test_five_channels_are_not_an_image():
    with pytest.raises(DpmError, match="5 channels"):
        fitted(torch.zeros(1, 8, 8, 5, dtype=torch.uint8), fit_width(8, 8))
