# SPDX-License-Identifier: Apache-2.0
"""Camera poses from point maps whose pixels are known: PnP in RANSAC (OpenCV, SQPNP). Source: reference sheet §4.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import Bool, Float32, Float64

REPROJECTION_PIXELS = 5.0
FOCAL_TRIES = 21
# SQPNP samples four points and refines on the inliers: fewer say nothing.
MIN_POINTS = 4


@dataclass(frozen=True)
class PnP:
    """A camera found.

    Attributes:
        world_from_camera: [4, 4] float64.
        focal: pixels, the given or the best of those tried.
        inliers: number of points within the reprojection limit.
    """

    world_from_camera: Float64
    focal: float
    inliers: int


def solve_pnp(
    points: Float32,
    mask: Bool,
    focal: float | None = None,
    principal_point: tuple[float, float] | None = None,
    iterations: int = 10,
) -> PnP | None:
    """The camera that sees every pixel's point at that pixel.

    Args:
        points: [H, W, 3] in the world.
        mask: [H, W], the pixels to use.
        focal: pixels; None tries 21 from half to three times the longer side, and keeps that with most inliers.
        principal_point: pixels; None for (W/2, H/2).
        iterations: of RANSAC.

    Returns:
        None where fewer than four pixels are given or no camera explains them.
    """
    height, width = mask.shape
    usable = mask & np.isfinite(points).all(-1)
    if usable.sum() < MIN_POINTS:
        return None
    v, u = np.nonzero(usable)
    pixels = np.stack([u, v], -1).astype(np.float32)
    centre = principal_point or (width / 2, height / 2)
    side = max(height, width)
    focals = [focal] if focal is not None else np.geomspace(side / 2, side * 3, FOCAL_TRIES).tolist()
    found = [_with_focal(np.ascontiguousarray(points[usable]), pixels, try_, centre, iterations) for try_ in focals]
    return max((camera for camera in found if camera), key=lambda camera: camera.inliers, default=None)


def ransac_pnp(
    points: NDArray[Any], pixels: NDArray[Any], intrinsics: NDArray[Any], iterations: int = 10
) -> tuple[Float64, int] | None:
    """The camera that sees most of the points at their pixels.

    Args:
        points: [N, 3] finite, in the world; N >= 4.
        pixels: [N, 2].
        intrinsics: [3, 3] pixels.
        iterations: of RANSAC.

    Returns:
        world_from_camera [4, 4] float64 and the number of points within the reprojection limit; None where no camera
        explains them.
    """
    success, rotation_vector, translation, inliers = cv2.solvePnPRansac(
        points,
        pixels,
        intrinsics,
        None,
        iterationsCount=iterations,
        reprojectionError=REPROJECTION_PIXELS,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not success:
        return None
    rotation, _ = cv2.Rodrigues(rotation_vector)
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = rotation.T
    world_from_camera[:3, 3] = -(rotation.T @ translation[:, 0])
    return world_from_camera, len(inliers)


def _with_focal(
    points: NDArray[np.float32],
    pixels: NDArray[np.float32],
    focal: float,
    centre: tuple[float, float],
    iterations: int,
) -> PnP | None:
    K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]], np.float32)
    found = ransac_pnp(points, pixels, K, iterations)
    return None if found is None else PnP(found[0], focal, found[1])
