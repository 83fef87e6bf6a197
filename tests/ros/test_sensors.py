# SPDX-License-Identifier: Apache-2.0
"""What other sensors say, over real DDS: calibration, depth, odometry and the clock, each beside the images."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import oracle
import pytest
from dpm_ros import conversions, interface
from geometry_msgs.msg import TransformStamped
from harness import image_message
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_messages import LENS, MOUNT, OTHER_K, camera_info, depth_image, odom_from_base, odometry, words
from sensor_msgs.msg import CameraInfo, Image
from test_conversions import columns, read_back
from tf2_msgs.msg import TFMessage

from dpm_core.stream import Session

RELIABLE = ("-p", "image_qos:=reliable", "-p", "sync_wait:=5.0")  # a busy machine may be late
UNSCALED = (*RELIABLE, "-p", "model:=unscaled")


def estimates_of(frames):
    session = Session(oracle.OracleEngine())
    return [session.process(frame) for frame in frames]


def sent_by(peer, child):
    """What was sent on /tf of this frame: all nodes share that topic."""
    return [one for message in peer.heard["/tf"] for one in message.transforms if one.child_frame_id == child]


def health(peer):
    """The status of the peer's own node that comes after now: all nodes share /diagnostics. (level, message, values)"""
    name = peer.node.get_namespace().lstrip("/")

    def heard():
        return [s for message in peer.heard["/diagnostics"] for s in message.status if s.name.startswith(f"{name}/")]

    before = len(heard())
    peer.until(lambda: len(heard()) > before + 1, "no diagnostics")
    status = heard()[-1]
    return status.level, status.message, {value.key: value.value for value in status.values}


def depths(messages):
    return [np.frombuffer(m.data, np.float32).reshape(m.height, m.width) for m in messages]


@pytest.fixture
def peers(running):
    """The peers by name, each having heard nothing yet."""
    for peer in running.values():
        for messages in peer.heard.values():
            messages.clear()
    return running


@pytest.fixture(scope="module")
def running(graph):
    """A peer beside each of three nodes, in a namespace of its own; all start together, for tests in order."""
    arguments = {
        "watching": (),
        "driving": ("-p", "tf_mode:=odom_base", "-p", f"base_from_camera:='{words(MOUNT)}'"),
        "looping": ("-p", "odom_from:=tf", "-p", "use_sim_time:=true"),
    }
    nodes = [graph.node(*UNSCALED, *more, "-r", f"__ns:=/{name}") for name, more in arguments.items()]
    hears = [
        interface.POSE,
        interface.PATH,
        interface.DEPTH,
        interface.DEPTH_INFO,
        interface.ODOMETRY,
        interface.POINTS,
    ]
    yield {
        name: graph.peer(namespace=f"/{name}").hear(*hears, interface.TF, interface.DIAGNOSTICS) for name in arguments
    }
    assert all(node.running for node in nodes)
    with ThreadPoolExecutor() as all_at_once:
        assert list(all_at_once.map(lambda node: node.end(), nodes)) == [0] * len(nodes)
    assert not any("Traceback" in node.said() for node in nodes)


def test_depth_makes_metres_whether_it_comes_before_or_after_its_image(peers):
    peer = peers["watching"]
    sensor, images = peer.publisher(Image, "depth"), peer.publisher()
    for index in range(6):
        encoding = ("16UC1", "32FC1")[index // 2 % 2]
        if index % 2:
            sensor.publish(depth_image(index, encoding))
            images.publish(image_message(oracle.frame(index)))
        else:
            images.publish(image_message(oracle.frame(index)))
            peer.spin(0.2)
            sensor.publish(depth_image(index, encoding))
        peer.until(lambda index=index: len(peer.heard["depth/image"]) > index, f"no depth of frame {index}")
        np.testing.assert_allclose(depths(peer.heard["depth/image"])[-1], oracle.depth(index), rtol=2e-3)
    values = health(peer)[2]
    assert (values["unit"], values["scale source"]) == ("m", "depth")
    assert values["scale"].startswith("0.4")
    assert 0 < float(values["scale uncertainty (%)"]) < 5
    peer.until(lambda: len(peer.heard["odometry"]) == 5, "not five odometries")
    moving = peer.heard["odometry"][-1]
    assert (moving.header.frame_id, moving.child_frame_id) == ("map", "camera")
    now, before = oracle.world_from_camera(5), oracle.world_from_camera(4)
    linear = now[:3, :3].T @ (now[:3, 3] - before[:3, 3]) / 0.1
    twist = moving.twist.twist
    np.testing.assert_allclose([twist.linear.x, twist.linear.y, twist.linear.z], linear, atol=5e-3)
    np.testing.assert_allclose([twist.angular.x, twist.angular.y, twist.angular.z], [0, 0.5, 0], atol=5e-3)
    peer.node.destroy_publisher(sensor)  # or the images of other tests would wait for it


def test_odometry_makes_metres_and_places_the_map_in_the_robot_s_tree(peers):
    """The camera's mount is told by the parameter; map → odom keeps the camera where the map has it (REP-105)."""
    peer = peers["driving"]
    wheels, images = peer.publisher(Odometry, "odom"), peer.publisher()
    last = 14
    for index in range(last + 1):
        wheels.publish(odometry(index))
        peer.exchange(images, image_message(oracle.frame(index)), interface.DEPTH)
    np.testing.assert_allclose(depths(peer.heard["depth/image"])[-1], oracle.depth(last), rtol=1e-3)
    peer.until(lambda: sent_by(peer, "odom"), "no transform was sent")
    assert 0 < len(sent_by(peer, "odom")) < last, "without a scale there is none to send"
    transform = sent_by(peer, "odom")[-1]
    assert (transform.header.frame_id, transform.child_frame_id) == ("map", "odom")
    map_from_odom = conversions.pose_from_transform(transform.transform)
    map_from_camera = map_from_odom @ odom_from_base(last) @ MOUNT
    expected = np.linalg.inv(oracle.world_from_camera(0)) @ oracle.world_from_camera(last)
    np.testing.assert_allclose(map_from_camera, expected, atol=1e-3)
    assert health(peer)[2]["scale source"] == "odometry"
    peer.node.destroy_publisher(wheels)


def test_odometry_and_mount_may_come_from_tf(peers):
    """Between two transforms the pose is interpolated: an image waits for the one after it."""
    peer = peers["looping"]
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = peer.node.create_publisher(TFMessage, "/tf_static", latched)
    mount = conversions.transform_message(conversions.header(0, "base_link"), "camera", MOUNT)
    static.publish(TFMessage(transforms=[mount]))
    moving, images = peer.publisher(TFMessage, "/tf"), peer.publisher()

    def publish_transform(index):
        header = conversions.header(oracle.frame(0).stamp_ns + round(index * oracle.PERIOD_NS), "odom")
        transform: TransformStamped = conversions.transform_message(header, "base_link", odom_from_base(index))
        moving.publish(TFMessage(transforms=[transform]))

    publish_transform(0)
    for index in range(14):
        images.publish(image_message(oracle.frame(index)))
        publish_transform(index + 1)
        peer.until(lambda index=index: len(peer.heard["depth/image"]) > index, f"no depth of frame {index}")
    assert health(peer)[2]["scale source"] == "odometry"
    np.testing.assert_allclose(depths(peer.heard["depth/image"])[-1], oracle.depth(13), rtol=1e-3)
    for publisher in (static, moving):
        peer.node.destroy_publisher(publisher)


def test_a_clock_that_goes_back_begins_a_new_map_and_one_that_stands_is_told(peers):
    peer = peers["looping"]
    clock, images = peer.publisher(Clock, "/clock"), peer.publisher()

    def tick(seconds):
        clock.publish(Clock(clock=conversions.time(round(seconds * 1e9))))
        peer.spin(0.1)

    tick(0.9)
    for index in range(3):  # which are older than those of other tests: that alone begins a new map
        tick(1.0 + 0.1 * index)
        peer.exchange(images, image_message(oracle.frame(index)), interface.PATH)
    assert len(peer.heard["path"][-1].poses) == 3
    tick(0.5)
    peer.until(lambda: "fault: clock" in health(peer)[2], "the jump was not told")
    assert "the clock went back by 0.700 s" in health(peer)[2]["fault: clock"]
    peer.exchange(images, image_message(oracle.frame(7)), interface.PATH)
    assert len(peer.heard["path"][-1].poses) == 1, "the image is newer than those before, but of the next round"
    peer.until(lambda: health(peer)[1] == "paused: /clock stands still", "a paused bag was not told")
    peer.exchange(images, image_message(oracle.frame(8)), interface.PATH)


def test_a_clock_before_all_time_is_named_and_the_node_goes_on(peers):
    """rclpy's own callback raises on it."""
    peer = peers["looping"]
    clock, images = peer.publisher(Clock, "/clock"), peer.publisher()
    before_all_time = Clock()
    before_all_time.clock.sec = -1
    clock.publish(before_all_time)
    peer.until(lambda: "must not be negative" in health(peer)[2].get("fault: callback", ""), "it was not told")
    peer.exchange(images, image_message(oracle.frame(9)), interface.PATH)


def test_two_cameras_are_two_nodes_in_two_namespaces_that_do_not_hear_each_other(peers):
    left, right = peers["watching"], peers["driving"]
    to_left, to_right = left.publisher(), right.publisher()
    begun = [len(peer.heard["points"]) for peer in (left, right)]
    for index in range(3):
        left.exchange(to_left, image_message(oracle.frame(index, frame_id="left_optical")), interface.POINTS)
        right.exchange(to_right, image_message(oracle.frame(index + 4, frame_id="right_optical")), interface.POINTS)
    for peer, before, first, frame_id in zip(
        (left, right), begun, (0, 4), ("left_optical", "right_optical"), strict=True
    ):
        heard = peer.heard["points"][before:]
        estimates = estimates_of([oracle.frame(first + index) for index in range(3)])
        assert [message.header.frame_id for message in heard] == [frame_id] * 3
        for message, estimate in zip(heard, estimates, strict=True):
            seen = estimate.cloud.points - estimate.world_from_camera[:3, 3]
            assert message.width == len(seen)
            np.testing.assert_allclose(unitless(columns(read_back(message), "x", "y", "z")), unitless(seen), rtol=1e-3)


def unitless(points):
    """Distances in the median distance."""
    distance = np.linalg.norm(points, axis=-1)
    return distance / np.median(distance)


def test_a_calibration_counts_and_a_new_one_starts_the_window_anew(peers):
    """Last on its node: a calibration stays."""
    peer = peers["watching"]
    infos, images = peer.publisher(CameraInfo, "camera_info"), peer.publisher()
    first, heard = 20, len(peer.heard["depth/image"])
    infos.publish(camera_info(first))
    health(peer)  # by then the node has heard it
    for index in range(3):
        peer.exchange(images, image_message(oracle.frame(first + index)), interface.DEPTH_INFO)
    bent = camera_info(first + 3, distortion_model="plumb_bob", d=list(LENS.coefficients))
    bent.k = oracle.INTRINSICS.ravel()
    infos.publish(bent)
    health(peer)
    peer.exchange(images, image_message(oracle.frame(first + 3)), interface.DEPTH_INFO)
    peer.until(lambda: len(peer.heard["depth/image"]) == heard + 4, "not four depth images")
    for message in peer.heard["depth/camera_info"][heard:]:
        np.testing.assert_allclose(message.k, OTHER_K.ravel(), rtol=1e-6)
    frames = [oracle.frame(first + index, intrinsics=OTHER_K) for index in range(3)]
    frames.append(oracle.frame(first + 3, intrinsics=OTHER_K, lens=LENS))
    expected = [estimate.depth / estimate.depth.mean() for estimate in estimates_of(frames)]
    for read, shape in zip(depths(peer.heard["depth/image"][heard:]), expected, strict=True):
        np.testing.assert_allclose(read / read.mean(), shape, rtol=1e-4)
    assert "another calibration" in health(peer)[2]["fault: calibration"]
