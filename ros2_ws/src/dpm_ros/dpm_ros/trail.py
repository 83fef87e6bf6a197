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
    from sensor_msgs.msg import PointCloud2
    from std_msgs.msg import Header

    from dpm_core.types import Cloud, Float32, UInt8

_NAMES = ("x", "y", "z", "rgb", "age")
_LAYOUT = CloudLayout(
    tuple(CloudField(name, 4 * place, PointField.FLOAT32) for place, name in enumerate(_NAMES)), 4 * len(_NAMES)
)


class Trail:
    """The moving points of the newest instants. Memory is bounded: 20 bytes a point.

    Args:
        seconds: from the newest instant back to the oldest that is kept.
        most: points; where they are more, the oldest instants go, and of a single one points are left out, evenly.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._period_ns = round(seconds * 1e9)
        self._most = most
        self._instants: deque[tuple[int, Float32]] = deque()  # its points as the message has them

    def add(self, stamp_ns: int, cloud: Cloud) -> None:
        """What moves in a cloud, and is finite; stamp_ns: not earlier than those before."""
        moving = np.flatnonzero(cloud.dynamic)
        moving = moving[np.isfinite(cloud.points[moving]).all(-1)]
        if len(moving) > self._most:
            moving = moving[np.linspace(0, len(moving) - 1, self._most).round().astype(np.intp)]
        self._instants.append((stamp_ns, _packed(cloud.points[moving], cloud.colors[moving])))
        while self._instants[0][0] < stamp_ns - self._period_ns or self._size > self._most:
            self._instants.popleft()

    def forget(self) -> None:
        """A new map begins."""
        self._instants.clear()

    def message(self, header: Header) -> PointCloud2:
        """x y z rgb age (20 bytes a point), the oldest first; age is in seconds before the newest instant.

        header: names the frame of the clouds that were added.
        """
        newest_ns = self._instants[-1][0] if self._instants else 0
        for stamp_ns, points in self._instants:
            points[:, -1] = (newest_ns - stamp_ns) * 1e-9
        data = array("B")
        for _, points in self._instants:
            data.frombytes(points.data.cast("B") if points.size else b"")
        return conversions.points_message(header, _LAYOUT, data)

    @property
    def _size(self) -> int:
        return sum(len(points) for _, points in self._instants)


def _packed(points: Float32, colors: UInt8) -> Float32:
    """[N, 5] of _NAMES, age to be filled in; rgb is 0x00RRGGBB in the bits of a float, as in all clouds."""
    packed = np.empty((len(points), len(_NAMES)), "<f4")
    packed[:, :3] = points
    red, green, blue = colors.astype("<u4").T
    packed[:, 3] = (red << 16 | green << 8 | blue).view("<f4")
    return packed
