# SPDX-License-Identifier: Apache-2.0
"""Where what moves was a moment ago: points that know their age, so that a view can let them fade."""

from __future__ import annotations

from array import array
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from sensor_msgs.msg import PointField

from dpm_core.kernels import CloudField, CloudLayout

from . import conversions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sensor_msgs.msg import PointCloud2
    from std_msgs.msg import Header

    from dpm_core.types import Cloud, Float32, UInt8

_NAMES = ("x", "y", "z", "rgb", "age")
_POINT = np.dtype([(name, "<u4" if name == "rgb" else "<f4") for name in _NAMES])
_LAYOUT = CloudLayout(
    tuple(CloudField(name, 4 * place, PointField.FLOAT32) for place, name in enumerate(_NAMES)), _POINT.itemsize
)


class Trail:
    """The moving points of the newest instants. Memory is bounded: 15 bytes a point.

    Args:
        seconds: from the newest instant back to the oldest that is kept.
        most: points; where they are more, the oldest instants go, and of a single one points are left out, evenly.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._period_ns = round(seconds * 1e9)
        self._most = most
        self._instants: deque[tuple[int, Float32, UInt8]] = deque()

    def add(self, stamp_ns: int, cloud: Cloud) -> None:
        """What moves in a cloud, and is finite; stamp_ns: not earlier than those before."""
        moving = np.flatnonzero(cloud.dynamic & np.isfinite(cloud.points).all(-1))
        if len(moving) > self._most:
            moving = moving[np.linspace(0, len(moving) - 1, self._most).round().astype(np.intp)]
        self._instants.append((stamp_ns, cloud.points[moving], cloud.colors[moving]))
        while self._instants[0][0] < stamp_ns - self._period_ns or self._size > self._most:
            self._instants.popleft()

    def forget(self) -> None:
        """A new map begins."""
        self._instants.clear()

    def message(self, header: Header) -> PointCloud2:
        """x y z rgb age (20 bytes a point), the oldest first; age is in seconds before the newest instant.

        header: names the frame of the clouds that were added.
        """
        packed = np.concatenate([np.empty(0, _POINT), *(self._packed(*instant) for instant in self._instants)])
        data = array("B")
        data.frombytes(packed.tobytes())
        return conversions.points_message(header, _LAYOUT, data)

    @property
    def _size(self) -> int:
        return sum(len(points) for _, points, _ in self._instants)

    def _packed(self, stamp_ns: int, points: Float32, colors: UInt8) -> NDArray[np.void]:
        """[N] of _POINT; rgb is 0x00RRGGBB in the bits of a float, as in all clouds."""
        newest_ns, _, _ = self._instants[-1]
        packed = np.empty(len(points), _POINT)
        packed["x"], packed["y"], packed["z"] = points.T
        red, green, blue = colors.astype(np.uint32).T
        packed["rgb"] = red << 16 | green << 8 | blue
        packed["age"] = (newest_ns - stamp_ns) * 1e-9
        return packed
