# SPDX-License-Identifier: Apache-2.0
"""ROS image fields to RGB: every encoding against plain arithmetic, and every kind of broken message."""

import cv2
import numpy as np
import pytest

from dpm_core.errors import DpmError
from dpm_core.io.images import ENCODINGS, declared_size, decode_compressed, decode_image

H, W = 6, 8


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)


def decode(encoding, pixels, *, padding=0, is_bigendian=False):
    """Lay `pixels` [rows, W, ...] out as a message with `padding` bytes a row, and read it back."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return decode_image(encoding, H, W, padded.shape[1], is_bigendian, padded.tobytes())


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("8UC3", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0])],
)
def test_colours_come_back_exactly_whatever_the_order_and_the_padding(rgb, encoding, order, padding):
    np.testing.assert_array_equal(decode(encoding, rgb[..., order], padding=padding), rgb)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_the_same_in_all_channels(rgb, encoding):
    grey = rgb[..., 0]
    np.testing.assert_array_equal(decode(encoding, grey, padding=3), np.stack([grey] * 3, -1))


@pytest.mark.parametrize(("byte_order", "is_bigendian"), [("<", False), (">", True)])
def test_16_bit_grey_is_scaled_to_8_bit_in_either_byte_order(byte_order, is_bigendian):
    grey = np.random.default_rng(1).integers(0, 65536, (H, W)).astype(np.uint16)
    grey[0, :2] = 0, 65535
    read = decode("mono16", grey.astype(f"{byte_order}u2"), padding=2, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(read[..., 1], np.rint(grey * (255 / 65535)).astype(np.uint8))


@pytest.mark.parametrize("is_bigendian", [False, True])
def test_byte_order_means_nothing_to_8_bit_encodings(rgb, is_bigendian):
    np.testing.assert_array_equal(decode("rgb8", rgb, is_bigendian=is_bigendian), rgb)


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "UYVY"), ("uyvy", "UYVY"), ("yuv422_yuy2", "YUYV"), ("yuyv", "YUYV")]
)
def test_yuv422_follows_bt601_studio_range(encoding, order):
    random = np.random.default_rng(2)
    luma = random.integers(16, 236, (H, W))
    u, v = random.integers(96, 160, (2, H, W // 2))
    packed = np.empty((H, W // 2, 4), np.uint8)
    planes = {"U": [u], "V": [v], "Y": [luma[:, 0::2], luma[:, 1::2]]}
    for place, plane in enumerate(order):
        packed[..., place] = planes[plane].pop(0)

    expected = bt601(luma, u.repeat(2, 1), v.repeat(2, 1))
    assert np.abs(decode(encoding, packed, padding=4) - expected).max() <= 1.5


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(("encoding", "order"), [("nv12", "UV"), ("nv21", "VU")])
def test_nv12_has_one_colour_for_four_pixels_after_all_brightness(encoding, order, padding):
    random = np.random.default_rng(4)
    planes = dict(zip("UV", random.integers(96, 160, (2, H // 2, W // 2)), strict=True))
    luma = random.integers(16, 236, (H, W))
    colour = np.stack([planes[letter] for letter in order], -1).reshape(H // 2, W)
    read = decode(encoding, np.concatenate([luma, colour]).astype(np.uint8), padding=padding)
    u, v = (planes[letter].repeat(2, 0).repeat(2, 1) for letter in "UV")
    assert read.shape == (H, W, 3)
    assert np.abs(read - bt601(luma, u, v)).max() <= 1.5


def bt601(luma, u, v):
    """RGB of Y'CbCr in studio range, 16 to 235 (ITU-R BT.601); all [H, W]."""
    y, cb, cr = 1.164 * (luma - 16), u - 128, v - 128
    return np.stack([y + 1.596 * cr, y - 0.813 * cr - 0.391 * cb, y + 2.018 * cb], -1).clip(0, 255)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_keeps_each_colour_where_its_own_sensor_is(pattern):
    colour = {"r": 200, "g": 120, "b": 40}
    tile = np.array([colour[c] for c in pattern], np.uint8).reshape(2, 2)
    read = decode(f"bayer_{pattern}8", np.tile(tile, (H // 2, W // 2)), padding=1)
    np.testing.assert_array_equal(read[1:-1, 1:-1], np.broadcast_to([200, 120, 40], (H - 2, W - 2, 3)))


def test_the_result_has_memory_of_its_own(rgb):
    message = bytearray(rgb.tobytes())
    read = decode_image("rgb8", H, W, W * 3, False, message)
    message[:] = bytes(len(message))
    np.testing.assert_array_equal(read, rgb)
    assert read.flags.c_contiguous
    assert read.flags.writeable


def test_the_last_rows_padding_may_be_missing(rgb):
    padded = np.pad(rgb.reshape(H, -1), ((0, 0), (0, 9))).tobytes()[:-9]
    np.testing.assert_array_equal(decode_image("rgb8", H, W, W * 3 + 9, False, padded), rgb)


@pytest.mark.parametrize("encoding", ["", "RGB8", "nv24", "32FC1", "16UC1", "garbage"])
def test_an_unknown_encoding_is_answered_with_the_known_ones(encoding):
    with pytest.raises(DpmError) as error:
        decode_image(encoding, H, W, W * 3, False, bytes(H * W * 3))
    assert f"'{encoding}'" in str(error.value)
    assert all(known in str(error.value) for known in ENCODINGS)


@pytest.mark.parametrize(
    ("height", "width", "step", "size", "words"),
    [
        (0, W, W * 3, 0, "at least one pixel"),
        (H, 0, 0, 0, "at least one pixel"),
        (H, W, W * 3 - 1, H * W * 3, "step is 23 bytes; 8 pixels of 'rgb8' need 24"),
        (H, W, W * 3, H * W * 3 - 1, "data is 143 bytes"),
        (2**31, 2**31, 2**31 * 3, 10, "data is 10 bytes"),
    ],
)
def test_contradicting_sizes_are_named(height, width, step, size, words):
    with pytest.raises(DpmError, match=words):
        decode_image("rgb8", height, width, step, False, bytes(size))


def test_half_a_colour_pair_is_refused():
    with pytest.raises(DpmError, match="even width"):
        decode_image("yuv422", 2, 3, 6, False, bytes(12))
    with pytest.raises(DpmError, match="even height"):
        decode_image("nv12", 3, 2, 2, False, bytes(12))


def test_the_colour_of_nv12_may_not_be_missing():
    with pytest.raises(DpmError, match="data is 48 bytes; 8 x 6 'nv12' of step 8 needs 72"):
        decode_image("nv12", H, W, W, False, bytes(H * W))


def encoded(rgb, extension):
    return cv2.imencode(extension, rgb[..., ::-1])[1].tobytes()


def test_png_comes_back_exactly(rgb):
    np.testing.assert_array_equal(decode_compressed("rgb8; png compressed bgr8", encoded(rgb, ".png")), rgb)


def test_jpeg_comes_back_as_rgb():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert np.abs(decode_compressed("jpeg", encoded(red, ".jpg")).astype(int) - red).max() <= 2


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_the_declared_size_is_read_without_unpacking(rgb, extension):
    assert declared_size(encoded(rgb, extension)) == (H, W)
    progressive = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert declared_size(progressive[:2] + b"\xff" + progressive[2:]) == (H, W)
    assert declared_size(b"GIF89a") == declared_size(b"") == (0, 0)


def test_a_file_that_declares_more_than_any_camera_has_is_refused_before_it_is_unpacked(rgb):
    whole = bytearray(encoded(rgb, ".png"))
    whole[16:24] = (30_000).to_bytes(4, "big") * 2
    with pytest.raises(DpmError, match="declares 30000 x 30000 pixels; send at most 134217728"):
        decode_compressed("png", bytes(whole))


def test_other_files_are_not_even_tried(rgb):
    with pytest.raises(DpmError, match="is no JPEG or PNG"):
        decode_compressed("tiff", encoded(rgb, ".tiff"))


def test_a_camera_that_pads_its_jpegs_is_read(rgb):
    whole = encoded(rgb, ".jpg")
    np.testing.assert_array_equal(decode_compressed("jpeg", whole + bytes(100)), decode_compressed("jpeg", whole))


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_jpeg_cut_short_is_not_filled_with_grey(keep):
    whole = encoded(np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8), ".jpg")
    with pytest.raises(DpmError, match="cut short"):
        decode_compressed("jpeg", whole[: int(keep * len(whole))])


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(DpmError, match="no JPEG or PNG"):
        decode_compressed("png", data)


def test_compressed_depth_is_not_taken_for_a_picture():
    with pytest.raises(DpmError, match="colour topic"):
        decode_compressed("16UC1; compressedDepth png", b"\0" * 12)
