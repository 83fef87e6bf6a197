# SPDX-License-Identifier: Apache-2.0
"""Where the steps of a frame run: each on a thread of its own beside the others, or all in line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

MakeLane = Callable[[str], Executor]
"""name -> where one step runs, one frame after another."""


def beside(name: str) -> Executor:
    """A thread of that name."""
    return ThreadPoolExecutor(1, thread_name_prefix=name)


def in_line(name: str) -> Executor:
    """The thread that gives the work, before it goes on. name: as `beside` takes it."""
    return _InLine()


def when_asked(name: str) -> Executor:
    """The thread that asks for the result, if any does. name: as `beside` takes it."""
    return _WhenAsked()


class _InLine(Executor):
    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        _do(partial(work, *args, **kwargs), done)
        return done


class _WhenAsked(Executor):
    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return _Deferred(partial(work, *args, **kwargs))


class _Deferred(Future[T]):
    """Work that one thread asks for."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> T:
        if not self.done():
            _do(self._work, self)
        return super().result(timeout)


def _do(work: Callable[[], T], done: Future[T]) -> None:
    try:
        done.set_result(work())
    except Exception as error:  # belongs to who asks for the result, as on a thread
        done.set_exception(error)


@dataclass(frozen=True)
class Lanes:
    """Where each step runs.

    Attributes:
        prepare: what makes a network's input of a camera's image.
        network: the network.
        map: all that comes behind it, to the message or the file.
    """

    prepare: MakeLane
    network: MakeLane
    map: MakeLane


ONE_AFTER_ANOTHER = Lanes(when_asked, in_line, in_line)
MAP_BESIDE = Lanes(when_asked, in_line, beside)
ALL_BESIDE = Lanes(beside, beside, beside)


def most_frames(device: torch.device) -> Lanes:
    """For recordings: what is soonest through, by what `dpm bench overlap` measures of a network on the device.

    A network on a GPU leaves the host free. One on the CPU leaves the cores that torch has no threads for; where there
    are none, overlapping makes frames later and no more of them. Reading ahead would win a hundredth there, and who
    interrupts a run would wait for the network.
    """
    if device.type != "cpu":
        return ALL_BESIDE
    return MAP_BESIDE if torch.get_num_threads() < _cores() else ONE_AFTER_ANOTHER


def soonest(device: torch.device) -> Lanes:
    """For robots: each estimate as soon after its image as can be.

    Networks on the CPU are slower beside the map even where it has a core of its own: with one of two cores each,
    vdpm-mini gave 8 % more estimates, each 19 % later.
    """
    return ALL_BESIDE if device.type != "cpu" else ONE_AFTER_ANOTHER


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class SideQueue:
    """Where a step queues its work on a GPU: beside the other steps' work. On a CPU there are no queues.

    torch has the same names for both; those of the CPU do nothing.
    """

    def __init__(self) -> None:
        self._streams: dict[torch.device, Any] = {}

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """Queue on this device what is given within; it is done when the block ends.

        What is read within was waited for by whoever made it. Its memory may be used for other things as soon as
        nobody holds it, since nothing that reads it is left in the queue.
        """
        module = torch.get_device_module(device)
        if device not in self._streams:
            self._streams[device] = module.Stream(device)
        with module.stream(self._streams[device]):
            try:
                yield
            finally:
                done = module.Event()
                done.record(self._streams[device])
                done.synchronize()
