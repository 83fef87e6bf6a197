# SPDX-License-Identifier: Apache-2.0
"""The robot and the desk give the same numbers: the real network over DDS and with no ROS, on the bundled recording."""

import os
import sys

import numpy as np
import pytest
import torch
from dpm_ros import conversions, interface
from dpm_ros.node import main
from harness import PATIENCE, REAL_NODE, ROOT
from rclpy.duration import Duration
from test_conversions import columns, read_back

from dpm_core.engines import open_engine
from dpm_core.io import open_source
from dpm_core.stream import Session

WALKING = ROOT / "demo" / "walking"
COUNT = 6  # one more than the window holds
TOPICS = ("image:=/camera/color/image_raw", "camera_info:=/camera/color/camera_info")


@pytest.fixture(scope="module")
def offline(graph):
    """With as many threads as the node has: sums in another order put other points at a threshold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    session = Session(open_engine())
    with open_source(WALKING, limit=COUNT) as source:
        estimates = [session.process(frame) for frame in source]
    torch.set_num_threads(threads)
    return estimates


def calibrate(peer):
    """Tell the calibration before the first image: its own comes behind it, and a player that waits sends none."""
    with open_source(WALKING, limit=1) as source:
        (frame,) = source
    calibration = peer.publisher(interface.CAMERA_INFO.type, "/camera/color/camera_info")
    header = conversions.header(frame.stamp_ns, frame.frame_id)
    calibration.publish(conversions.camera_info(header, frame.intrinsics, *frame.image.shape[:2]))
    assert calibration.wait_for_all_acked(Duration(seconds=PATIENCE))


@pytest.fixture(scope="module")
def heard(graph, offline):
    """The node's answers to `dpm replay --answer pose`, which sends an image when the one before was answered."""
    remapped = [part for topic in TOPICS for part in ("-r", topic)]
    node = graph.node("-p", "image_transport:=compressed", "-p", "image_qos:=reliable", *remapped, command=REAL_NODE)
    peer = graph.peer().hear()
    peer.until(lambda: all(ear.get_publisher_count() for ear in peer.ears), "the node does not offer all outputs")
    calibrate(peer)
    replay = [sys.executable, "-m", "dpm_ros.replay", WALKING, "--rate", "100", "--wait-for", "2", "--answer", "pose"]
    player = graph.run(*replay)
    needed = ("points", "depth/image", "depth/camera_info", "confidence", "dynamic_mask", "pose")
    peer.until(
        lambda: all(len(peer.heard[name]) >= COUNT for name in needed),
        lambda: f"only {[len(peer.heard[name]) for name in needed]}; {node.said()} {player.said()}",
    )
    player.end()
    assert node.end() == 0
    return peer.heard


def test_no_frame_is_lost_and_each_has_its_stamp(heard, offline):
    stamps = [conversions.nanoseconds(message.header.stamp) for message in heard["points"][:COUNT]]
    assert stamps == [estimate.stamp_ns for estimate in offline]


@pytest.mark.parametrize("index", range(COUNT))
def test_every_number_is_the_same(heard, offline, index):
    estimate = offline[index]
    cloud = columns(read_back(heard["points"][index]), "x", "y", "z")
    rotation, centre = estimate.world_from_camera[:3, :3], estimate.world_from_camera[:3, 3]
    assert heard["points"][index].header.frame_id == estimate.frame_id
    np.testing.assert_allclose(cloud, (estimate.cloud.points - centre) @ rotation, rtol=1e-5, atol=1e-5)
    for name, expected in (("depth/image", estimate.depth), ("confidence", estimate.conf)):
        message = heard[name][index]
        assert message.header.frame_id == estimate.frame_id
        pixels = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
        np.testing.assert_allclose(pixels, expected, rtol=1e-5, atol=1e-5)
    mask = heard["dynamic_mask"][index]
    np.testing.assert_array_equal(np.frombuffer(mask.data, np.uint8).reshape(mask.height, -1) > 0, estimate.dynamic)
    position = heard["pose"][index].pose.position
    np.testing.assert_allclose(
        [position.x, position.y, position.z], estimate.world_from_camera[:3, 3], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(heard["depth/camera_info"][index].k, estimate.intrinsics.ravel(), rtol=1e-5)


@pytest.mark.parametrize(
    ("argument", "word"), [("model:=no-such", "no-such"), ("weights:=/no/such.safetensors", "/no/such.safetensors")]
)
def test_a_network_that_is_not_there_is_one_line_and_two(graph, capfd, argument, word):
    assert main(["dpm", "--ros-args", "-p", argument]) == 2
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("dpm: ")
    assert word in last
