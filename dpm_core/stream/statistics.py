# SPDX-License-Identifier: Apache-2.0
"""What went in, what came out, what was dropped and why, and how long it took."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_KEPT = 1024  # newest durations a stage keeps for its percentiles


@dataclass(frozen=True)
class Percentiles:
    """Of a stage's newest durations, seconds."""

    p50: float
    p95: float
    max: float


@dataclass(frozen=True)
class Statistics:
    """A consistent picture at one moment.

    frames_in = estimates_out + the sum of dropped + waiting, always.

    Attributes:
        frames_in: frames offered.
        estimates_out: estimates delivered.
        dropped: frames that gave no estimate, by reason.
        waiting: frames in the inbox or in work.
        latency: percentiles by stage, seconds; "queue" is the wait in the inbox, "deliver" the receiver's
            own time, such as building and sending messages, "total" from offer to the end of delivery.
    """

    frames_in: int
    estimates_out: int
    dropped: Mapping[str, int]
    waiting: int
    latency: Mapping[str, Percentiles]

    def as_json(self) -> dict[str, Any]:
        """Plain numbers by name."""
        return asdict(self)


class Tally:
    """Collects what Statistics tells. Not thread-safe: its owner holds the lock."""

    def __init__(self) -> None:
        self.frames_in = 0
        self.estimates_out = 0
        self.dropped: Counter[str] = Counter()
        self._seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def time(self, seconds: Mapping[str, float]) -> None:
        """Add one duration to each named stage."""
        for stage, duration in seconds.items():
            self._seconds[stage].append(duration)

    def picture(self) -> Statistics:
        """What is known now."""
        waiting = self.frames_in - self.estimates_out - self.dropped.total()
        latency = {stage: _percentiles(durations) for stage, durations in self._seconds.items()}
        return Statistics(self.frames_in, self.estimates_out, dict(self.dropped), waiting, latency)


def _percentiles(durations: deque[float]) -> Percentiles:
    p50, p95, largest = np.percentile(durations, [50, 95, 100])
    return Percentiles(float(p50), float(p95), float(largest))
