# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dpm_core.kernels import prepare_images


def picture(seed, height, width, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, channels), np.uint8)


def whole(images, size, **settings):
    """Levels 0 to 255 of the resized images, channel last."""
    box = prepare_images(torch.from_numpy(images), size, (0, 0), size, **settings)
    return (box.permute(0, 2, 3, 1) * 255).numpy()


def pillow(image, size, filter="bicubic"):
    resampling = getattr(Image.Resampling, filter.upper())
    return np.asarray(Image.fromarray(image).resize(size[::-1], resampling), np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    scale=st.floats(0.02, 3),
    filter=st.sampled_from(["bicubic", "lanczos"]),
)
def test_equals_pillow_where_the_aspect_is_kept(seed, height, width, scale, filter):
    size = max(1, round(height * scale)), max(1, round(width * scale))
    image = picture(seed, height, width)
    if size[0] * width < size[1] * height:  # rounding made it flatter: Pillow 13 may then do columns first
        image = image // 128 * 0 + 77
    np.testing.assert_allclose(whole(image, size, filter=filter)[0], pillow(image[0], size, filter), atol=1e-4)


@pytest.mark.parametrize("size", [(392, 518), (294, 518), (384, 512), (224, 298), (154, 518), (480, 640), (518, 691)])
@pytest.mark.parametrize("filter", ["bicubic", "lanczos"])
def test_equals_pillow_at_the_sizes_of_the_networks(size, filter):
    image = picture(1, 480, 640)
    if size == (154, 518):
        image = picture(1, 376, 1241)
    if size == (294, 518):
        image = picture(1, 540, 960)
    np.testing.assert_allclose(whole(image, size, filter=filter)[0], pillow(image[0], size, filter), atol=1e-4)


def test_box_is_cut_from_the_resized_image():
    image = picture(2, 40, 60)
    full = whole(image, (20, 30))[0]
    box = prepare_images(torch.from_numpy(image), (20, 30), (3, 7), (11, 13))
    np.testing.assert_array_equal(box[0].permute(1, 2, 0) * 255, full[3:14, 7:20])


def test_box_beyond_the_image_is_padded_and_then_normalised():
    image = picture(3, 10, 12)
    box = prepare_images(
        torch.from_numpy(image), (10, 12), (-2, -3), (15, 17), pad=0.25, mean=(0.5, 0.4, 0.3), std=(2, 4, 5)
    )
    mean, std = torch.tensor([0.5, 0.4, 0.3])[:, None, None], torch.tensor([2.0, 4, 5])[:, None, None]
    expected = torch.full((3, 15, 17), 0.25)
    expected[:, 2:12, 3:15] = torch.from_numpy(image[0]).permute(2, 0, 1) / 255
    torch.testing.assert_close(box[0], (expected - mean) / std, rtol=0, atol=1e-6)


def test_box_wholly_outside_is_padding():
    box = prepare_images(torch.from_numpy(picture(3, 10, 12)), (10, 12), (20, 30), (4, 5), pad=0.5)
    assert (box == 0.5).all()


@pytest.mark.parametrize("channels", ["bgr", "rgba", "bgra", "mono"])
def test_every_encoding_gives_red_green_blue(channels):
    rgb = picture(4, 21, 33)
    opaque = np.full_like(rgb[..., :1], 255)
    encoded = {
        "bgr": rgb[..., ::-1].copy(),
        "rgba": np.concatenate([rgb, opaque], -1),
        "bgra": np.concatenate([rgb[..., ::-1], opaque], -1),
        "mono": rgb[..., :1].copy(),
    }[channels]
    if channels == "mono":
        rgb = np.repeat(rgb[..., :1], 3, -1)
    np.testing.assert_array_equal(whole(encoded, (13, 20), channels=channels), whole(rgb, (13, 20)))


def test_opacity_is_laid_over_white_as_pillow_does():
    colors, opacities = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    rgba = np.stack([colors, colors, colors, opacities], -1)
    white = Image.new("RGBA", (256, 256), (255, 255, 255, 255))
    expected = np.asarray(Image.alpha_composite(white, Image.fromarray(rgba)).convert("RGB"), np.float32)
    np.testing.assert_allclose(whole(rgba[None], (256, 256), channels="rgba")[0], expected, atol=1e-4)


def test_rows_may_lie_apart():
    image = picture(5, 20, 30)
    pitched = np.zeros((1, 20, 37, 3), np.uint8)
    pitched[:, :, :30] = image
    view = torch.from_numpy(pitched)[:, :, :30]
    assert not view.is_contiguous()
    box = prepare_images(view, (10, 15), (0, 0), (10, 15))
    torch.testing.assert_close(box, prepare_images(torch.from_numpy(image), (10, 15), (0, 0), (10, 15)), rtol=0, atol=0)


def test_half_precision_is_the_rounded_float():
    image = torch.from_numpy(picture(6, 30, 40))
    settings = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    exact = prepare_images(image, (25, 31), (0, 0), (25, 31), **settings)
    half = prepare_images(image, (25, 31), (0, 0), (25, 31), **settings, dtype=torch.float16)
    assert torch.equal(half, exact.half())


def test_no_frames_give_no_boxes():
    assert prepare_images(torch.empty(0, 4, 5, 3, dtype=torch.uint8), (8, 8), (0, 0), (8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(images=torch.zeros(1, 4, 5, 3)), "images must be torch.uint8, not torch.float32"),
        (dict(images=torch.zeros(1, 4, 5, 4, dtype=torch.uint8)), r"images must be \[S H W 3\], not \[1, 4, 5, 4\]"),
        (dict(images=torch.zeros(1, 4, 3, 5, dtype=torch.uint8).mT), "images must have pixels side by side"),
        (dict(channels="yuv"), "channels must be one of rgb, bgr, rgba, bgra, mono, not 'yuv'"),
        (dict(filter="nearest"), "filter must be one of bicubic, lanczos, not 'nearest'"),
        (dict(resized=(0, 5)), r"resized must be \(height, width\), both > 0, not \(0, 5\)"),
        (dict(size=(4, -1)), r"size must be \(height, width\), both > 0"),
        (dict(std=(1, 0, 1)), "std must not be zero"),
        (dict(mean=(1, float("nan"), 1)), "mean must be three finite numbers"),
        (dict(pad=float("inf")), "pad must be finite"),
        (dict(dtype=torch.bfloat16), "dtype must be torch.float32 or torch.float16, not torch.bfloat16"),
    ],
)
def test_says_what_is_wrong(change, message):
    good = dict(images=torch.zeros(1, 4, 5, 3, dtype=torch.uint8), resized=(4, 5), origin=(0, 0), size=(4, 5))
    with pytest.raises((TypeError, ValueError), match=message):
        prepare_images(**(good | change))
