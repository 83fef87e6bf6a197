# SPDX-License-Identifier: Apache-2.0
"""Messages and arrays: bytes as the standard says, stamps to the nanosecond."""

from array import array
from dataclasses import fields

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from dpm_ros import bridge, conversions
from dpm_ros.publishing import WORLD_FROM_OPTICAL
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image, PointField

from dpm_core.errors import DpmError
from dpm_core.io.camera_info import read_calibration
from dpm_core.io.images import decode_image
from dpm_core.types import Cloud, Odometry

HEADER = conversions.header(1_341_846_434_710_184_123, "camera")
INTRINSICS = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1))
def test_stamps_keep_every_nanosecond(sec, nanosec):
    stamp = Time(sec=sec, nanosec=nanosec)
    assert conversions.time(conversions.nanoseconds(stamp)) == stamp


def image(encoding, pixels, step_padding=0):
    height, width = pixels.shape[:2]
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (0, step_padding)))
    data = array("B", rows.astype(np.uint8).tobytes())
    return Image(height=height, width=width, encoding=encoding, step=rows.shape[1], data=data)


@pytest.mark.parametrize(("encoding", "channels"), [("rgb8", 3), ("bgr8", 3), ("rgba8", 4), ("bgra8", 4), ("mono8", 1)])
def test_cv_bridge_and_our_reader_give_the_same_pixels(encoding, channels):
    pytest.importorskip("cv_bridge")
    message = image(encoding, np.random.default_rng(0).integers(0, 256, (5, 7, channels)))
    assert bridge.reads(message)
    ours = decode_image(encoding, 5, 7, message.step, False, message.data)
    np.testing.assert_array_equal(bridge.rgb(message), ours)
    np.testing.assert_array_equal(conversions.rgb_from_image(message), ours)


def test_padded_rows_are_not_left_to_cv_bridge():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    message = image("rgb8", pixels, step_padding=4)
    assert not bridge.reads(message)
    np.testing.assert_array_equal(conversions.rgb_from_image(message), pixels)


def test_images_are_read_where_cv_bridge_does_not_import(monkeypatch):
    monkeypatch.setattr(bridge, "_cv_bridge", lambda: None)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(conversions.rgb_from_image(image("rgb8", pixels)), pixels)


def test_what_no_reader_knows_is_a_users_error():
    with pytest.raises(DpmError, match="'32FC1'"):
        conversions.rgb_from_image(image("32FC1", np.zeros((2, 2, 4))))
    with pytest.raises(DpmError, match="no JPEG"):
        conversions.rgb_from_compressed(CompressedImage(format="jpeg", data=b"nothing"))


def test_calibration_comes_back():
    info = conversions.camera_info(HEADER, INTRINSICS, 480, 640)
    calibration = read_calibration(info)
    np.testing.assert_array_equal(calibration.intrinsics, INTRINSICS)
    assert (calibration.size, calibration.lens) == ((480, 640), None)
    np.testing.assert_array_equal(np.reshape(info.p, (3, 4)), np.c_[INTRINSICS, np.zeros(3)])
    assert (info.header, info.height, info.width, info.distortion_model) == (HEADER, 480, 640, "plumb_bob")


def test_depth_is_read_in_metres():
    millimetres = np.array([[0, 1500], [65535, 2]], np.uint16)
    message = Image(height=2, width=2, encoding="16UC1", step=4, data=millimetres.tobytes())
    np.testing.assert_allclose(conversions.depth_from_image(message), millimetres / 1000, rtol=1e-6)


def test_poses_of_messages_come_back():
    pose = np.eye(4)
    pose[:3] = np.c_[WORLD_FROM_OPTICAL[:3, :3], [1.0, 2.0, 3.0]]
    message = conversions.pose_message(HEADER, pose).pose
    np.testing.assert_allclose(conversions.pose_from_message(message), pose, atol=1e-12)
    transform = conversions.transform_message(HEADER, "camera", pose).transform
    np.testing.assert_allclose(conversions.pose_from_transform(transform), pose, atol=1e-12)


def test_odometry_has_pose_twist_and_their_covariances():
    random = np.random.default_rng(1)
    pose_covariance, twist_covariance = random.normal(size=(2, 6, 6))
    moving = Odometry(pose_covariance, np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), twist_covariance)
    message = conversions.odometry_message(conversions.pose_message(HEADER, np.eye(4)), "camera", moving)
    assert (message.header, message.child_frame_id) == (HEADER, "camera")
    twist = message.twist.twist
    assert [twist.linear.x, twist.linear.y, twist.linear.z] == [1, 2, 3]
    assert [twist.angular.x, twist.angular.y, twist.angular.z] == [4, 5, 6]
    np.testing.assert_array_equal(np.reshape(message.pose.covariance, (6, 6)), pose_covariance)
    np.testing.assert_array_equal(np.reshape(message.twist.covariance, (6, 6)), twist_covariance)


def cloud(count=4):
    random = np.random.default_rng(1)
    return Cloud(
        points=random.normal(size=(count, 3)).astype(np.float32),
        colors=random.integers(0, 256, (count, 3), np.uint8),
        confidence=random.uniform(1, 2, count).astype(np.float32),
        velocity=random.normal(size=(count, 3)).astype(np.float32),
        dynamic=random.random(count) < 0.5,
    )


def read_back(message):
    """By the message's own fields, as any reader does."""
    kinds = {PointField.FLOAT32: "<f4", PointField.UINT8: "u1"}
    assert len(message.data) == message.row_step * message.height == message.width * message.point_step
    kind = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [kinds[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    return np.frombuffer(message.data, kind)


def columns(points, *names):
    return np.stack([points[name] for name in names], -1)


@pytest.mark.parametrize(("with_motion", "step"), [(False, 16), (True, 32)])
def test_a_cloud_is_what_its_fields_say(with_motion, step):
    given_cloud = cloud()
    message = conversions.PackedCloud.of(given_cloud, with_motion).message(HEADER)
    read = read_back(message)
    assert (message.header, message.point_step, message.height, message.is_dense) == (HEADER, step, 1, True)
    np.testing.assert_array_equal(columns(read, "x", "y", "z"), given_cloud.points)
    packed = np.ascontiguousarray(read["rgb"]).view(np.uint32)
    np.testing.assert_array_equal(np.stack([packed >> 16, packed >> 8 & 255, packed & 255], -1), given_cloud.colors)
    if with_motion:
        np.testing.assert_array_equal(read["confidence"], given_cloud.confidence)
        np.testing.assert_array_equal(columns(read, "vx", "vy", "vz"), given_cloud.velocity)


def test_what_is_packed_is_the_message_s_own_data():
    packed = conversions.PackedCloud.of(cloud(), with_motion=False)
    assert packed.message(HEADER).data is packed.data, "not copied"


def test_points_that_are_not_finite_are_left_out():
    holed = cloud()
    holed.points[1, 2] = np.nan
    message = conversions.PackedCloud.of(holed, with_motion=False).message(HEADER)
    assert message.width == 3
    np.testing.assert_array_equal(columns(read_back(message), "x", "y", "z"), holed.points[[0, 2, 3]])


@pytest.mark.parametrize("with_motion", [False, True])
@pytest.mark.parametrize("hole", [None, 1])
def test_a_part_of_a_packed_cloud_is_the_message_of_these_points(with_motion, hole):
    whole = cloud()
    if hole is not None:
        whole.points[hole, 2] = np.nan
    packed = conversions.PackedCloud.of(whole, with_motion)
    for chosen, of_packed in ((whole.dynamic, packed.dynamic), (~whole.dynamic, ~packed.dynamic)):
        rows = chosen & np.isfinite(whole.points).all(-1)
        some = Cloud(*(getattr(whole, column.name)[rows] for column in fields(whole)))
        assert packed.part(HEADER, of_packed) == conversions.PackedCloud.of(some, with_motion).message(HEADER)
    assert packed.part(HEADER, np.zeros_like(packed.dynamic)).width == 0


def test_an_empty_cloud_is_a_message_too():
    message = conversions.PackedCloud.of(cloud(0), with_motion=True).message(HEADER)
    assert (message.width, len(message.data), message.point_step) == (0, 0, 32)


def test_float_images_keep_every_bit_and_their_holes():
    depth = np.array([[1.5, np.nan], [np.inf, -0.0], [3, 4]], np.float32)
    message = conversions.float_image(HEADER, depth)
    assert (message.height, message.width, message.step, message.encoding) == (3, 2, 8, "32FC1")
    assert np.frombuffer(message.data, np.float32).tobytes() == depth.tobytes()


def test_a_mask_is_black_and_white():
    message = conversions.mask_image(HEADER, np.array([[True, False, True]]))
    assert (list(message.data), message.encoding, message.step) == ([255, 0, 255], "mono8", 3)


def test_poses_and_transforms_say_the_same_rotation():
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]  # 90 degrees about z
    turn[:3, 3] = 1, 2, 3
    pose = conversions.pose_message(HEADER, turn).pose
    transform = conversions.transform_message(HEADER, "camera", turn)
    assert (pose.position.x, pose.position.y, pose.position.z) == (1, 2, 3)
    xyzw = [getattr(pose.orientation, axis) for axis in "xyzw"]
    np.testing.assert_allclose(xyzw, [0, 0, 0.5**0.5, 0.5**0.5])
    assert [getattr(transform.transform.rotation, axis) for axis in "xyzw"] == xyzw
    assert transform.child_frame_id == "camera"


def test_the_upright_world_looks_along_x_with_z_up():
    ahead, down = np.array([0, 0, 1, 0]), np.array([0, 1, 0, 0])
    np.testing.assert_array_equal(WORLD_FROM_OPTICAL @ ahead, [1, 0, 0, 0])
    np.testing.assert_array_equal(WORLD_FROM_OPTICAL @ down, [0, 0, -1, 0])
    assert np.linalg.det(WORLD_FROM_OPTICAL[:3, :3]) == 1
