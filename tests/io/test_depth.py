# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from dpm_core.errors import DpmError
from dpm_core.io.depth import decode_compressed_depth, decode_depth

METRES = np.array([[0.0, 1.234, 65.535], [0.5, 2.0, 3.0]], np.float32)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("encoding", "kind", "unit"), [("16UC1", "u2", 1000), ("mono16", "u2", 1000)])
def test_sixteen_bits_are_millimetres(order, encoding, kind, unit):
    raw = np.round(METRES * unit).astype(order + kind)
    np.testing.assert_allclose(decode_depth(encoding, 2, 3, 6, order == ">", raw.tobytes()), METRES, rtol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_are_metres_and_nan_stays(order):
    raw = METRES.astype(order + "f4")
    raw[0, 0] = np.nan
    depth = decode_depth("32FC1", 2, 3, 12, order == ">", raw.tobytes())
    assert depth.dtype == np.float32
    assert np.isnan(depth[0, 0])
    np.testing.assert_array_equal(depth.ravel()[1:], METRES.ravel()[1:])


def test_padding_of_rows_is_left_out():
    padded = np.zeros((2, 8), np.uint8)
    padded[:, :6] = np.round(METRES * 1000).astype("<u2").view(np.uint8).reshape(2, 6)
    np.testing.assert_allclose(decode_depth("16UC1", 2, 3, 8, False, padded.tobytes()), METRES, rtol=1e-6)


def test_another_unit_is_that_of_the_driver():
    raw = np.round(METRES * 5000 / 10).astype("<u2")
    np.testing.assert_allclose(decode_depth("16UC1", 2, 3, 6, False, raw.tobytes(), unit=0.002), METRES, rtol=1e-3)


def test_a_png_is_read_in_units():
    png = cv2.imencode(".png", np.round(METRES * 1000).astype(np.uint16))[1].tobytes()
    np.testing.assert_allclose(decode_compressed_depth("png", png), METRES, rtol=1e-6)
    sent = bytes(12) + png
    np.testing.assert_allclose(decode_compressed_depth("16UC1; compressedDepth png", sent), METRES, rtol=1e-6)


def test_quantised_inverse_depth_of_the_transport_comes_back():
    """As compressed_depth_image_transport writes it: v = scale / z + offset, 0 where there is none."""
    scale, offset = 20000.0, 3.5
    with np.errstate(divide="ignore"):
        quantised = np.where(METRES > 0, np.round(scale / METRES + offset), 0).astype(np.uint16)
    header = np.int32(0).tobytes() + np.array([scale, offset], "<f4").tobytes()
    depth = decode_compressed_depth("32FC1; compressedDepth png", header + cv2.imencode(".png", quantised)[1].tobytes())
    assert np.isnan(depth[0, 0])
    np.testing.assert_allclose(depth.ravel()[1:], METRES.ravel()[1:], rtol=2e-3)


@pytest.mark.parametrize(
    "data",
    [b"", b"nothing", bytes(12), cv2.imencode(".png", np.zeros((2, 2), np.uint8))[1].tobytes()],
    ids=["empty", "no image", "header alone", "8 bits"],
)
@pytest.mark.parametrize("format", ["png", "16UC1; compressedDepth png", "32FC1; compressedDepth png"])
def test_what_is_no_compressed_depth_is_named(format, data):
    with pytest.raises(DpmError, match="is no 16-bit PNG"):
        decode_compressed_depth(format, data)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("rgb8", 2, 3, 9, False, bytes(18)), "depth encoding 'rgb8' is not known; send one of: 16UC1"),
        (("16UC1", 2, 3, 6, False, bytes(5)), "needs 12"),
        (("32FC1", 2, 3, 6, False, bytes(24)), "need 12"),
        (("32FC1", 0, 3, 12, False, b""), "at least one pixel"),
    ],
)
def test_what_cannot_be_read_is_named(fields, words):
    with pytest.raises(DpmError, match=words):
        decode_depth(*fields)
