# SPDX-License-Identifier: Apache-2.0
"""What a lens bends made straight again. Source: OpenCV's camera models, which sensor_msgs/CameraInfo names."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DpmError
from ..types import Bool, Float32, Float64, Lens, UInt8

# Numbers of coefficients that OpenCV takes: k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [τx τy]]]] | k1 k2 k3 k4 (fisheye).
COEFFICIENTS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
_STRONGEST = 1e5  # coefficient: those of a narrow lens that were fitted to little reach thousands


def check_lens(lens: Lens) -> None:
    """Refuse a lens that cannot be meant.

    Raises:
        DpmError: the model is not known, or its coefficients are too many, too few, not finite or beyond any lens.
    """
    if lens.model not in COEFFICIENTS:
        raise DpmError(f"distortion model '{lens.model}' is not known; choose one of: {', '.join(COEFFICIENTS)}")
    counts = COEFFICIENTS[lens.model]
    if len(lens.coefficients) not in counts:
        asked = " or ".join(map(str, counts))
        raise DpmError(f"distortion model '{lens.model}' has {len(lens.coefficients)} coefficients; it takes {asked}")
    if not np.isfinite(lens.coefficients).all():
        raise DpmError(f"distortion coefficients {lens.coefficients} are not finite; calibrate the camera anew")
    if np.abs(lens.coefficients).max() > _STRONGEST:
        raise DpmError(f"distortion coefficients {lens.coefficients} are of no lens; calibrate the camera anew")


def undistort(image: UInt8, lens: Lens, intrinsics: Float64) -> UInt8:
    """The image that a pinhole camera with `intrinsics` would have seen.

    Args:
        image: [H, W, 3] uint8, as the camera gave it.
        lens: what bent it.
        intrinsics: [3, 3] pixels of the image that is wanted, of the same size.

    Returns:
        [H, W, 3] uint8, bilinear; black where the camera did not see.

    Raises:
        DpmError: the lens cannot be meant.
    """
    sources = _sources(lens, tuple(intrinsics.ravel().tolist()), image.shape[:2])
    straight = cv2.remap(image, sources.columns, sources.rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(straight, np.uint8)


def seen_through(lens: Lens, intrinsics: Float64, size: tuple[int, int]) -> Bool:
    """Which pixels of the straight image the camera saw.

    Args:
        lens: what bent the image.
        intrinsics: [3, 3] pixels of the straight image.
        size: (H, W) of both.

    Returns:
        [H, W] bool.

    Raises:
        DpmError: the lens cannot be meant.
    """
    height, width = size
    columns, rows = _sources(lens, tuple(intrinsics.ravel().tolist()), size)
    return (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)


def undistort_depth(depth: Float32, lens: Lens, intrinsics: Float64, size: tuple[int, int]) -> Float32:
    """Depth of the same bent view, made straight with it: nearest pixels, for depths of two surfaces have no mean.

    Args:
        depth: [h, w] float32, of any size.
        lens: what bent the view, in pixels of the image of `size`.
        intrinsics: [3, 3] pixels of the straight image of `size`.
        size: (H, W) of that image.

    Returns:
        [H, W] float32; 0 where there is none.

    Raises:
        DpmError: the lens cannot be meant.
    """
    sources = _sources(lens, tuple(intrinsics.ravel().tolist()), size)
    # Pixel areas scale about the image's corner, half a pixel before the first pixel's centre.
    columns = (sources.columns + 0.5) * np.float32(depth.shape[1] / size[1]) - np.float32(0.5)
    rows = (sources.rows + 0.5) * np.float32(depth.shape[0] / size[0]) - np.float32(0.5)
    straight = cv2.remap(depth, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(straight, np.float32)


class _Sources(NamedTuple):
    """Where each pixel of the straight image lies in the bent one, [H, W] float32 each."""

    columns: NDArray[np.float32]
    rows: NDArray[np.float32]


@lru_cache(maxsize=4)  # once a calibration: it is the costly half
def _sources(lens: Lens, intrinsics: tuple[float, ...], size: tuple[int, int]) -> _Sources:
    check_lens(lens)
    bent, straight = (np.array(matrix, np.float64).reshape(3, 3) for matrix in (lens.intrinsics, intrinsics))
    coefficients = np.array(lens.coefficients, np.float64)
    make = cv2.fisheye.initUndistortRectifyMap if lens.model == "equidistant" else cv2.initUndistortRectifyMap
    columns, rows = make(bent, coefficients, np.eye(3), straight, size[::-1], cv2.CV_32FC1)
    return _Sources(np.asarray(columns, np.float32), np.asarray(rows, np.float32))
