# SPDX-License-Identifier: Apache-2.0
"""cv_bridge, where it imports: under NumPy 2 it breaks on some distributions, and some builds ignore row padding."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sensor_msgs.msg import Image

    from dpm_core.types import UInt8

# Every build of cv_bridge reads these alike; the others go through our own reader.
_BYTES_A_PIXEL = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


@lru_cache(maxsize=1)
def _cv_bridge() -> Any | None:
    try:
        from cv_bridge import CvBridge
    except Exception:  # built against another NumPy, it raises what it likes
        return None
    return CvBridge()


def reads(message: Image) -> bool:
    """Whether cv_bridge is there and reads this message rightly: a plain one, with no padding and nothing missing."""
    row = message.width * _BYTES_A_PIXEL.get(message.encoding, 0)
    plain = row > 0 and message.height > 0 and message.step == row and len(message.data) == row * message.height
    return plain and _cv_bridge() is not None


def rgb(message: Image) -> UInt8:
    """[H, W, 3] uint8 RGB of a message that `reads` accepts, memory of its own."""
    bridge = _cv_bridge()
    assert bridge is not None
    message.is_bigendian = int(sys.byteorder == "big")  # means nothing to bytes, but it is looked at
    return np.array(bridge.imgmsg_to_cv2(message, desired_encoding="rgb8"), np.uint8)
