# SPDX-License-Identifier: Apache-2.0
"""How the camera moves, and how sure that is: the covariances are measured, where windows contradict each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np

from ..geometry.sim3 import Sim3
from ..types import Float64, Odometry

_KEPT = 50  # newest windows whose contradictions make the scatter
_UNKNOWN = np.diag([1e6] * 3 + [np.pi**2] * 3)  # what may have happened between two windows that share no frame


class CameraOdometry:
    """Pose covariance and twist of the newest camera.

    A frame in two windows is placed by each of them. The second moment of these contradictions, over the newest
    windows, is what one window adds to the error: pose errors add up as a random walk, and a twist has the errors of
    the two poses that it is the difference of. Where the scale is known, its error is added along the way from the
    map's origin, and along the velocity.
    """

    def __init__(self) -> None:
        self._before: dict[int, Float64] = {}
        self._contradictions: deque[Float64] = deque(maxlen=_KEPT)
        self._pose_covariance = np.zeros((6, 6))

    def add(
        self, stamps: Sequence[int], poses: Float64, linked: bool, map_from_chain: Sim3, scale_sigma: float
    ) -> Odometry | None:
        """The newest camera's odometry; None where the window holds no frame before it.

        Args:
            stamps: of the window's S frames, nanoseconds.
            poses: [S, 4, 4] float64, its cameras in the chain's coordinates.
            linked: whether the window shares frames with the one before.
            map_from_chain: with the chain's axes.
            scale_sigma: relative standard deviation of the scale, 0 where it is not known.
        """
        now = dict(zip(stamps, poses, strict=True))
        self._contradictions.extend(self._contradiction(now))
        scatter = np.mean(self._contradictions, axis=0) if self._contradictions else np.zeros((6, 6))
        if self._before:
            self._pose_covariance = self._pose_covariance + (scatter if linked else _UNKNOWN)
        self._before = now
        if len(stamps) < 2:
            return None
        seconds = (stamps[-1] - stamps[-2]) * 1e-9
        newest, previous = poses[-1], poses[-2]
        units = np.diag([map_from_chain.scale] * 3 + [1.0] * 3)
        linear = map_from_chain.scale * (newest[:3, :3].T @ (newest[:3, 3] - previous[:3, 3])) / seconds
        to_camera = np.kron(np.eye(2), newest[:3, :3].T) @ units
        place, still = map_from_chain.pose(newest)[:3, 3], np.zeros(3)
        return Odometry(
            pose_covariance=units @ self._pose_covariance @ units + _along(np.concatenate([place, still]), scale_sigma),
            linear=linear,
            angular=_rotation_vector(previous[:3, :3].T @ newest[:3, :3]) / seconds,
            twist_covariance=2 * to_camera @ scatter @ to_camera.T / seconds**2
            + _along(np.concatenate([linear, still]), scale_sigma),
        )

    def _contradiction(self, now: dict[int, Float64]) -> list[Float64]:
        """[6, 6], the second moment over the frames that both windows hold; none where they share none."""
        errors = [_difference(now[stamp], self._before[stamp]) for stamp in now if stamp in self._before]
        return [np.mean([np.outer(error, error) for error in errors], axis=0)] if errors else []


def _difference(one: Float64, other: Float64) -> Float64:
    """[6] translation and rotation vector that take one pose to the other, both along the map's axes."""
    return np.concatenate([one[:3, 3] - other[:3, 3], _rotation_vector(one[:3, :3] @ other[:3, :3].T)])


def _rotation_vector(rotation: Float64) -> Float64:
    """[3] axis times angle, radians."""
    return np.asarray(cv2.Rodrigues(rotation)[0], np.float64)[:, 0]


def _along(vector: Float64, relative_sigma: float) -> Float64:
    """[6, 6] covariance of a vector whose length alone is uncertain."""
    spread: Float64 = relative_sigma**2 * np.outer(vector, vector)
    return spread
