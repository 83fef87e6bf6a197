# SPDX-License-Identifier: Apache-2.0
"""`dpm replay` and `dpm record`: what was recorded is what is heard, byte for byte."""

import shutil
import signal
import sys

import pytest
from dpm_ros import bags, conversions, record, replay
from harness import ROOT
from nav_msgs.msg import Path as PathMessage
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import String

from dpm_core.errors import DpmError

WALKING = ROOT / "demo" / "walking"
IMAGES = "/camera/color/image_raw/compressed"
INFO = "/camera/color/camera_info"
REPLAY = [sys.executable, "-m", "dpm_ros.replay"]
RECORD = [sys.executable, "-m", "dpm_ros.record"]


def recorded(path, topic=None):
    """(topic, stamp, bytes) of a bag."""
    with Reader(path) as reader:
        return [(c.topic, stamp, bytes(raw)) for c, stamp, raw in reader.messages() if topic in (None, c.topic)]


def test_a_bag_is_heard_in_order_with_its_own_clock(graph):
    peer = graph.peer("listener").listen(CompressedImage, IMAGES, 100).listen(CameraInfo, INFO, 100)
    peer.listen(Clock, "/clock", 1000)
    player = graph.run(*REPLAY, WALKING, "--rate", "4", "--wait-for", "2")
    frames = len(recorded(WALKING, IMAGES))
    peer.until(lambda: len(peer.heard[IMAGES]) == frames == len(peer.heard[INFO]), "messages were lost")
    assert player.wait() == 0, player.said()
    stamps = [stamp for _, stamp, _ in recorded(WALKING)]
    ticks = [conversions.nanoseconds(tick.clock) for tick in peer.heard["/clock"]]
    assert ticks == sorted(ticks)
    assert stamps[0] <= ticks[0] + 10**9
    peer.spin(0.2)
    assert max(conversions.nanoseconds(tick.clock) for tick in peer.heard["/clock"]) == stamps[-1]


def test_one_topic_from_the_middle(graph):
    peer = graph.peer("half").listen(CompressedImage, IMAGES, 100).listen(CameraInfo, INFO, 100)
    begin = recorded(WALKING)[0][1]
    later = [stamp for _, stamp, _ in recorded(WALKING, IMAGES) if stamp >= begin + 10**9]
    arguments = ["--topic", IMAGES, "--start-offset", "1", "--rate", "4", "--wait-for", "1"]
    player = graph.run(*REPLAY, WALKING, *arguments)
    assert player.wait() == 0, player.said()
    peer.until(lambda: len(peer.heard[IMAGES]) == len(later), "not the images from the middle on")
    assert not peer.heard[INFO]


def test_a_loop_takes_time_back_and_ends_when_told(graph):
    peer = graph.peer("looped").listen(CompressedImage, IMAGES, 100)
    player = graph.run(*REPLAY, WALKING, "--loop", "--rate", "2", "--wait-for", "1")
    peer.until(lambda: len(peer.heard[IMAGES]) > 30, "it does not begin again")
    assert player.end(signal.SIGINT) == 130
    stamps = [conversions.nanoseconds(message.header.stamp) for message in peer.heard[IMAGES]]
    assert stamps[22:] == stamps[: len(stamps) - 22][: len(stamps[22:])]
    assert "Traceback" not in player.said()


@pytest.fixture
def refused(graph, capfd):
    """A function that runs a command which must refuse; the one line that it says."""

    def run(command, *arguments):
        assert command([str(argument) for argument in arguments]) == 2
        (said,) = capfd.readouterr().err.strip().splitlines()
        assert said.startswith("dpm: ")
        return said

    return run


def test_what_cannot_be_replayed_is_one_line_and_two(refused, tmp_path):
    cut = tmp_path / "cut.mcap"
    cut.write_bytes((WALKING / "walking.mcap").read_bytes()[:100_000])
    no_bag = tmp_path / "notes.txt"
    no_bag.write_text("hello")
    unheard = [WALKING, "--wait-for", "1", "--timeout", "0.5", "--topic", INFO, "--ros-args", "-r", f"{INFO}:=/unheard"]
    assert "does not exist" in refused(replay.main, tmp_path / "absent")
    assert "cut.mcap" in refused(replay.main, cut)
    assert "notes.txt" in refused(replay.main, no_bag)
    assert f"no topic '/nope'; it has: {INFO}, {IMAGES}" in refused(replay.main, WALKING, "--topic", "/nope")
    assert "--rate is 0" in refused(replay.main, WALKING, "--rate", "0")
    assert "0 of 1 subscriptions" in refused(replay.main, *unheard)


def test_messages_that_nobody_confirms_are_an_error(graph, capfd, monkeypatch):
    monkeypatch.setattr(Publisher, "wait_for_all_acked", lambda *_: False)
    assert replay.main([str(WALKING), "--topic", INFO, "--rate", "20", "--timeout", "0.5"]) == 2
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("dpm: after 0.5 s a subscription to /clock has not confirmed its messages")


def test_a_recorder_without_a_processor_for_a_while_still_takes_what_is_there():
    class Writer:
        count = 0

    class Executor:
        """Six messages wait; now and then the timer comes first."""

        def __init__(self):
            self.coming = [0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1]

        def spin_once(self, timeout_sec):
            Writer.count += self.coming.pop(0) if self.coming else 0

    record._drain(Executor(), Writer)
    assert Writer.count == 6


def write_bag(path, messages, type_name="std_msgs/msg/String"):
    """A bag of strings on /words."""
    types = get_typestore(Stores.LATEST)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/words", type_name, typestore=types)
        for stamp, word in messages:
            raw = types.serialize_cdr(types.types[type_name](data=word), type_name)
            writer.write(connection, stamp, raw)
    return path


def test_a_bag_with_no_message_is_refused(refused, tmp_path):
    assert "no messages to replay; its topics: /words" in refused(replay.main, write_bag(tmp_path / "empty", []))


def test_a_type_that_is_not_installed_is_named():
    assert bags.message_class("no_such_msgs/msg/Thing") is None
    assert bags.message_class("std_msgs/msg/Thing") is None
    assert bags.message_class("std_msgs/msg/String") is String


def test_what_is_recorded_is_what_was_replayed_byte_for_byte(graph, tmp_path):
    out = tmp_path / "out.mcap"
    recorder = graph.run(*RECORD, IMAGES, INFO, "--out", out)
    player = graph.run(*REPLAY, WALKING, "--rate", "4", "--wait-for", "2")
    assert player.wait() == 0, player.said()
    assert recorder.end(signal.SIGINT) == 0, recorder.said()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mcap"]

    def content(path):
        # DDS fills messages up to four bytes, as CDR allows.
        return sorted((topic, raw + bytes(-len(raw) % 4)) for topic, _, raw in recorded(path))

    assert content(out) == content(WALKING)
    assert "recorded 44 messages" in recorder.said()


def test_a_latched_topic_stays_latched_through_a_bag(graph, tmp_path):
    peer = graph.peer("latching")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = peer.node.create_publisher(PathMessage, "/latched", latched)
    publisher.publish(PathMessage())
    recorder = graph.run(*RECORD, "/latched", "--out", tmp_path / "bag")
    peer.until(lambda: publisher.get_subscription_count() > 0, "nobody records")
    assert publisher.wait_for_all_acked(Duration(seconds=60))
    assert recorder.end(signal.SIGINT) == 0, recorder.said()
    peer.close()
    with Reader(tmp_path / "bag") as reader:
        assert [bags.latched(connection) for connection in reader.connections] == [True]

    player = graph.run(*REPLAY, tmp_path / "bag", "--loop")
    late = graph.peer("late").listen(PathMessage, "/latched", latched)
    late.until(lambda: late.heard["/latched"], "the latched message did not come")
    player.end()


def test_nothing_heard_is_no_bag(refused, tmp_path):
    said = refused(record.main, "/silence", "--out", tmp_path / "out.mcap", "--duration", "0.5")
    assert "nothing came on /silence" in said
    assert not list(tmp_path.iterdir())


def test_a_bag_that_is_there_is_not_written_over_unasked(refused, tmp_path):
    out = tmp_path / "out.mcap"
    out.write_text("precious")
    assert "--overwrite" in refused(record.main, "/words", "--out", out)
    assert out.read_text() == "precious"


def test_an_unfinished_bag_leaves_nothing(tmp_path):
    def interrupted():
        with bags.BagWriter(tmp_path / "bag") as writer:
            words = writer.add("/words", "std_msgs/msg/String", QoSProfile(depth=1))
            writer.write(words, 1, b"\0\1\0\0\1\0\0\0\0")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_overwriting_replaces_the_whole_folder(tmp_path):
    shutil.copytree(WALKING, tmp_path / "bag")
    with bags.BagWriter(tmp_path / "bag", overwrite=True) as writer:
        words = writer.add("/words", "std_msgs/msg/String", QoSProfile(depth=1))
        writer.write(words, 1, b"\0\1\0\0\1\0\0\0\0")
    assert [topic for topic, _, _ in recorded(tmp_path / "bag")] == ["/words"]


def test_a_type_that_nobody_could_read_back_is_refused(tmp_path):
    with (
        pytest.raises(DpmError, match="no standard type"),
        bags.BagWriter(tmp_path / "bag") as writer,
    ):
        writer.add("/words", "my_msgs/msg/Word", QoSProfile(depth=1))
    assert not list(tmp_path.iterdir())
