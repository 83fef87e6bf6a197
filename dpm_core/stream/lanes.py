# SPDX-License-Identifier: Apache-2.0
"""Where the steps of a frame run: each on a thread of its own beside the others, or all in line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
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
    """The thread that gives the work. name: as `beside` takes it."""
    return _InLine()


class _InLine(Executor):
    """Does what it is given before it returns: nothing overlaps."""

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except Exception as error:  # belongs to who asks for the result, as on a thread
            done.set_exception(error)
        return done


@dataclass(frozen=True)
class Lanes:
    """Where each step runs.

    Attributes:
        network: the network's.
        map: that of what comes behind it, to the message or the file.
    """

    network: MakeLane
    map: MakeLane


ONE_AFTER_ANOTHER = Lanes(in_line, in_line)
MAP_BESIDE = Lanes(in_line, beside)
ALL_BESIDE = Lanes(beside, beside)


def lanes_for(device: torch.device) -> Lanes:
    """What is best for the device.

    On a GPU the host reads and prepares while the network runs. A network on the CPU uses all its cores, so that
    nothing is won by reading ahead (a hundredth of a frame's time), and Ctrl-C ends it at once.
    """
    return MAP_BESIDE if device.type == "cpu" else ALL_BESIDE


def moment(device: torch.device) -> Any:
    """This moment of the caller's own queue on a device, for a `SideQueue` to begin after; a torch Event."""
    module = torch.get_device_module(device)
    event = module.Event()
    event.record(module.current_stream(device))
    return event


class SideQueue:
    """Where a step queues its work on a GPU: beside the other steps' work. On a CPU there are no queues.

    torch has the same names for both; those of the CPU do nothing.
    """

    def __init__(self) -> None:
        self._streams: dict[torch.device, Any] = {}

    @contextmanager
    def on(self, device: torch.device, after: Any = None) -> Iterator[None]:
        """Queue here what is given within; it is done when the block ends.

        So memory that was read within may be used for other things as soon as nobody holds it.

        Args:
            device: where the work is done.
            after: a `moment` before which it must not begin.
        """
        module = torch.get_device_module(device)
        if device not in self._streams:
            self._streams[device] = module.Stream(device)
        with module.stream(self._streams[device]):
            if after is not None:
                after.wait(self._streams[device])
            try:
                yield
            finally:
                done = module.Event()
                done.record(self._streams[device])
                done.synchronize()
