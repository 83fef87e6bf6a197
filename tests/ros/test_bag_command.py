# SPDX-License-Identifier: Apache-2.0
"""`dpm bag`: what the node would say, beside what the bag has; the same bytes however it was interrupted."""

import json
import subprocess
import sys

import cv2
import numpy as np
import oracle
import pytest
from dpm_ros import bag, bags, conversions
from dpm_ros.bag_camera import OUTPUTS
from harness import ROOT, image_message
from oracle_bag import SteadyOracle, engine
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, PointCloud2
from std_msgs.msg import String
from test_conversions import columns, read_back

from dpm_core.stream import Session

TYPES = get_typestore(Stores.LATEST)
FRAMES = [oracle.frame(index) for index in range(12)]
IMAGES = "/cam/image_raw"
DELAY_NS = 5_000_000  # from the camera to the recorder


def write_bag(path, messages, storage=StoragePlugin.MCAP):
    """(topic, log time, message) each."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        rooms = {}
        for topic, stamp, message in messages:
            if topic not in rooms:
                rooms[topic] = writer.add_connection(topic, bags.type_name(type(message)), typestore=TYPES)
            writer.write(rooms[topic], stamp, serialize_message(message))
    return path


def camera(frames=FRAMES, topic=IMAGES, encode=image_message):
    return [(topic, frame.stamp_ns + DELAY_NS, encode(frame)) for frame in frames]


def compressed(frame):
    data = cv2.imencode(".png", frame.image)[1].tobytes()
    return CompressedImage(header=conversions.header(frame.stamp_ns, frame.frame_id), format="png", data=data)


def words(count):
    return [("/words", FRAMES[0].stamp_ns + index * 70_000_000, String(data=f"word {index}")) for index in range(count)]


def content(path, *topics):
    """(topic, log time, bytes) in the order of the bag."""
    with Reader(path) as reader:
        return [(c.topic, stamp, bytes(raw)) for c, stamp, raw in reader.messages() if not topics or c.topic in topics]


def run(*arguments):
    return bag.main([str(argument) for argument in arguments], engine)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A bag with a camera and words."""
    return write_bag(tmp_path_factory.mktemp("in") / "bag", sorted(camera() + words(15), key=lambda each: each[1]))


@pytest.fixture(scope="module")
def written(recorded, tmp_path_factory):
    """What `dpm bag` makes of it, undisturbed."""
    out = tmp_path_factory.mktemp("out") / "out.mcap"
    assert run(recorded, "--out", out, "--json", out.with_suffix(".json")) == 0
    return out


def test_the_bag_has_everything_that_it_had_in_its_order(recorded, written):
    assert content(written, IMAGES, "/words") == content(recorded)


def test_results_follow_their_image_with_its_log_time_and_its_stamp(written):
    images = [frame.stamp_ns for frame in FRAMES]
    for name, output in OUTPUTS.items():
        found = content(written, bag.absolute(name, ""))
        messages = [deserialize_message(raw, output.type) for _, _, raw in found]
        if hasattr(output.type(), "header") and not output.latched:
            stamps = [conversions.nanoseconds(message.header.stamp) for message in messages]
            assert stamps == images[len(images) - len(stamps) :], name
            assert [stamp for _, stamp, _ in found] == [stamp + DELAY_NS for stamp in stamps]
    order = [topic for topic, _, _ in content(written) if topic in (IMAGES, "/pose")]
    assert order == [IMAGES, "/pose"] * len(FRAMES)


def test_the_numbers_are_those_of_the_session(written):
    session = Session(SteadyOracle())
    clouds = [deserialize_message(raw, PointCloud2) for _, _, raw in content(written, "/points")]
    for frame, message in zip(FRAMES, clouds, strict=True):
        estimate = session.process(frame)
        pose = estimate.world_from_camera
        points = (estimate.cloud.points - pose[:3, 3]) @ pose[:3, :3]
        np.testing.assert_allclose(columns(read_back(message), "x", "y", "z"), points, atol=1e-5)


def test_the_figures_tell_what_was_done(written):
    figures = json.loads(written.with_suffix(".json").read_text())
    (told,) = figures["cameras"]
    assert (told["topic"], told["frames"], told["estimates"]) == (IMAGES, len(FRAMES), len(FRAMES))
    assert figures["bytes"] == written.stat().st_size
    assert figures["messages"] == len(content(written))
    assert told["messages"]["/points"] == len(content(written, "/points"))


def test_every_topic_brings_its_definition_and_its_qos(written):
    with Reader(written) as reader:
        assert all(connection.msgdef.data for connection in reader.connections)
        kept = {connection.topic for connection in reader.connections if bags.latched(connection)}
    assert kept == {name for name, output in OUTPUTS.items() if output.latched and content(written, name)} | {
        f"/{name}" for name, output in OUTPUTS.items() if output.latched and content(written, f"/{name}")
    }


def test_twice_gives_the_same_bytes(recorded, written, tmp_path):
    assert run(recorded, "--out", tmp_path / "another name.mcap", "--save-every", "1") == 0
    assert (tmp_path / "another name.mcap").read_bytes() == written.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["another name.mcap"]


MOMENTS = [
    "dpm_core.stream.session:Session:process:2",  # before anything is saved
    "dpm_ros.bags:BagWriter:finish:1",  # with a piece not complete
    "dpm_ros.bag_camera:BagCamera:_save:2",  # with frames done and not saved
    "dpm_ros.bags:BagWriter:_take_name:2",  # with a piece complete and without its name
    "dpm_core.stream.session:Session:process:3",
    "dpm_ros.bag_merge:_Inserted:after_image:5",  # with half of the bag written
    "dpm_ros.bags:BagWriter:_take_name:1",  # with all of it written
    *(0.03 * 2**attempt for attempt in range(5)),  # and whenever
]


def test_killed_at_any_moment_and_resumed_it_gives_the_same_bytes(recorded, written, tmp_path):
    command = [sys.executable, ROOT / "tests" / "ros" / "oracle_bag.py", json.dumps(MOMENTS), recorded]
    options = ["--out", tmp_path / "out.mcap", "--save-every", "2", "--json", tmp_path / "figures.json", "--overwrite"]
    done = subprocess.run([*map(str, command + options)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    killed = [line for line in done.stdout.splitlines() if line.startswith("dpm_") and line.endswith(" 9")]
    assert len(killed) == 7, done.stdout
    assert (tmp_path / "out.mcap").read_bytes() == written.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "out.mcap"]
