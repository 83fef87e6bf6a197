# SPDX-License-Identifier: Apache-2.0
"""How far a build is: TensorRT tells of phases within phases, a person wants one fraction that grows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from .tensorrt_library import Library

OnProgress: TypeAlias = Callable[[float], None]
"""Is told the fraction that is done, in [0, 1], never less than before."""


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """The phases that run now. Thread-safe: a build calls from several threads."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._running: dict[str, _Phase] = {}
        self._told = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of `steps` steps begins, within a step of its parent."""
        with self._lock:
            self._running[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str) -> None:
        """One more step is done."""
        with self._lock:
            if name in self._running:
                self._running[name].done += 1
            self._tell()

    def finish(self, name: str) -> None:
        """A phase ends, whether all its steps were needed or not."""
        with self._lock:
            self._running.pop(name, None)

    def _tell(self) -> None:
        roots = [name for name, phase in self._running.items() if phase.parent not in self._running]
        self._told = max([self._told, *map(self._fraction, roots)])
        self._on_progress(self._told)

    def _fraction(self, name: str) -> float:
        phase = self._running[name]
        within = [self._fraction(child) for child, other in self._running.items() if other.parent == name]
        return min((phase.done + max(within, default=0.0)) / phase.steps, 1.0)


class Interrupt:
    """What came up in Python while the library built, Ctrl-C for one. It may not pass through C++: it waits here."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def raise_again(self) -> None:
        """Out of the build again: what came up goes its way."""
        if self.error is not None:
            raise self.error


def progress_monitor(library: Library, phases: Phases, interrupt: Interrupt) -> Any:
    """The library's IProgressMonitor over `phases`; what is raised meanwhile ends the build."""

    base: Any = library.module.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            try:
                phases.step(name)
            except BaseException as error:
                interrupt.error = error
            return interrupt.error is None

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    return Monitor()
