# SPDX-License-Identifier: Apache-2.0
"""Where work runs, and which way is chosen for a device."""

import threading
from contextlib import contextmanager

import pytest
import torch

from dpm_core.stream import lanes
from dpm_core.stream.lanes import (
    ALL_BESIDE,
    MAP_BESIDE,
    ONE_AFTER_ANOTHER,
    SideQueue,
    beside,
    in_line,
    most_frames,
    soonest,
    when_asked,
)


def fail():
    raise ValueError("no")


@pytest.mark.parametrize("make", [beside, in_line, when_asked])
def test_a_result_or_an_error_comes_to_who_asks_for_it(make):
    with make("dpm-test") as lane:
        assert lane.submit(max, 1, 2).result() == 2
        failed = lane.submit(fail)
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                failed.result()


def test_work_beside_has_a_thread_of_its_own_with_its_name():
    with beside("dpm-test") as lane:
        name = lane.submit(lambda: threading.current_thread().name).result()
    assert name.startswith("dpm-test")


def test_work_in_line_is_done_when_it_was_given():
    done = []
    in_line("").submit(done.append, 1)
    assert done == [1]


def test_work_when_asked_is_done_once_and_only_if_somebody_asks():
    done = []
    lane = when_asked("")
    given, cancelled = lane.submit(done.append, "given"), lane.submit(done.append, "cancelled")
    cancelled.cancel()
    assert done == []
    given.result()
    given.result()
    assert done == ["given"]


@pytest.mark.parametrize(
    ("device", "threads", "cores", "chosen"),
    [
        ("cpu", 2, 2, ONE_AFTER_ANOTHER),
        ("cpu", 4, 8, MAP_BESIDE),
        ("cuda", 2, 2, ALL_BESIDE),
    ],
)
def test_frames_of_a_recording_overlap_where_the_network_leaves_processors_free(
    monkeypatch, device, threads, cores, chosen
):
    monkeypatch.setattr(lanes.torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(lanes, "_cores", lambda: cores)
    assert most_frames(torch.device(device)) == chosen


@pytest.mark.parametrize(("device", "chosen"), [("cpu", ONE_AFTER_ANOTHER), ("cuda", ALL_BESIDE)])
def test_frames_of_a_robot_overlap_where_that_makes_none_later(monkeypatch, device, chosen):
    monkeypatch.setattr(lanes.torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(lanes, "_cores", lambda: 8)
    assert soonest(torch.device(device)) == chosen


class Device:
    """Stands for torch's module of a device, and tells what was asked of it."""

    def __init__(self):
        self.told = []

    def Stream(self, device):  # noqa: N802 (torch's name)
        self.told.append(f"queue on {device}")
        return "queue"

    @contextmanager
    def stream(self, queue):
        self.told.append(f"begin on {queue}")
        yield
        self.told.append("end")

    def Event(self):  # noqa: N802 (torch's name)
        return self

    def record(self, queue):
        self.told.append(f"mark {queue}")

    def synchronize(self):
        self.told.append("wait for the mark")


def test_a_step_s_queue_is_made_once_and_empty_when_the_step_ends_however_it_ends(monkeypatch):
    device, queue = Device(), SideQueue()
    monkeypatch.setattr(lanes.torch, "get_device_module", lambda _: device)
    with queue.on(torch.device("cuda:1")):
        device.told.append("work")
    once = ["begin on queue", "work", "mark queue", "wait for the mark", "end"]
    assert device.told == ["queue on cuda:1", *once]
    with pytest.raises(ValueError, match="no"), queue.on(torch.device("cuda:1")):
        fail()
    assert device.told[-2:] == ["mark queue", "wait for the mark"]
    assert device.told.count("queue on cuda:1") == 1
