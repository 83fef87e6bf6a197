# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from dpm_core.errors import DpmError
from dpm_core.io.depth import decode_depth

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
