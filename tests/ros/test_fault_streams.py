# SPDX-License-Identifier: Apache-2.0
"""Streams that are too slow, too fast, or out of time, over real DDS: docs/faults.md, "How images come"."""

import time
from dataclasses import replace

import oracle
import pytest
from builtin_interfaces.msg import Time
from dpm_ros import interface
from faulty_stream import FaultyStream
from harness import image_message
from std_msgs.msg import Header

BURST = 500
SECONDS_AT_60_HZ = 5


@pytest.fixture(scope="module")
def stream(graph):
    return FaultyStream(graph, "camera", "-p", "no_image_timeout:=1.0")


def test_no_images_are_told_once_and_the_first_one_ends_it(stream):
    stream.peer.until(lambda: "fault: no images" in stream.values, "silence was not told")
    assert "none on /camera/image for" in stream.values["fault: no images"]
    assert "no images: none on /camera/image" in stream.node.said()
    stream.good()
    stream.accounted()


def test_a_camera_of_1_hz_is_one_window(stream):
    """As its stamps say: how long the test takes is another matter."""
    start = stream.frame().stamp_ns
    for second in range(4):
        stream.exchange(image_message(oracle.frame(7, stamp_ns=start + second * 10**9, frame_id="1 Hz")))
    stream.accounted()
    assert "fault: gap" not in stream.values


def test_a_gap_starts_the_window_anew_in_the_same_map(stream):
    start = stream.frame().stamp_ns + 10 * 10**9
    poses = len(stream.peer.heard["path"][-1].poses)
    stream.exchange(image_message(oracle.frame(7, stamp_ns=start)))
    stream.accounted()
    assert "a gap in time; the window starts anew" in stream.values["fault: gap"]
    assert "gap: a gap in time" in stream.node.said()
    stream.peer.until(lambda: len(stream.peer.heard["path"][-1].poses) == poses + 1, "the path did not go on")


def begins_anew(stream, message):
    """Time goes back with this image: a new map begins with it."""
    stream.exchange(message, interface.PATH)
    assert len(stream.peer.heard["path"][-1].poses) == 1
    stream.accounted()
    assert "time went back; a new map begins" in stream.values["fault: backwards"]
    assert "backwards: time went back" in stream.node.said()


def test_stamps_that_go_back_begin_a_new_map(stream):
    stream.good()
    begins_anew(stream, image_message(replace(stream.frame(), stamp_ns=10 * oracle.PERIOD_NS)))
    stream.good()


def test_a_stamp_that_is_repeated_is_dropped(stream):
    again = stream.message()
    stream.exchange(again)
    stream.survives(again, reason="repeated stamp", words="the second is left out")


def test_stamps_of_zero_are_one_stamp(stream):
    """The first of them is where time went back to, the others repeat it."""
    stream.good()
    zero = stream.message(header=Header(frame_id="camera"))
    begins_anew(stream, zero)
    stream.survives(zero, reason="repeated stamp", words="two frames have the stamp 0 ns")


def test_after_a_stamp_of_the_far_future_a_new_map_begins(stream):
    future = stream.message()
    future.header.stamp = Time(sec=2**31 - 1, nanosec=999_999_999)
    stream.exchange(future)
    begins_anew(stream, stream.message())


def test_a_stamp_before_all_time_begins_a_new_map(stream):
    past = stream.message()
    past.header.stamp = Time(sec=-(2**31), nanosec=0)
    begins_anew(stream, past)
    stream.good()


@pytest.mark.parametrize("sec", [0, 2**31 - 1])
def test_a_stamp_with_more_than_a_second_of_nanoseconds_is_named(stream, sec):
    wrong = stream.message()
    wrong.header.stamp = Time(sec=sec, nanosec=2**32 - 1)
    stream.survives(wrong, reason="unreadable image", words="stamp has 4294967295 nanoseconds")


def test_a_burst_is_taken_whole_and_the_newest_is_processed(stream):
    """Newest wins: what waits gives way, and is counted."""
    last = [stream.message() for _ in range(BURST)]
    stream.send(*last)
    stamp = last[-1].header.stamp
    stream.peer.until(lambda: any(p.header.stamp == stamp for p in stream.peer.heard["pose"]), "the newest was lost")
    stream.accounted()


def test_60_hz_are_answered_or_counted(stream):
    """tests/benchmarks/soak.py --rate 60 --minutes 1 does it for a minute."""
    begun, period = time.monotonic(), 1 / 60
    before = int(stream.values["estimates out"])
    for index in range(60 * SECONDS_AT_60_HZ):
        stream.send(stream.message())
        stream.peer.spin(max(0.0, begun + (index + 1) * period - time.monotonic()))
    stream.good()
    stream.accounted()
    assert int(stream.values["estimates out"]) > before + 1


def test_the_node_that_saw_all_this_ends_well(stream):
    """Last of those that share the node."""
    stream.ends_well()
