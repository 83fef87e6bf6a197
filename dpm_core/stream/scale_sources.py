# SPDX-License-Identifier: Apache-2.0
"""How many metres one unit of the map is, by each sensor that can tell: depth, odometry, the height of the camera."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.fit import Fit
from ..types import Float32, Float64

_MOST_PIXELS = 4096
_FEWEST_PIXELS = 32  # fewer say nothing of their own spread
_INDEPENDENT_LOOKS = 16  # an image's pixels err together in patches: it counts as so many, not as its pixels
_STEP_M = 0.25  # of the odometry between two measurements
_ODOMETRY_SIGMA_M = 0.01  # of the distance of such a step: of wheels and of visual odometry alike
_PLANES = 200  # tried for the ground
_STEEPEST = math.radians(45)  # that the ground may lie to the camera's x–z plane
_ON_PLANE = 0.02  # of the height: what lies this near to a plane is on it
_LEAST_GROUND = 0.1  # of the points
_MOST_BELOW = 0.05  # of the points may be seen under the ground, by error or by reflection


class Measurement(NamedTuple):
    """One look at the scale.

    Attributes:
        log_scale: natural logarithm of metres per unit.
        sigma: its standard deviation, which is that of the scale as a fraction of it.
        source: "depth", "odometry" or "height".
    """

    log_scale: float
    sigma: float
    source: str


def from_depth(depth: Float32, sensed: Float32, fit: Fit) -> Measurement | None:
    """The median of log(sensed / depth) over the pixels that have both.

    Args:
        depth: [H, W] along the optical axis, map units, the fitted image's pixels; not > 0 where there is none.
        sensed: [h, w] metres, the same view before fitting, of any size; 0 or NaN where there is none.
        fit: how the view was fitted.

    Returns:
        None where too few pixels have both.
    """
    rows, columns = _thinned(depth.shape)
    # Pixel areas scale about the image's corner, half a pixel before the first pixel's centre.
    v, u = (
        np.floor((index + origin + 0.5) * (there / resized)).astype(int)
        for index, origin, resized, there in zip((rows, columns), fit.origin, fit.resized, sensed.shape, strict=True)
    )
    rows, v = (each[(v >= 0) & (v < sensed.shape[0])] for each in (rows, v))
    columns, u = (each[(u >= 0) & (u < sensed.shape[1])] for each in (columns, u))
    ours, theirs = depth[np.ix_(rows, columns)], sensed[np.ix_(v, u)]
    both = (ours > 0) & (theirs > 0) & np.isfinite(ours) & np.isfinite(theirs)
    return _median(np.log(theirs[both]) - np.log(ours[both]), "depth")


class Odometer:
    """Distances that the robot's odometry went, against the same distances in the map.

    Each measurement is of the chord between two places at least 0.25 m apart; the next begins where it ended, so that
    measurements are independent, standing still measures nothing, and what either side drifts hardly matters.
    """

    def __init__(self) -> None:
        self._from: tuple[Float64, Float64] | None = None

    def forget(self) -> None:
        """Begin anew: what follows is not in the unit of what was."""
        self._from = None

    def measure(self, odom_from_camera: Float64, map_from_camera: Float64) -> Measurement | None:
        """The scale, where this place ends a step.

        Args:
            odom_from_camera: [4, 4] metres.
            map_from_camera: [4, 4] map units, of the same instant.
        """
        there, here = odom_from_camera[:3, 3], map_from_camera[:3, 3]
        if self._from is None:
            self._from = there, here
            return None
        metres, units = (float(np.linalg.norm(to - begun)) for to, begun in zip((there, here), self._from, strict=True))
        if metres < _STEP_M:
            return None
        self._from = there, here
        return Measurement(math.log(metres / units), _ODOMETRY_SIGMA_M / metres, "odometry") if units > 0 else None


def from_height(points: Float32, height: float) -> Measurement | None:
    """The ground is `height` metres below the camera.

    The ground is the plane with most points on it among those that lie below the camera, are less than 45° from level
    as the camera is mounted (image rows downwards, so roll is small; pitch is free up to that), and have next to
    nothing under them. Found by RANSAC over three-point planes, then fitted to the points on it.

    Args:
        points: [H, W, 3] in the camera (x right, y down, z forward), map units; NaN where there is none.
        height: of the camera above the ground, metres.

    Returns:
        None where no plane qualifies.
    """
    rows, columns = _thinned(points.shape[:2])
    seen = points[np.ix_(rows, columns)].reshape(-1, 3).astype(np.float64)
    seen = seen[np.isfinite(seen).all(-1)]
    if len(seen) < _FEWEST_PIXELS:
        return None
    on_ground = _largest_ground(seen)
    if on_ground is None:
        return None
    normal, units = _fitted_plane(seen[on_ground])
    return _median(math.log(height) - np.log(np.maximum(seen[on_ground] @ normal, 1e-9 * units)), "height")


def _largest_ground(points: Float64) -> NDArray[np.bool_] | None:
    """[N] bool, the points on the best plane."""
    random = np.random.default_rng(0)  # the same points give the same plane
    corners = points[random.integers(0, len(points), (_PLANES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=-1)
    normals, corners = normals[lengths > 0] / lengths[lengths > 0, None], corners[lengths > 0, 0]
    normals *= np.where(normals[:, 1:2] < 0, -1, 1)  # downwards
    heights = np.einsum("nc,nc->n", normals, corners)
    level = (normals[:, 1] > math.cos(_STEEPEST)) & (heights > 0)
    normals, heights = normals[level], heights[level]
    if not len(normals):
        return None
    above = 1 - points @ normals.T / heights  # [N, planes], fractions of the height
    on_plane = np.abs(above) < _ON_PLANE
    clear = (above < -3 * _ON_PLANE).mean(0) < _MOST_BELOW
    votes = on_plane.mean(0) * clear
    best = int(votes.argmax())
    return on_plane[:, best] if votes[best] >= _LEAST_GROUND else None


def _fitted_plane(points: Float64) -> tuple[Float64, float]:
    """Unit normal, downwards, and distance from the camera of the plane n · x = d nearest to the points."""
    centre = points.mean(0)
    normal = np.linalg.svd(points - centre, full_matrices=False)[2][2]
    normal = normal * np.sign(normal @ centre)
    return normal, float(normal @ centre)


def _median(logs: NDArray[np.floating], source: str) -> Measurement | None:
    """The median of many pixels' logarithms; its σ from their spread (1.4826 MAD; √(π/2) is the median's price)."""
    if logs.size < _FEWEST_PIXELS:
        return None
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    return Measurement(middle, math.sqrt(math.pi / 2 / _INDEPENDENT_LOOKS) * spread, source)


def _thinned(size: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every k-th row and column."""
    step = max(1, round((size[0] * size[1] / _MOST_PIXELS) ** 0.5))
    return np.arange(0, size[0], step), np.arange(0, size[1], step)
