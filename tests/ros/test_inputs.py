# SPDX-License-Identifier: Apache-2.0
"""What becomes of each message that the node hears, without DDS: the node that subscribes is played."""

from types import SimpleNamespace

import numpy as np
import oracle
import pytest
from dpm_ros import conversions, inputs, interface
from dpm_ros.inputs import Inputs
from dpm_ros.parameters import PARAMETERS
from harness import image_message
from sensor_messages import MOUNT, OTHER_K, camera_info, depth_image, odom_from_base, odometry, words
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}


class PlayedNode:
    """Keeps callbacks by topic; as many publishers as a test says."""

    def __init__(self):
        self.callbacks = {}
        self.publishers = set()
        self.timer = SimpleNamespace(cancelled=False, cancel=self._cancel, reset=self._reset, is_canceled=self._is)

    def create_subscription(self, kind, topic, callback, qos):
        self.callbacks[topic] = callback
        return SimpleNamespace(topic_name=topic)

    def destroy_subscription(self, subscription):
        del self.callbacks[subscription.topic_name]

    def create_timer(self, period, callback, clock):
        self.wake = callback
        return self.timer

    def destroy_timer(self, timer):
        self.timer = None

    def resolve_topic_name(self, name):
        return name

    def count_publishers(self, topic):
        return topic in self.publishers

    def _cancel(self):
        self.timer.cancelled = True

    def _reset(self):
        self.timer.cancelled = False

    def _is(self):
        return self.timer.cancelled


class Heard:
    """Inputs on a played node, with a clock that a test turns."""

    def __init__(self, monkeypatch, **values):
        self.now = 100.0
        monkeypatch.setattr(inputs, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.node, self.frames, self.rejected, self.faults = PlayedNode(), [], [], {}
        self.inputs = Inputs(
            self.node,
            DEFAULTS | values,
            self.frames.append,
            lambda cause, why: self.rejected.append(why),
            self.faults.__setitem__,
        )

    def send(self, topic, message):
        self.node.callbacks[topic](message)

    def image(self, index):
        self.send("image", image_message(oracle.frame(index)))

    def publish(self, topic, message):
        """Send what somebody offers."""
        self.node.publishers.add(topic)
        self.send(topic, message)


@pytest.fixture
def heard(monkeypatch):
    return Heard(monkeypatch)


def test_an_image_alone_is_a_frame_at_once(heard):
    heard.image(0)
    (frame,) = heard.frames
    assert (frame.stamp_ns, frame.frame_id) == (oracle.frame(0).stamp_ns, "camera")
    assert (frame.intrinsics, frame.lens, frame.depth, frame.odom_from_camera) == (None, None, None, None)
    assert heard.node.timer.cancelled, "nothing waits"


def test_an_image_that_cannot_be_read_is_rejected_and_the_next_one_is_not(heard):
    heard.send("image", image_message(oracle.frame(0), encoding="no such"))
    heard.image(1)
    assert len(heard.frames) == 1
    assert "'no such' is not known" in heard.rejected[0]


def test_a_stamp_that_could_not_be_published_is_rejected(heard):
    wrong = image_message(oracle.frame(0))
    wrong.header.stamp.nanosec = 10**9
    heard.send("image", wrong)
    assert heard.frames == []
    assert "stamp has 1000000000 nanoseconds" in heard.rejected[0]


@pytest.mark.parametrize(
    ("topic", "what"),
    [("camera_info", "calibration"), ("depth", "depth"), ("odom", "odometry"), ("/tf_static", "static")],
)
def test_a_callback_that_fails_is_told_and_ends_nothing(heard, topic, what):
    heard.send(topic, "a message of no such type")
    assert "AttributeError" in heard.faults[f"unreadable {what}"]
    heard.image(0)
    assert len(heard.frames) == 1


def test_images_wait_for_a_calibration_that_is_offered(heard):
    heard.node.publishers.add("camera_info")
    heard.image(0)
    assert heard.frames == []
    assert not heard.node.timer.cancelled
    heard.send("camera_info", camera_info(0))
    heard.image(1)
    assert len(heard.frames) == 2
    for frame in heard.frames:
        np.testing.assert_array_equal(frame.intrinsics, OTHER_K)


def test_they_wait_no_longer_than_they_may(heard):
    heard.node.publishers |= {"camera_info", "depth"}
    heard.image(0)
    heard.now += 0.05
    heard.node.wake()
    assert heard.frames == []
    heard.now += 0.06
    heard.node.wake()
    assert [frame.intrinsics for frame in heard.frames] == [None]
    assert "no depth image within sync_tolerance" in heard.faults["depth"]
    assert heard.node.timer.cancelled


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (camera_info(0, oracle.INTRINSICS * np.nan), "it is no calibration"),
        (camera_info(0, distortion_model="moon", d=[0.1]), "'moon' is not known"),
        (camera_info(0, width=640), "camera_info is of 640 x 24"),
    ],
)
def test_a_calibration_that_cannot_be_used_is_named_and_the_frame_goes_on_without(heard, wrong, words):
    heard.publish("camera_info", wrong)
    heard.image(0)
    assert heard.frames[0].intrinsics is None
    assert words in heard.faults["calibration"]


def test_a_calibration_that_says_that_there_is_none_is_no_fault(heard):
    heard.publish("camera_info", camera_info(0, np.zeros((3, 3))))
    heard.image(0)
    assert heard.frames[0].intrinsics is None
    assert heard.faults == {}


def test_a_stale_calibration_is_named_and_used(heard):
    old = camera_info(0)
    old.header = conversions.header(oracle.frame(0).stamp_ns - 30 * 10**9, "camera")
    old.header.stamp.sec = 0
    later = oracle.frame(0, stamp_ns=60 * 10**9)
    heard.publish("camera_info", camera_info(0))
    heard.send("image", image_message(later))
    np.testing.assert_array_equal(heard.frames[0].intrinsics, OTHER_K)
    assert "camera_info is 59.0 s from its image" in heard.faults["stale calibration"]


def test_a_calibration_without_a_stamp_is_never_stale(heard):
    heard.publish("camera_info", camera_info(0, header=conversions.header(0, "camera")))
    heard.send("image", image_message(oracle.frame(0, stamp_ns=60 * 10**9)))
    assert heard.faults == {}


def test_a_calibration_is_read_anew_only_where_it_says_something_else(heard, monkeypatch):
    read = []
    monkeypatch.setattr(inputs, "read_calibration", read.append)
    for index in range(5):
        heard.send("camera_info", camera_info(index))
    assert len(read) == 1
    heard.send("camera_info", camera_info(5, oracle.INTRINSICS))
    assert len(read) == 2


def test_depth_that_cannot_be_read_is_named_and_the_image_goes_on(heard):
    wrong = depth_image(0)
    wrong.encoding = "rgb8"
    heard.publish("depth", wrong)
    heard.image(0)
    assert heard.frames[0].depth is None
    assert "'rgb8' is not known" in heard.faults["unreadable depth"]


def test_depth_of_the_same_stamp_is_in_the_frame_in_metres(heard):
    heard.publish("depth", depth_image(0))
    heard.image(0)
    np.testing.assert_allclose(heard.frames[0].depth, oracle.depth(0), atol=6e-4)


def test_odometry_is_that_of_the_camera(monkeypatch):
    heard = Heard(monkeypatch, base_from_camera=words(MOUNT))
    for index in (0, 1):
        heard.publish("odom", odometry(index))
        heard.image(index)
    np.testing.assert_allclose(heard.frames[1].odom_from_camera, odom_from_base(1) @ MOUNT, atol=1e-9)


def test_odometry_of_the_far_future_is_named_and_what_comes_after_it_counts(monkeypatch):
    heard = Heard(monkeypatch, base_from_camera=words(MOUNT))
    heard.publish("odom", odometry(0))
    wrong = odometry(1)
    wrong.header.stamp.sec = 2**31 - 1
    heard.send("odom", wrong)
    heard.send("odom", odometry(1))
    heard.image(1)
    np.testing.assert_allclose(heard.frames[0].odom_from_camera, odom_from_base(1) @ MOUNT, atol=1e-9)
    assert "more than 10 s from those before" in heard.faults["transform"]


def test_odometry_that_no_frame_joins_to_the_camera_is_named_and_costs_no_wait(heard):
    heard.publish("odom", odometry(0))
    heard.image(0)
    assert len(heard.frames) == 1
    assert heard.faults == {}, "/tf_static may come a little later"
    heard.now += 3.1
    heard.image(1)
    assert len(heard.frames) == 2
    assert "no transform joins 'odom' and 'camera'" in heard.faults["odometry"]
    mount = conversions.transform_message(conversions.header(0, "base_link"), "camera", MOUNT)
    heard.send("/tf_static", TFMessage(transforms=[mount]))
    heard.image(0)
    assert heard.frames[2].odom_from_camera is not None


def test_transforms_that_this_node_sent_are_not_its_own_odometry(monkeypatch):
    heard = Heard(monkeypatch, odom_from="tf")
    for parent in ("map", "world"):
        own = conversions.transform_message(conversions.header(oracle.frame(0).stamp_ns, parent), "camera", MOUNT)
        heard.publish("/tf", TFMessage(transforms=[own]))
    assert heard.inputs._assembly.tree.parent("camera") is None


@pytest.mark.parametrize(("mode", "named"), [("map_camera", True), ("odom_base", False), ("none", False)])
def test_a_camera_that_has_a_parent_already_is_named_where_the_node_would_give_it_another(monkeypatch, mode, named):
    heard = Heard(monkeypatch, tf_mode=mode)
    mount = conversions.transform_message(conversions.header(0, "base_link"), "camera", MOUNT)
    heard.send("/tf_static", TFMessage(transforms=[mount]))
    heard.image(0)
    assert ("is already a child of 'base_link'" in heard.faults.get("two parents", "")) == named


@pytest.mark.parametrize("quaternion", [(0.0, 0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0, 1.0)])
def test_a_transform_that_is_none_is_named(monkeypatch, quaternion):
    heard = Heard(monkeypatch, odom_from="tf")
    wrong = conversions.transform_message(conversions.header(0, "odom"), "base_link", np.eye(4))
    for axis, value in zip("xyzw", quaternion, strict=True):
        setattr(wrong.transform.rotation, axis, value)
    heard.publish("/tf", TFMessage(transforms=[wrong]))
    assert "is not finite" in heard.faults["transform"]


def test_when_time_goes_back_nothing_that_waits_is_sent(heard):
    heard.node.publishers.add("depth")
    heard.image(0)
    heard.inputs.forget()
    heard.now += 1.0
    heard.node.wake()
    assert heard.frames == []


def test_the_compressed_topic_follows_the_name_of_the_image(monkeypatch):
    heard = Heard(monkeypatch, image_transport="compressed")
    assert heard.inputs.topic == "image/compressed"
    assert "image" not in heard.node.callbacks


def test_closed_it_hears_nothing(heard):
    heard.inputs.close()
    assert heard.node.callbacks == {}
    assert heard.node.timer is None


def test_every_input_of_the_table_is_subscribed(monkeypatch):
    names = {
        topic
        for values in ({}, {"image_transport": "compressed"})
        for topic in Heard(monkeypatch, **values).node.callbacks
    }
    assert names == {topic.name for topic in interface.INPUTS} | {"/tf_static"}
    assert Heard(monkeypatch, odom_from="tf").node.callbacks.keys() >= {"/tf", "/tf_static"}
    assert interface.DEPTH_IN.type is Image
