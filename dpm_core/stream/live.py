# SPDX-License-Identifier: Apache-2.0
"""A session with threads of its own and room for one waiting frame: the newest wins, what is dropped is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from ..types import Estimate, Frame
from .config import SessionConfig
from .intake import Prepared
from .lanes import Lanes, soonest
from .pipeline import Outcome, Pipeline
from .session import RepeatedStampError, Session
from .statistics import Statistics, Tally
from .wanted import Wanted
from .window import Break


@dataclass(frozen=True)
class Fault:
    """Something that a person should hear of; the stream goes on.

    Attributes:
        cause: a short name, the same for the same kind of fault, to count and throttle by.
        message: one line.
        stamp_ns: of the frame it happened at.
        dropped: whether that frame gave no estimate.
        new_map: whether what comes next is in a new map.
    """

    cause: str
    message: str
    stamp_ns: int
    dropped: bool
    new_map: bool = False


@dataclass(frozen=True)
class _Waiting:
    frame: Frame
    ready: Future[Prepared]
    epoch: int
    since: float


class LiveSession:
    """Runs `session` on a worker thread; `on_estimate` and `on_fault` are called in order, always on the same thread.

    Beside a GPU that thread is another: while a frame is with the network, the estimate of the one before is made and
    delivered (`Pipeline`).

    The drop policy: one frame may wait. A newer frame takes the place of the waiting one, which is counted under
    "overload". `reset` begins a new epoch: what waits or is in work belongs to the old one, counted under "reset".
    """

    def __init__(
        self,
        session: Session,
        on_estimate: Callable[[Estimate], None],
        on_fault: Callable[[Fault], None],
        wanted: Callable[[], Wanted] = Wanted,
        lanes: Lanes | None = None,
    ) -> None:
        """Begin.

        Args:
            session: makes the estimates.
            on_estimate: takes each of them.
            on_fault: takes what a person should hear of.
            wanted: what somebody listens to, asked anew for each frame; by default everything.
            lanes: by default what is best for the engine's device; the network's is the worker always.
        """
        self._session = session
        lanes = lanes or soonest(session.engine.device)
        self._preparing = lanes.prepare("dpm-prepare")
        self._pipeline = Pipeline(session, lanes)
        self._teller: threading.Thread | None = None
        self._on_estimate = on_estimate
        self._on_fault = on_fault
        self._wanted = wanted
        self._changed = threading.Condition()
        self._waiting: _Waiting | None = None
        self._config: SessionConfig | None = None
        self._epoch = 0
        self._closed = False
        self._tally = Tally()
        self._worker = threading.Thread(target=self._work, name="dpm-session", daemon=True)
        self._worker.start()

    def offer(self, frame: Frame) -> None:
        """Take the newest frame; returns at once."""
        with self._changed:
            if self._closed:
                return
            self._tally.frames_in += 1
            self._drop_waiting("overload")
            ready = self._preparing.submit(self._session.prepare, frame)
            self._waiting = _Waiting(frame, ready, self._epoch, time.perf_counter())
            self._changed.notify()

    def reset(self) -> None:
        """Begin a new epoch and a new map; results of frames offered before are not delivered."""
        with self._changed:
            self._epoch += 1
            self._drop_waiting("reset")

    def configure(self, config: SessionConfig) -> None:
        """Use other thresholds from the next frame on. The last of several calls counts."""
        with self._changed:
            self._config = config

    def statistics(self) -> Statistics:
        """What went in, came out and was dropped so far."""
        with self._changed:
            return self._tally.picture()

    def close(self, timeout: float = 10.0) -> bool:
        """Drop what waits and end the worker; whether it ended in time (seconds)."""
        with self._changed:
            self._closed = True
            self._drop_waiting("closed")
            self._changed.notify()
        if threading.current_thread() not in (self._worker, self._teller):
            self._worker.join(timeout)
        return not self._worker.is_alive()

    def _drop_waiting(self, cause: str) -> None:
        if self._waiting is not None:
            self._waiting.ready.cancel()
            self._waiting = None
            self._tally.dropped[cause] += 1

    def _work(self) -> None:
        epoch = self._epoch
        with self._pipeline, self._preparing:
            while (taken := self._take()) is not None:
                waiting, config = taken
                if config is not None:
                    self._session.configure(config)
                if waiting.epoch != epoch:
                    self._session.reset()
                    epoch = waiting.epoch
                self._look(waiting)

    def _take(self) -> tuple[_Waiting, SessionConfig | None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting is not None)
            if self._waiting is None:
                return None
            waiting, self._waiting = self._waiting, None
            config, self._config = self._config, None
            return waiting, config

    def _look(self, waiting: _Waiting) -> None:
        queued = time.perf_counter() - waiting.since
        tell = partial(self._tell, waiting, queued)
        self._pipeline.add(waiting.frame, waiting.ready.result, tell, self._wanted())

    def _tell(self, waiting: _Waiting, queued: float, outcome: Outcome) -> None:
        self._teller = threading.current_thread()
        if outcome.broken is not None:
            self._tell_of_break(outcome.frame, outcome.broken)
        if outcome.estimate is not None:
            self._deliver(waiting, outcome.estimate, queued)
        elif isinstance(outcome.error, RepeatedStampError):
            self._drop(outcome.frame, "repeated stamp", str(outcome.error))
        else:  # the stream goes on with a new map
            said = " ".join(str(outcome.error).split()) or "no message"
            self._drop(outcome.frame, type(outcome.error).__name__, said, new_map=True)

    def _tell_of_break(self, frame: Frame, broken: Break) -> None:
        if broken is Break.REPEATED:
            return
        new_map = broken is Break.BACKWARDS
        message = f"{broken.value}; {'a new map begins' if new_map else 'the window starts anew'}"
        self._on_fault(Fault(broken.name.lower(), message, frame.stamp_ns, dropped=False, new_map=new_map))

    def _drop(self, frame: Frame, cause: str, message: str, new_map: bool = False) -> None:
        with self._changed:
            self._tally.dropped[cause] += 1
        self._on_fault(Fault(cause, message, frame.stamp_ns, dropped=True, new_map=new_map))

    def _deliver(self, waiting: _Waiting, estimate: Estimate, queued: float) -> None:
        with self._changed:
            if waiting.epoch != self._epoch:
                self._tally.dropped["reset"] += 1
                return
        ready = time.perf_counter()
        try:
            self._on_estimate(estimate)
        except Exception as error:  # a subscriber's fault is not the stream's end
            self._drop(waiting.frame, f"delivery {type(error).__name__}", " ".join(str(error).split()))
            return
        done = time.perf_counter()
        with self._changed:
            self._tally.estimates_out += 1
            outside = {"deliver": done - ready, "total": done - waiting.since}
            self._tally.time({"queue": queued, **estimate.seconds, **outside})
