# SPDX-License-Identifier: Apache-2.0
"""The calibration in a sensor_msgs/CameraInfo, with no ROS: the same code for live topics and for bags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DpmError
from ..geometry.undistort import check_lens
from ..types import Float64, Lens

# In lengths of an image's longer side. From 179.8 to 0.006 degrees are seen; of a sensor a small part may be sent.
_SHORTEST_FOCAL, _LONGEST_FOCAL, _FARTHEST_CENTRE = 1e-3, 1e4, 100.0

_SAME_MODEL = {"": "plumb_bob", "fisheye": "equidistant"}


@dataclass(frozen=True)
class Calibration:
    """A camera as its calibration says.

    Attributes:
        size: (height, width) of its images.
        intrinsics: [3, 3] float64, pixels of the image that is straight: the message's P where it is of this camera
            alone, else its K.
        lens: what bends its images; None where nothing does.
    """

    size: tuple[int, int]
    intrinsics: Float64
    lens: Lens | None

    def for_image(self, height: int, width: int) -> Calibration:
        """Itself.

        Raises:
            DpmError: the image is of another size.
        """
        if self.size != (height, width):
            raise DpmError(
                f"camera_info is of {self.size[1]} x {self.size[0]}, the image is {width} x {height}; it is not used"
            )
        return self


def read_calibration(message: Any) -> Calibration | None:
    """The calibration of a CameraInfo of ROS 2, or of ROS 1, whose letters are capitals.

    Binning and region of interest are taken into account: sizes and pixels are those of the image as it is sent.

    Returns:
        None where the camera says that it is not calibrated (K is zero).

    Raises:
        DpmError: the camera matrix or the distortion cannot be meant, or the image has no pixels.
    """
    K, P, R = (_matrix(message, letter, shape) for letter, shape in (("k", (3, 3)), ("p", (3, 4)), ("r", (3, 3))))
    coefficients = tuple(float(each) for each in _field(message, "d"))
    if not K.any():
        return None
    window = _Sent.of(message)
    if 0 in window.size:
        raise DpmError(f"camera_info is of {window.size[1]} x {window.size[0]} pixels; it is not used")
    bent, own = window.pixels(K), window.pixels(P[:, :3])
    if not _is_camera(bent, window.size):
        raise DpmError(f"camera_info has the camera matrix {K.tolist()}; it is no calibration and is not used")
    straight = own if _is_camera(own, window.size) and not _is_turned(R) else bent
    lens = None
    if any(coefficients):
        model = _SAME_MODEL.get(message.distortion_model, message.distortion_model)
        lens = Lens(model, coefficients, tuple(bent.ravel().tolist()))
        check_lens(lens)
    return Calibration(window.size, straight if lens else bent, lens)


@dataclass(frozen=True)
class _Sent:
    """The part of the sensor that is sent, and how many of its pixels make one."""

    corner: tuple[int, int]
    binning: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, message: Any) -> _Sent:
        roi = message.roi
        height, width = (roi.height, roi.width) if roi.height and roi.width else (message.height, message.width)
        binning = max(1, int(message.binning_y)), max(1, int(message.binning_x))
        return cls((int(roi.y_offset), int(roi.x_offset)), binning, (height // binning[0], width // binning[1]))

    def pixels(self, matrix: Float64) -> Float64:
        """The camera matrix in pixels of the image that is sent."""
        sent: Float64 = matrix.copy()
        for row, (corner, binning) in enumerate(zip(self.corner[::-1], self.binning[::-1], strict=True)):
            sent[row] /= binning
            # Pixel areas scale about the image's corner, half a pixel before the first pixel's centre.
            sent[row, 2] = (matrix[row, 2] - corner + 0.5) / binning - 0.5
        return sent


def _is_camera(matrix: Float64, size: tuple[int, int]) -> bool:
    """Whether a camera of any kind may have this matrix; size: (height, width) of its images."""
    if not np.isfinite(matrix).all() or matrix[2].tolist() != [0, 0, 1]:
        return False
    focal, centre, longest = matrix.diagonal()[:2], matrix[:2, 2], max(size)
    return bool(
        (focal > _SHORTEST_FOCAL * longest).all()
        and (focal < _LONGEST_FOCAL * longest).all()
        and abs(matrix[0, 1]) <= focal[0]
        and (abs(centre) <= _FARTHEST_CENTRE * longest).all()
    )


def _is_turned(R: Float64) -> bool:
    """Whether P is not of this camera but of one that R turns, to a stereo pair's common plane."""
    return bool(R.any() and not np.allclose(R, np.eye(3)))


def _matrix(message: Any, letter: str, shape: tuple[int, int]) -> Float64:
    return np.array(_field(message, letter), np.float64).reshape(shape)


def _field(message: Any, letter: str) -> Any:
    return getattr(message, letter if hasattr(message, letter) else letter.upper())
