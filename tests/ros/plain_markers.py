# SPDX-License-Identifier: Apache-2.0
"""Markers the plain way: a Python object for each point and each colour."""

from copy import copy

from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray


def plain(lines=None, anew=None):
    """The MarkerArray whose bytes `markers.marker_array` writes of the same."""
    markers = [] if anew is None else [Marker(header=anew, action=Marker.DELETEALL)]
    if lines is not None:
        for number, points, colors in zip(lines.ids, lines.points, lines.colors, strict=True):
            marker = copy(lines.marker)
            marker.id = number
            marker.points = [Point(x=x, y=y, z=z) for x, y, z in points.tolist()]
            marker.colors = [ColorRGBA(r=r, g=g, b=b, a=a) for r, g, b, a in colors.tolist()]
            markers.append(marker)
    return MarkerArray(markers=markers)
