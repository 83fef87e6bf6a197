# SPDX-License-Identifier: Apache-2.0
"""A ball before a wall, seen by a moving camera: every frame sees the same world, as a real camera does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracle import HEIGHT, INTRINSICS, WIDTH

WALL = 4.0
RADIUS = 0.5
ONWARD = np.array([0.1, 0.0, 0.0])  # from one frame to the next


def passing(index: int) -> np.ndarray:
    """The centre of a ball that goes from left to right through the picture in about fifty frames. [3]."""
    return np.array([-1.8, 0, 2.5]) + ONWARD * index


class BallWorld:
    """A world for OracleEngine. The world's axes are those of the first camera.

    centre: [3] of the ball at a frame's time.
    """

    def __init__(self, centre: Callable[[int], np.ndarray]) -> None:
        self.centre = centre

    def world_from_camera(self, index: int) -> np.ndarray:
        """A camera that goes slowly to the right, and trembles. [4, 4]."""
        pose = np.eye(4)
        pose[:3, 3] = [0.02 * index, 0.02 * np.sin(index), 0]
        return pose

    def moving(self, index: int) -> np.ndarray:
        """[H, W] bool, where the ball is seen."""
        return np.isfinite(self._ball_depth(index))

    def own_points(self, index: int) -> np.ndarray:
        """[H, W, 3] in the world, the frame at its own time."""
        camera = self.world_from_camera(index)[:3, 3]
        wall = WALL - camera[2]
        depth = np.where(self.moving(index), self._ball_depth(index), wall)
        return camera + _RAYS * depth[..., None]

    def points_at(self, index: int, time: int) -> np.ndarray:
        """[H, W, 3] in the world: the frame's content at another frame's time."""
        motion = self.centre(time) - self.centre(index)
        return self.own_points(index) + np.where(self.moving(index)[..., None], motion, 0)

    def _ball_depth(self, index: int) -> np.ndarray:
        """[H, W]: the nearer meeting of each ray with the ball; NaN where they do not meet."""
        to_ball = self.centre(index) - self.world_from_camera(index)[:3, 3]
        squared = (_RAYS**2).sum(-1)
        along = _RAYS @ to_ball
        under_root = along**2 - squared * (to_ball @ to_ball - RADIUS**2)
        with np.errstate(invalid="ignore"):
            return (along - np.sqrt(under_root)) / squared


_V, _U = np.mgrid[:HEIGHT, :WIDTH]
_RAYS = np.stack([_U, _V, np.ones_like(_U)], -1) @ np.linalg.inv(INTRINSICS).T
