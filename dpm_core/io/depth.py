# SPDX-License-Identifier: Apache-2.0
"""Depth images of sensors to metres, with no ROS: the same code for live topics and for bags (REP-118)."""

from __future__ import annotations

import numpy as np

from ..errors import DpmError
from ..types import Float32
from .images import Layout, Pixels, packed_rows

# Metres in one unit of each encoding.
_METRES = {"16UC1": 0.001, "mono16": 0.001, "32FC1": 1.0}
DEPTH_ENCODINGS: tuple[str, ...] = tuple(_METRES)


def decode_depth(encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: Pixels) -> Float32:
    """Depth of the fields of a sensor_msgs/Image.

    Args:
        encoding: 16UC1 (also called mono16) in millimetres, or 32FC1 in metres.
        height: rows.
        width: pixels a row.
        step: bytes a row, padding included.
        is_bigendian: byte order.
        data: at least step * height bytes; the last row's padding may be missing.

    Returns:
        [height, width] float32, metres; 0 or not finite where there is none.

    Raises:
        DpmError: the encoding is not one of these, or the sizes contradict each other.
    """
    if encoding not in _METRES:
        raise DpmError(f"depth encoding '{encoding}' is not known; send one of: {', '.join(DEPTH_ENCODINGS)}")
    dtype = np.dtype("f4" if encoding == "32FC1" else "u2").newbyteorder(">" if is_bigendian else "<")
    layout = Layout(1, np.asarray, dtype.str)
    rows = packed_rows(encoding, layout, height, width, step, data)
    metres: Float32 = (rows.view(dtype).reshape(height, width) * np.float32(_METRES[encoding])).astype(np.float32)
    return metres
