# SPDX-License-Identifier: Apache-2.0
"""Between messages and arrays. Stamps are integer nanoseconds on this side, and never pass through a float."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseStamped, Transform, TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from dpm_core.errors import DpmError
from dpm_core.geometry.frame_tree import pose_from
from dpm_core.geometry.rotations import quaternion_from_rotation
from dpm_core.io.depth import decode_depth
from dpm_core.io.images import decode_compressed, decode_image
from dpm_core.kernels import CloudLayout, cloud_layout, pack_cloud

from . import bridge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dpm_core.types import Bool, Cloud, Float32, Float64, UInt8
    from dpm_core.types import Odometry as CameraOdometry

_Message = TypeVar("_Message")


def nanoseconds(stamp: Time) -> int:
    """A message's stamp as one integer."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def require_stamp(stamp: Time) -> None:
    """Refuse a stamp that no message could carry back.

    Raises:
        DpmError: its nanoseconds make up a second or more.
    """
    if stamp.nanosec >= 10**9:
        raise DpmError(f"stamp has {stamp.nanosec} nanoseconds beside its seconds; send less than 1000000000")


def time(stamp_ns: int) -> Time:
    """The stamp of a message."""
    sec, nanosec = divmod(stamp_ns, 10**9)
    return Time(sec=sec, nanosec=nanosec)


def header(stamp_ns: int, frame_id: str) -> Header:
    """The header of a message."""
    return Header(stamp=time(stamp_ns), frame_id=frame_id)


def rgb_from_image(message: Image) -> UInt8:
    """[H, W, 3] uint8 RGB, by cv_bridge where it is there and reads this message rightly, else by our own reader.

    Raises:
        DpmError: the encoding is not known, or the sizes contradict each other.
    """
    if bridge.reads(message):
        return bridge.rgb(message)
    return decode_image(
        message.encoding, message.height, message.width, message.step, bool(message.is_bigendian), message.data
    )


def rgb_from_compressed(message: CompressedImage) -> UInt8:
    """[H, W, 3] uint8 RGB.

    Raises:
        DpmError: the data is not a whole image.
    """
    return decode_compressed(message.format, message.data)


def depth_from_image(message: Image) -> Float32:
    """[h, w] float32, metres; 0 or not finite where there is none.

    Raises:
        DpmError: the encoding is neither 16UC1 nor 32FC1, or the sizes contradict each other.
    """
    return decode_depth(
        message.encoding, message.height, message.width, message.step, bool(message.is_bigendian), message.data
    )


def pose_from_message(message: Pose) -> Float64:
    """[4, 4]; NaN where the quaternion is 0."""
    place, turn = message.position, message.orientation
    return pose_from((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))


def pose_from_transform(message: Transform) -> Float64:
    """parent_from_child, [4, 4]; NaN where the quaternion is 0."""
    place, turn = message.translation, message.rotation
    return pose_from((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))


def camera_info(header: Header, intrinsics: Float64, height: int, width: int) -> CameraInfo:
    """An undistorted camera. intrinsics: [3, 3] pixels of an image of this height and width."""
    projection = np.zeros((3, 4))
    projection[:, :3] = intrinsics
    return CameraInfo(
        header=header,
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=np.ascontiguousarray(intrinsics, np.float64).ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
    )


def float_image(header: Header, pixels: Float32) -> Image:
    """32FC1. pixels: [H, W] float32."""
    return _image(header, pixels.astype(np.float32, copy=False), "32FC1")


def mask_image(header: Header, mask: Bool) -> Image:
    """mono8, 255 where true. mask: [H, W] bool."""
    return _image(header, mask.astype(np.uint8) * 255, "mono8")


@dataclass(frozen=True)
class PackedCloud:
    """A cloud as messages have it: packed once, whichever parts of it are sent.

    Attributes:
        layout: of a point.
        data: its M finite points.
        dynamic: [M] bool, whether each moves.
    """

    layout: CloudLayout
    data: array[int]
    dynamic: Bool

    @classmethod
    def of(cls, cloud: Cloud, with_motion: bool) -> PackedCloud:
        """Finite points: x y z rgb in 16 bytes, or with confidence vx vy vz in 32."""
        motion = (_tensor(cloud.confidence), _tensor(cloud.velocity)) if with_motion else ()
        layout = cloud_layout(colors=True, confidence=with_motion, velocity=with_motion)
        data = _room(len(cloud.points) * layout.step)
        written = len(pack_cloud(_tensor(cloud.points), _tensor(cloud.colors), *motion, out=data))
        if written == len(data):
            return cls(layout, data, cloud.dynamic)
        del data[written:]
        return cls(layout, data, cloud.dynamic[np.isfinite(cloud.points).all(-1)])

    def message(self, header: Header) -> PointCloud2:
        """All points, unorganised."""
        return points_message(header, self.layout, self.data)

    def part(self, header: Header, chosen: Bool) -> PointCloud2:
        """The chosen points, unorganised. chosen: [M] bool."""
        data = _room(int(np.count_nonzero(chosen)) * self.layout.step)
        if data:
            point = np.dtype((np.void, self.layout.step))
            np.compress(chosen, np.frombuffer(self.data, point), out=np.frombuffer(data, point))
        return points_message(header, self.layout, data)


def points_message(header: Header, layout: CloudLayout, data: array[int]) -> PointCloud2:
    """A message of the packed points of `data`, unorganised, all of them finite. data: whole points of the layout."""
    message = _assignable(PointCloud2)
    message.header = header
    message.height = 1
    message.width = len(data) // layout.step
    message.fields = [
        PointField(name=field.name, offset=field.offset, datatype=field.datatype, count=1) for field in layout.fields
    ]
    message.is_bigendian = False
    message.point_step = layout.step
    message.row_step = len(data)
    message.is_dense = True
    message.data = data
    return message


def pose_message(header: Header, world_from_camera: Float64) -> PoseStamped:
    """world_from_camera: [4, 4] rigid."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = map(float, world_from_camera[:3, 3])
    _set_quaternion(pose.orientation, world_from_camera)
    return PoseStamped(header=header, pose=pose)


def odometry_message(pose: PoseStamped, child_frame: str, odometry: CameraOdometry) -> Odometry:
    """A camera's pose, and its twist along the camera's axes, each with its covariance (REP-105)."""
    message = Odometry(header=pose.header, child_frame_id=child_frame)
    message.pose.pose = pose.pose
    message.pose.covariance = np.ascontiguousarray(odometry.pose_covariance, np.float64).ravel()
    twist = message.twist.twist
    twist.linear.x, twist.linear.y, twist.linear.z = map(float, odometry.linear)
    twist.angular.x, twist.angular.y, twist.angular.z = map(float, odometry.angular)
    message.twist.covariance = np.ascontiguousarray(odometry.twist_covariance, np.float64).ravel()
    return message


def transform_message(header: Header, child_frame: str, parent_from_child: Float64) -> TransformStamped:
    """parent_from_child: [4, 4] rigid; `header` names the parent."""
    transform = Transform()
    translation = transform.translation
    translation.x, translation.y, translation.z = map(float, parent_from_child[:3, 3])
    _set_quaternion(transform.rotation, parent_from_child)
    return TransformStamped(header=header, child_frame_id=child_frame, transform=transform)


def _set_quaternion(quaternion: object, rigid: Float64) -> None:
    xyzw = quaternion_from_rotation(torch.from_numpy(np.ascontiguousarray(rigid[:3, :3]))).tolist()
    for axis, value in zip("xyzw", xyzw, strict=True):
        setattr(quaternion, axis, value)


def _image(header: Header, pixels: Float32 | UInt8, encoding: str) -> Image:
    height, width = pixels.shape
    data = array("B")
    data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    message = _assignable(Image)
    message.header = header
    message.height = height
    message.width = width
    message.encoding = encoding
    message.is_bigendian = int(sys.byteorder == "big")
    message.step = width * pixels.itemsize
    message.data = data
    return message


def _room(size: int) -> array[int]:
    return array("B", b"\0") * size


def _tensor(column: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(column))


def _assignable(message: Callable[..., _Message]) -> _Message:
    """An empty message that takes an array.array without a copy: its checks are on, as always on Humble."""
    try:
        return message(check_fields=True)
    except (AssertionError, TypeError):
        return message()
