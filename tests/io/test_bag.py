# SPDX-License-Identifier: Apache-2.0
import sqlite3

import numpy as np
import pytest
from recordings import PERIOD, STAMP, STORE, K, camera_info, compressed, image, index_of, text, write_bag
from rosbags.interfaces import (
    MessageDefinitionFormat,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer

from dpm_core.errors import DpmError
from dpm_core.io import open_source

NEVER = QosTime(0, 0)
BEST_EFFORT = Qos(
    *(QosHistory.KEEP_LAST, 1, QosReliability.BEST_EFFORT, QosDurability.VOLATILE),
    *(NEVER, NEVER, QosLiveliness.AUTOMATIC, NEVER, False),
)
PLUGINS = [StoragePlugin.MCAP, StoragePlugin.SQLITE3]


def bag_file(folder):
    return next(path for path in folder.iterdir() if path.suffix in (".mcap", ".db3"))


def read(path, **options):
    with open_source(path, **options) as source:
        return list(source)


def refusal(path, **options):
    with pytest.raises(DpmError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("make", [image, compressed])
def test_reads_what_was_recorded(tmp_path, plugin, make):
    topics = {"/cam/image_raw": [make(index) for index in range(4)], "/cam/camera_info": [camera_info()]}
    frames = read(write_bag(tmp_path / "bag", topics, plugin))
    assert [index_of(frame) for frame in frames] == [0, 1, 2, 3]
    assert [frame.stamp_ns for frame in frames] == [STAMP + index * PERIOD for index in range(4)]
    assert {frame.frame_id for frame in frames} == {"front"}
    np.testing.assert_array_equal(frames[0].intrinsics, K)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_reads_the_file_alone(tmp_path, plugin):
    folder = write_bag(tmp_path / "bag", {"/cam": [image(0)]}, plugin)
    assert len(read(bag_file(folder))) == 1
    (folder / "metadata.yaml").unlink()
    assert len(read(folder)) == 1


def test_reads_bags_without_definitions(tmp_path):
    """Humble and earlier write none into .db3 files."""
    folder = write_bag(tmp_path / "bag", {"/cam": [image(0), image(1)]}, StoragePlugin.SQLITE3)
    with sqlite3.connect(bag_file(folder)) as database:
        database.execute("DELETE FROM message_definitions")
    with Reader(folder) as reader:
        assert {each.msgdef.format for each in reader.connections} == {MessageDefinitionFormat.NONE}
    assert [index_of(frame) for frame in read(folder)] == [0, 1]


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_reads_zstd(tmp_path, mode):
    source = write_bag(tmp_path / "plain", {"/cam": [image(0), image(1)]}, StoragePlugin.SQLITE3)
    writer = Writer(tmp_path / "small", version=9)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with Reader(source) as reader, writer:
        (given,) = reader.connections
        copy = writer.add_connection(given.topic, given.msgtype, msgdef=given.msgdef.data, rihs01=given.digest)
        for _, stamp, raw in reader.messages():
            writer.write(copy, stamp, raw)
    assert [index_of(frame) for frame in read(tmp_path / "small")] == [0, 1]


def test_a_topic_of_several_publishers_loses_nothing(tmp_path):
    kind = "sensor_msgs/msg/Image"
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for index, qos in enumerate([[], [BEST_EFFORT]]):
            publisher = writer.add_connection("/cam", kind, typestore=STORE, offered_qos_profiles=qos)
            writer.write(publisher, STAMP + index * PERIOD, STORE.serialize_cdr(image(index), kind))
    assert [index_of(frame) for frame in read(tmp_path / "bag")] == [0, 1]


def test_the_arrival_stands_in_for_a_missing_stamp(tmp_path):
    (frame,) = read(write_bag(tmp_path / "bag", {"/cam": [image(0, stamp_ns=0, frame_id="")]}))
    assert (frame.stamp_ns, frame.frame_id) == (STAMP, "camera")


@pytest.mark.parametrize(
    ("topic", "info_topic"),
    [("/a/image_raw", "/a/camera_info"), ("/a/image_raw/compressed", "/a/camera_info"), ("/image", "/camera_info")],
)
def test_finds_the_calibration_beside_the_topic(tmp_path, topic, info_topic):
    topics = {topic: [image(0)], info_topic: [camera_info()], "/other/camera_info": [camera_info(2 * K)]}
    (frame,) = read(write_bag(tmp_path / "bag", topics))
    np.testing.assert_array_equal(frame.intrinsics, K)


@pytest.mark.parametrize("info", [camera_info(0 * K), camera_info(height=99)], ids=["zeros", "another size"])
def test_does_not_believe_a_calibration_that_cannot_be(tmp_path, info):
    (frame,) = read(write_bag(tmp_path / "bag", {"/cam/image": [image(0)], "/cam/camera_info": [info]}))
    assert frame.intrinsics is None


def depth_image():
    return image(0, "16UC1", pixels=np.ones((24, 32), np.uint16))


def depth_png():
    return compressed(0, "16UC1; png", ".png", np.ones((24, 32), np.uint16))


@pytest.mark.parametrize("depth", [depth_image, depth_png])
def test_leaves_depth_topics_out_of_the_choice(tmp_path, depth):
    bag = write_bag(tmp_path / "bag", {"/depth": [depth()], "/colour": [image(3)]})
    assert [index_of(frame) for frame in read(bag)] == [3]
    message = refusal(bag, topic="/depth")
    assert message.endswith("has no camera images on /depth; choose with --topic /colour")


def test_asks_which_of_several_topics(tmp_path):
    bag = write_bag(tmp_path / "bag", {"/left": [image(1)], "/right": [image(2)]})
    assert "several camera image topics; choose with --topic /left or --topic /right" in refusal(bag)
    assert [index_of(frame) for frame in read(bag, topic="/right")] == [2]


def test_lists_the_topics_of_a_bag_without_images(tmp_path):
    bag = write_bag(tmp_path / "bag", {"/chatter": [text("hello"), text("you")], "/depth": [depth_image()]})
    message = refusal(bag)
    assert "has no camera images; its topics are: /chatter (std_msgs/msg/String, 2), /depth (sensor_msgs" in message


@pytest.mark.parametrize("plugin", PLUGINS)
def test_an_empty_bag(tmp_path, plugin):
    assert "is a bag with no message; record it anew" in refusal(write_bag(tmp_path / "bag", {"/cam": []}, plugin))


@pytest.mark.parametrize(
    ("plugin", "kept"), [*((plugin, kept) for plugin in PLUGINS for kept in (0, 0.001, 0.3, 0.7)), (PLUGINS[0], 0.999)]
)
def test_a_truncated_bag(tmp_path, plugin, kept):
    bag = write_bag(tmp_path / "bag", {"/cam": [image(index) for index in range(9)]}, plugin)
    file = bag_file(bag)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    for path in (file, bag):
        assert str(path) in refusal(path)


def test_an_unknown_encoding(tmp_path):
    message = refusal(write_bag(tmp_path / "bag", {"/cam": [image(0, "rgb7")]}))
    assert "topic /cam" in message
    assert "image encoding 'rgb7' is not known; send one of: rgb8, bgr8" in message


def test_a_damaged_image(tmp_path):
    broken = compressed(1)
    broken.data = broken.data[: len(broken.data) // 2]
    message = refusal(write_bag(tmp_path / "bag", {"/cam": [compressed(0), broken]}))
    assert f"stamp {STAMP + PERIOD} ns" in message


def test_something_else_with_a_bag_name(tmp_path):
    (tmp_path / "bag.mcap").write_text("not a bag at all, only words")
    assert "cannot be read as a bag" in refusal(tmp_path / "bag.mcap")
