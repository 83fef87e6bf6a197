# SPDX-License-Identifier: Apache-2.0
"""Which of a bag's other sensors are read beside its images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DpmError
from ..geometry.frame_tree import pose_from
from ..types import Float64


@dataclass(frozen=True)
class Sensors:
    """What a bag holds beside images; each that is chosen makes lengths metres.

    Attributes:
        calibration: use the CameraInfo beside the image topic.
        depth_topic: depth images of the same view.
        depth_unit: metres in one unit of 16-bit depth.
        odom_topic: nav_msgs/Odometry, or /tf.
        odom_frame: the robot's odometry frame.
        base_frame: the robot's body, where Odometry does not name it.
        base_from_camera: pose of the camera's optical frame in base_frame, "x y z qx qy qz qw"; without it /tf_static
            tells.
    """

    calibration: bool = True
    depth_topic: str | None = None
    depth_unit: float = 0.001
    odom_topic: str | None = None
    odom_frame: str = "odom"
    base_frame: str = "base_link"
    base_from_camera: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not 0 < self.depth_unit < float("inf"):
            raise DpmError(f"--depth-unit is {self.depth_unit}; it must be more than 0: metres, 0.001 for most")
        pose_of_words(self.base_from_camera)


def pose_of_words(words: str) -> Float64 | None:
    """[4, 4] of "x y z qx qy qz qw", metres; None of no words.

    Raises:
        DpmError: the words are not seven finite numbers, or the quaternion is 0.
    """
    if not words.strip():
        return None
    try:
        x, y, z, qx, qy, qz, qw = map(float, words.replace(",", " ").split())
    except ValueError:
        x = y = z = qx = qy = qz = qw = float("nan")
    pose = pose_from((x, y, z), (qx, qy, qz, qw))
    if not np.isfinite(pose).all():
        raise DpmError(f"'{words}' is no pose; write seven numbers: x y z qx qy qz qw, metres and a quaternion")
    return pose
