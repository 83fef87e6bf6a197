# SPDX-License-Identifier: Apache-2.0
"""What a bag holds beside images: read in its own order, and each frame has what is of its stamp."""

import cv2
import numpy as np
import pytest
from recordings import PERIOD, STAMP, STORE, K, _header, camera_info, compressed, image, index_of, text, write_bag
from rosbags.rosbag2 import StoragePlugin, Writer

from dpm_core.errors import DpmError
from dpm_core.geometry.frame_tree import pose_from
from dpm_core.io import open_source
from dpm_core.io.sensors import Sensors

MOUNT = pose_from((0.1, 0.0, 0.4), (-0.5, 0.5, -0.5, 0.5))
DEPTH = np.arange(24 * 32).reshape(24, 32) / 100


def make(kind, *fields):
    return STORE.types[kind](*fields)


def vector(kind, pose):
    return make(f"geometry_msgs/msg/{kind}", *pose[:3, 3])


def quaternion(x=0.0, y=0.0, z=0.0, w=1.0):
    return make("geometry_msgs/msg/Quaternion", x, y, z, w)


def base_at(seconds):
    return pose_from((seconds, 2.0, 0.0), (0.0, 0.0, 0.6, 0.8))


def odometry(seconds, child="base_link"):
    nothing = np.zeros(36)
    pose = make("geometry_msgs/msg/Pose", vector("Point", base_at(seconds)), quaternion(z=0.6, w=0.8))
    still = make("geometry_msgs/msg/Vector3", 0.0, 0.0, 0.0)
    twist = make("geometry_msgs/msg/Twist", still, still)
    return make(
        "nav_msgs/msg/Odometry",
        _header(STAMP + round(seconds * 1e9), "odom"),
        child,
        make("geometry_msgs/msg/PoseWithCovariance", pose, nothing),
        make("geometry_msgs/msg/TwistWithCovariance", twist, nothing),
    )


def transforms(*edges):
    return make("tf2_msgs/msg/TFMessage", [edge(*each) for each in edges])


def edge(parent, child, seconds, pose, turn):
    moved = make("geometry_msgs/msg/Transform", vector("Vector3", pose), turn)
    header = _header(STAMP + round(seconds * 1e9), parent)
    return make("geometry_msgs/msg/TransformStamped", header, child, moved)


def mount():
    return edge_of_mount("base_link")


def edge_of_mount(parent):
    return transforms((parent, "front", 0.0, MOUNT, quaternion(-0.5, 0.5, -0.5, 0.5)))


def depth_of(index, encoding="16UC1"):
    raw = np.round(1000 * (DEPTH + index)).astype(np.uint16) if encoding == "16UC1" else (DEPTH + index).astype("<f4")
    return image(index, encoding, STAMP + index * PERIOD + 4_000_000, pixels=raw)


def write(path, *messages):
    """(seconds, topic, message) in the order of the bag."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {}
        for seconds, topic, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            raw = STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], STAMP + round(seconds * 1e9), raw)
    return path


def read(path, **sensors):
    with open_source(path, sensors=Sensors(**sensors)) as source:
        return list(source)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
@pytest.mark.parametrize("late", [-0.01, 0.05, 0.25])
def test_depth_is_that_of_the_stamp_whenever_it_was_written(tmp_path, encoding, late):
    messages = [(0.1 * index, "/cam/image", image(index)) for index in range(4)]
    messages += [(0.1 * index + late, "/cam/depth", depth_of(index, encoding)) for index in range(4)]
    frames = read(write(tmp_path / "bag", *sorted(messages, key=lambda each: each[0])), depth_topic="/cam/depth")
    assert [index_of(frame) for frame in frames] == [0, 1, 2, 3]
    for index, frame in enumerate(frames):
        np.testing.assert_allclose(frame.depth, DEPTH + index, atol=1e-3)


def test_a_frame_without_depth_goes_on_without(tmp_path):
    messages = [(0.1 * index, "/cam/image", image(index)) for index in range(20)]
    messages.append((1.05, "/cam/depth", depth_of(10)))
    frames = read(write(tmp_path / "bag", *sorted(messages, key=lambda each: each[0])), depth_topic="/cam/depth")
    assert [index_of(frame) for frame in frames if frame.depth is not None] == [10]
    assert len(frames) == 20


@pytest.mark.parametrize("format", ["png", "16UC1; compressedDepth png"])
def test_compressed_depth_is_read_in_its_unit(tmp_path, format):
    depth = compressed(0, format, ".png", np.round(DEPTH * 5000).astype(np.uint16))
    if "compressedDepth" in format:
        depth.data = np.concatenate([np.zeros(12, np.uint8), depth.data])
    bag = write_bag(tmp_path / "bag", {"/image": [image(0)], "/depth": [depth]})
    (frame,) = read(bag, depth_topic="/depth", depth_unit=0.0002)
    np.testing.assert_allclose(frame.depth, DEPTH, atol=2e-4)


def test_odometry_is_interpolated_at_the_image_s_stamp(tmp_path):
    """The transform after the image is written later: the image waits for it."""
    messages = [(0.0, "/tf_static", mount())]
    messages += [(0.1 * index, "/image", image(index)) for index in range(5)]
    messages += [(0.15 * index + 0.02, "/odom", odometry(0.15 * index)) for index in range(5)]
    frames = read(write(tmp_path / "bag", *sorted(messages, key=lambda each: each[0])), odom_topic="/odom")
    for index, frame in enumerate(frames):
        np.testing.assert_allclose(frame.odom_from_camera, base_at(0.1 * index) @ MOUNT, atol=1e-6)


def test_odometry_from_tf_with_the_mount_from_the_options(tmp_path):
    moving = [
        (
            0.1 * index,
            "/tf",
            transforms(("odom", "base_link", 0.1 * index, base_at(0.1 * index), quaternion(z=0.6, w=0.8))),
        )
        for index in range(4)
    ]
    images = [(0.1 * index + 0.01, "/image", image(index)) for index in range(4)]
    bag = write(tmp_path / "bag", *sorted(moving + images, key=lambda each: each[0]))
    frames = read(bag, odom_topic="/tf", base_from_camera="0.1 0 0.4 -0.5 0.5 -0.5 0.5")
    assert len(frames) == 4
    for index, frame in enumerate(frames):
        np.testing.assert_allclose(frame.odom_from_camera, base_at(0.1 * index) @ MOUNT, atol=1e-6)


def test_odometry_that_no_frame_joins_to_the_camera_is_named(tmp_path):
    messages = [(0.1 * index, "/odom", odometry(0.1 * index)) for index in range(80)]
    messages += [(0.5 * index, "/image", image(index)) for index in range(16)]
    bag = write(tmp_path / "bag", *sorted(messages, key=lambda each: each[0]))
    with pytest.raises(DpmError, match="no transform joins 'odom' and 'front'; give --base-from-camera"):
        read(bag, odom_topic="/odom")


def test_what_was_not_chosen_is_not_read(tmp_path):
    bag = write_bag(tmp_path / "bag", {"/image": [image(0)], "/depth": [depth_of(0)], "/odom": [odometry(0.0)]})
    (frame,) = read(bag)
    assert (frame.depth, frame.odom_from_camera) == (None, None)


def test_a_calibration_that_changes_counts_from_then_on(tmp_path):
    messages = [(0.1 * index, "/cam/image", image(index)) for index in range(4)]
    messages += [
        (0.01, "/cam/camera_info", camera_info()),
        (0.15, "/cam/camera_info", camera_info(2 * K - np.diag([0, 0, 1]))),
    ]
    frames = read(write(tmp_path / "bag", *sorted(messages, key=lambda each: each[0])))
    assert [frame.intrinsics[0, 0] for frame in frames] == [30, 30, 60, 60]


def test_a_lens_is_in_the_frame(tmp_path):
    info = camera_info()
    info.d = np.array([-0.2, 0.05, 0, 0, 0])
    (frame,) = read(write_bag(tmp_path / "bag", {"/cam/image": [image(0)], "/cam/camera_info": [info]}))
    assert (frame.lens.model, frame.lens.coefficients) == ("plumb_bob", (-0.2, 0.05, 0, 0, 0))


def test_the_calibration_may_be_left_out(tmp_path):
    wrong = camera_info(np.nan * K)
    bag = write_bag(tmp_path / "bag", {"/cam/image": [image(0)], "/cam/camera_info": [wrong]})
    with pytest.raises(DpmError, match=r"topic /cam/camera_info: .* leave it out with --no-calibration"):
        read(bag)
    assert read(bag, calibration=False)[0].intrinsics is None


def test_broken_depth_is_named_with_its_stamp(tmp_path):
    depth = compressed(0, "png", ".png", np.zeros((24, 32), np.uint8))
    bag = write_bag(tmp_path / "bag", {"/image": [image(0)], "/depth": [depth]})
    with pytest.raises(DpmError, match=f"stamp {STAMP} ns: depth image of format 'png' .* is no 16-bit PNG"):
        read(bag, depth_topic="/depth")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(depth_topic="/none"), "has nothing for --depth-topic on /none .*; it has: /image"),
        (dict(odom_topic="/image"), "has nothing for --odom-topic on /image .*; it has none"),
    ],
)
def test_a_topic_that_is_not_there_is_named_with_those_that_are(tmp_path, options, words):
    bag = write_bag(tmp_path / "bag", {"/image": [image(0)], "/chatter": [text("hello")]})
    with pytest.raises(DpmError, match=words):
        read(bag, **options)


def test_a_folder_has_no_topics(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DpmError, match="is not a bag and has no topics; leave --depth-topic and --odom-topic out"):
        read(tmp_path, depth_topic="/depth")
