# SPDX-License-Identifier: Apache-2.0
"""Faults are said once a cause, then at most every few seconds, with totals; all are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_LONGEST = 400  # a message may quote what a topic sent


@dataclass
class _Cause:
    count: int
    message: str
    said_at: float


class FaultLog:
    """Counts faults by cause and passes on the ones worth a line. May be called from any thread."""

    def __init__(
        self, say: Callable[[str], object], period: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._period = period
        self._clock = clock
        self._lock = threading.Lock()
        self._causes: dict[str, _Cause] = {}

    def report(self, cause: str, message: str) -> None:
        """Count one fault. `cause` is one of few words; `message` is cut to one line of bounded length."""
        message = " ".join(message.split())[:_LONGEST]
        now = self._clock()
        with self._lock:
            known = self._causes.get(cause)
            if known is None:
                self._causes[cause] = _Cause(1, message, now)
                line = f"{cause}: {message}"
            else:
                known.count += 1
                known.message = message
                if now - known.said_at < self._period:
                    return
                known.said_at = now
                line = f"{cause}: {message} ({known.count} times so far)"
        self._say(line)

    def totals(self) -> dict[str, tuple[int, str]]:
        """How often each cause was reported, and its newest message."""
        with self._lock:
            return {cause: (known.count, known.message) for cause, known in self._causes.items()}
