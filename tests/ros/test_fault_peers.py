# SPDX-License-Identifier: Apache-2.0
"""Others that vanish, a disk that is full, and noise on every topic, over real DDS: docs/faults.md, "Who is there"."""

import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from dpm_ros import interface
from faulty_stream import FaultyStream
from noise import random_message
from std_srvs.srv import Trigger

RUDE_PEER = [sys.executable, str(Path(__file__).with_name("rude_peer.py"))]
LITTLE = 4096  # bytes: less than a map, more than the log


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("maps")


@pytest.fixture(scope="module")
def stream(graph, folder):
    return FaultyStream(graph, "house", "-p", f"map_folder:={folder}")


@contextmanager
def room_for(process, most):
    """A disk that takes so many bytes a file, as far as the process can tell."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, before[1]))
    yield
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


def save_map(stream):
    return stream.peer.call(Trigger, "/house/dpm/save_map", Trigger.Request())


def test_a_full_disk_is_told_leaves_nothing_behind_and_the_next_try_succeeds(stream, folder):
    for _ in range(7):  # more than a window
        stream.good()
    assert save_map(stream).success
    first = set(folder.iterdir())
    stream.good()
    with room_for(stream.node, LITTLE):
        answer = save_map(stream)
    assert not answer.success
    assert "cannot be written" in answer.message
    assert set(folder.iterdir()) == first
    stream.peer.until(lambda: "cannot be written" in stream.values.get("fault: save_map", ""), "it was not told")
    assert "save_map: " in stream.node.said()
    stream.good()
    assert save_map(stream).success
    assert len(set(folder.iterdir())) == 2
    stream.accounted()


def test_a_peer_that_is_killed_takes_nobody_with_it(graph, stream):
    """It published images and had subscribed to every output, reliably."""
    rude = graph.run(*RUDE_PEER, "/house")
    stream.peer.until(lambda: "answered 3" in rude.said(), lambda: rude.said())
    assert rude.end(signal.SIGKILL) == -signal.SIGKILL
    for _ in range(10):
        stream.good()
    assert stream.node.running


NOISY = (interface.CAMERA_INFO, interface.DEPTH_IN, interface.ODOM, interface.STATIC_TF, interface.IMAGE)


@pytest.mark.parametrize("topic", NOISY, ids=lambda topic: topic.name)
def test_noise_is_dropped_or_counted_and_the_node_goes_on(stream, topic):
    random = np.random.default_rng(0)
    publisher = stream.peer.publisher(topic.type, topic.name, getattr(topic, "qos", 100))
    for _ in range(100):
        publisher.publish(random_message(random, topic.type))
        stream.peer.spin(0.01)
    stream.peer.node.destroy_publisher(publisher)
    stream.peer.exchange(stream.images, stream.message())
    values = stream.peer.health()[2]
    assert values["waiting"] == "0"


def test_the_node_that_saw_all_this_ends_well(stream):
    """Last of those that share the node."""
    stream.ends_well()
