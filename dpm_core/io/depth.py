# SPDX-License-Identifier: Apache-2.0
"""Depth images of sensors to metres, with no ROS: the same code for live topics and for bags (REP-118)."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import DpmError
from ..types import Float32
from .images import Layout, Pixels, packed_rows

DEPTH_ENCODINGS: tuple[str, ...] = ("16UC1", "mono16", "32FC1")

_HEADER_BYTES = 12  # of compressed_depth_image_transport: the format, then two floats that quantise inverse depth


def decode_depth(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: Pixels, unit: float = 0.001
) -> Float32:
    """Depth of the fields of a sensor_msgs/Image.

    Args:
        encoding: 16UC1 (also called mono16) in units, or 32FC1 in metres.
        height: rows.
        width: pixels a row.
        step: bytes a row, padding included.
        is_bigendian: byte order.
        data: at least step * height bytes; the last row's padding may be missing.
        unit: metres in one unit; millimetres unless a driver thinks otherwise.

    Returns:
        [height, width] float32, metres; 0 or not finite where there is none.

    Raises:
        DpmError: the encoding is not one of these, or the sizes contradict each other.
    """
    if encoding not in DEPTH_ENCODINGS:
        raise DpmError(f"depth encoding '{encoding}' is not known; send one of: {', '.join(DEPTH_ENCODINGS)}")
    kind, metres_per_unit = ("f4", 1.0) if encoding == "32FC1" else ("u2", unit)
    dtype = np.dtype(kind).newbyteorder(">" if is_bigendian else "<")
    layout = Layout(1, np.asarray, dtype.str)
    rows = packed_rows(encoding, layout, height, width, step, data)
    metres: Float32 = (rows.view(dtype).reshape(height, width) * np.float32(metres_per_unit)).astype(np.float32)
    return metres


def decode_compressed_depth(format: str, data: Pixels, unit: float = 0.001) -> Float32:
    """Depth of the fields of a sensor_msgs/CompressedImage: a 16-bit PNG, or what the compressedDepth transport sends.

    Args:
        format: the message's own words; "compressedDepth" tells the transport, whose 12 bytes of header come first.
        data: header, if any, and a whole PNG.
        unit: metres in one unit of the PNG, where the transport does not say "32FC1".

    Returns:
        [H, W] float32, metres; 0 or not finite where there is none.

    Raises:
        DpmError: the data is no 16-bit PNG.
    """
    encoded = np.frombuffer(data, np.uint8)
    header = encoded[:_HEADER_BYTES] if "compressedDepth" in format else encoded[:0]
    png = encoded[len(header) :]
    try:
        pixels = cv2.imdecode(png, cv2.IMREAD_UNCHANGED) if png.size else None
    except cv2.error:  # a size in the header beyond what the decoder allows
        pixels = None
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise DpmError(f"depth image of format '{format}' with {encoded.size} bytes is no 16-bit PNG; send one")
    if not (header.size and format.startswith("32FC1")):
        return np.asarray(pixels * np.float32(unit), np.float32)
    scale, offset = header[4:].view("<f4")  # of the inverse depth: 1 / z = (v − offset) / scale
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.where(pixels > 0, scale / (pixels - offset), np.nan)
    return np.asarray(metres, np.float32)
