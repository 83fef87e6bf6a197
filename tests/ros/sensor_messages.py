# SPDX-License-Identifier: Apache-2.0
"""What the sensors of a robot send beside the images of the oracle's world."""

import numpy as np
import oracle
from dpm_ros import conversions
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image

from dpm_core.geometry.frame_tree import pose_from
from dpm_core.types import Lens

MOUNT = pose_from((0.1, 0.0, 0.4), (-0.5, 0.5, -0.5, 0.5))  # optical axes on a body
OTHER_K = oracle.INTRINSICS * [[1.2], [1.1], [1]]
LENS = Lens("plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0), tuple(oracle.INTRINSICS.ravel()))


def camera_info(index, matrix=OTHER_K, **changes):
    header = conversions.header(oracle.frame(index).stamp_ns, "camera")
    message = conversions.camera_info(header, matrix, oracle.HEIGHT, oracle.WIDTH)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def depth_image(index, encoding="16UC1"):
    metres = oracle.depth(index)
    pixels = np.round(1000 * metres).astype("<u2") if encoding == "16UC1" else metres.astype("<f4")
    message = Image(height=oracle.HEIGHT, width=oracle.WIDTH, encoding=encoding, step=pixels.strides[0])
    message.data = pixels.tobytes()
    message.header = conversions.header(oracle.frame(index).stamp_ns + 5_000_000, "camera")
    return message


def odom_from_base(index):
    """The camera's path, as the wheels under it see it."""
    base_in_world = oracle.world_from_camera(index) @ np.linalg.inv(MOUNT)
    return pose_from((3.0, -2.0, 0.0), (0.0, 0.0, 0.6, 0.8)) @ base_in_world


def odometry(index, at_frame=None):
    stamp_ns = oracle.frame(index if at_frame is None else at_frame).stamp_ns
    header = conversions.header(stamp_ns, "odom")
    message = Odometry(header=header, child_frame_id="base_link")
    message.pose.pose = conversions.pose_message(header, odom_from_base(index)).pose
    return message


def words(pose):
    placed = conversions.pose_message(conversions.header(0, ""), pose).pose
    place, turn = placed.position, placed.orientation
    return " ".join(map(str, (place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w)))
