# SPDX-License-Identifier: Apache-2.0
"""Motion and trajectories as markers that RViz and Foxglove draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Duration
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker

from dpm_core.io.colors import HUES, hue_of

from .cdr import LARGEST, CdrWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dpm_core.types import Cloud, Float32, Tracks

_FLOW_COLOR = ColorRGBA(r=1.0, g=0.82, b=0.2, a=1.0)
_OLDEST_ALPHA = 0.1
_GREATEST_ID = 2**31
_ONE_COLOR = np.empty((0, 4), "<f4")  # that of the marker itself


@dataclass(frozen=True)
class Lines:
    """N markers that differ in nothing but these.

    Attributes:
        marker: all else of each of them.
        ids: N numbers.
        points: N times [P, 3] float64, little endian.
        colors: N times [P, 4] float32, little endian, red, green, blue, alpha; [0, 4] for the marker's own colour.
    """

    marker: Marker
    ids: Sequence[int]
    points: Sequence[NDArray[np.float64]]
    colors: Sequence[Float32]


def flow_lines(header: Header, cloud: Cloud, seconds: float, most: int, width: float) -> Lines:
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
    ends = np.stack([begin, begin + seconds * cloud.velocity[moving]], 1).reshape(-1, 3).astype("<f8")
    marker = _marker(header, "flow", Marker.LINE_LIST, width)
    marker.action = Marker.ADD if len(ends) else Marker.DELETE
    marker.color = _FLOW_COLOR
    return Lines(marker, [0], [ends], [_ONE_COLOR])


def track_lines(header: Header, tracks: Tracks, lifetime: float, width: float) -> Lines:
    """A LINE_STRIP for each point that was seen at two instants or more: a hue of its own, fading into the past.

    Args:
        header: names the map frame.
        tracks: the identity of a point is the id of its marker.
        lifetime: seconds that a strip is shown without news.
        width: of a line, in the unit of the map.
    """
    length = len(tracks.stamps_ns)
    known = np.isfinite(tracks.points).all(-1).sum(0)
    drawn = np.flatnonzero(known >= 2)
    begins = (length - known[drawn]).tolist()
    ids = tracks.ids[drawn].tolist()
    trails = tracks.points[:, drawn].swapaxes(0, 1).astype("<f8", order="C")
    seconds, nanoseconds = divmod(round(lifetime * 1e9), 10**9)
    strip = _marker(header, "tracks", Marker.LINE_STRIP, width)
    strip.lifetime = Duration(sec=seconds, nanosec=nanoseconds)
    return Lines(
        marker=strip,
        ids=[number % _GREATEST_ID for number in ids],
        points=[trail[begin:] for trail, begin in zip(trails, begins, strict=True)],
        colors=[_fading(number % HUES, length)[begin:] for number, begin in zip(ids, begins, strict=True)],
    )


def marker_array(lines: Lines | None, anew: Header | None = None) -> bytes:
    """A MarkerArray as CDR bytes. anew: take away first all that was drawn before, of what this header says."""
    array = CdrWriter()
    array.number("I", (anew is not None) + (len(lines.ids) if lines is not None else 0))
    if anew is not None:
        array.message(Marker(header=anew, action=Marker.DELETEALL))
    if lines is not None:
        _draw(array, lines)
    return array.whole()


_FIELDS = tuple(Marker.get_fields_and_field_types())
_ID, _POINTS = _FIELDS.index("id"), _FIELDS.index("points")
_UP_TO_ID, _UP_TO_POINTS, _AFTER_COLORS = _FIELDS[:_ID], _FIELDS[_ID + 1 : _POINTS], _FIELDS[_POINTS + 2 :]


def _draw(array: CdrWriter, lines: Lines) -> None:
    @cache
    def same(fields: tuple[str, ...], begin: int) -> bytes:
        piece = CdrWriter(begin)
        piece.message(lines.marker, fields)
        return piece.bytes()

    for number, points, colors in zip(lines.ids, lines.points, lines.colors, strict=True):
        array.piece(same(_UP_TO_ID, array.at % LARGEST))
        array.number("i", number)
        array.piece(same(_UP_TO_POINTS, array.at % LARGEST))
        array.rows(points)
        array.rows(colors)
        array.piece(same(_AFTER_COLORS, array.at % LARGEST))


@lru_cache(maxsize=2 * HUES)  # lengths grow until a track is full
def _fading(hue: int, length: int) -> Float32:
    """[length, 4] from the oldest to the newest instant."""
    colors = np.empty((length, 4), "<f4")
    colors[:, :3] = np.array(hue_of(hue)) / 255
    colors[:, 3] = np.linspace(_OLDEST_ALPHA, 1.0, length)
    return colors


def _marker(header: Header, namespace: str, kind: int, width: float) -> Marker:
    marker = Marker(header=header, ns=namespace, type=kind)
    marker.scale.x = width
    return marker
