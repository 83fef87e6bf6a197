# SPDX-License-Identifier: Apache-2.0
"""Motion and trajectories as markers that RViz and Foxglove draw."""

from __future__ import annotations

from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from dpm_core.io.colors import HUES, hue_of

if TYPE_CHECKING:
    from dpm_core.types import Cloud, Float32, Tracks

_FLOW_COLOR = ColorRGBA(r=1.0, g=0.82, b=0.2, a=1.0)
_OLDEST_ALPHA = 0.1
_GREATEST_ID = 2**31


def flow_markers(header: Header, cloud: Cloud, seconds: float, most: int, width: float) -> MarkerArray:
    """One LINE_LIST: from where each moving point is to where it will be.

    Args:
        header: names the frame of the cloud.
        cloud: its velocities are per second.
        seconds: whose motion a line shows.
        most: lines; of more moving points some are left out, evenly.
        width: of a line, in the unit of the cloud.
    """
    moving = np.flatnonzero(cloud.dynamic)
    if len(moving) > most:
        moving = moving[np.linspace(0, len(moving) - 1, most).round().astype(np.intp)]
    begin = cloud.points[moving]
    ends = np.stack([begin, begin + seconds * cloud.velocity[moving]], 1).reshape(-1, 3)
    marker = _marker(header, "flow", 0, Marker.LINE_LIST, width)
    marker.action = Marker.ADD if len(ends) else Marker.DELETE
    marker.color = _FLOW_COLOR
    marker.points = _points(ends)
    return MarkerArray(markers=[marker])


def track_markers(header: Header, tracks: Tracks, lifetime: float, width: float) -> MarkerArray:
    """A LINE_STRIP for each point that was seen at two instants or more: a hue of its own, fading into the past.

    Args:
        header: names the map frame.
        tracks: the identity of a point is the id of its marker.
        lifetime: seconds that a strip is shown without news.
        width: of a line, in the unit of the map.
    """
    length = len(tracks.stamps_ns)
    known = np.isfinite(tracks.points).all(-1).sum(0)
    seconds, nanoseconds = divmod(round(lifetime * 1e9), 10**9)
    strip = _marker(header, "tracks", 0, Marker.LINE_STRIP, width)
    strip.lifetime = Duration(sec=seconds, nanosec=nanoseconds)
    markers = []
    for track in np.flatnonzero(known >= 2):
        number = int(tracks.ids[track])
        marker = copy(strip)  # a new one makes a dozen messages of its own: a third of all this
        marker.id = number % _GREATEST_ID
        marker.points = _points(tracks.points[length - known[track] :, track])
        marker.colors = _fading(number % HUES, length)[length - known[track] :]
        markers.append(marker)
    return MarkerArray(markers=markers)


def anew(header: Header, then: MarkerArray | None = None) -> MarkerArray:
    """Takes away all that was drawn before, and draws `then`."""
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL), *(then.markers if then else ())])


@lru_cache(maxsize=2 * HUES)  # lengths grow until a track is full
def _fading(hue: int, length: int) -> list[ColorRGBA]:
    """Colours from the oldest to the newest instant."""
    red, green, blue = (float(channel) / 255 for channel in hue_of(hue))
    alphas = np.linspace(_OLDEST_ALPHA, 1.0, length).tolist()
    return [ColorRGBA(r=red, g=green, b=blue, a=alpha) for alpha in alphas]


def _marker(header: Header, namespace: str, number: int, kind: int, width: float) -> Marker:
    marker = Marker(header=header, ns=namespace, id=number, type=kind)
    marker.scale.x = width
    return marker


def _points(positions: Float32) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in positions.tolist()]
