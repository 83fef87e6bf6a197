# SPDX-License-Identifier: Apache-2.0
"""Successive frames overlapped: the network looks at one while the map takes in the one before it.

Every frame goes through the session's steps in the order in which it came, and every step sees what it would see if
frames were processed one after another, faults included: the results are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from ..types import Estimate, Frame
from .intake import Prepared
from .lanes import Lanes, most_frames
from .mapper import Predicted
from .session import RepeatedStampError, Session
from .wanted import EVERYTHING, Wanted
from .window import Break


@dataclass(frozen=True)
class Outcome:
    """What became of a frame.

    Attributes:
        frame: as it came.
        broken: what broke the context before it, if anything did.
        estimate: made of it; None where it failed.
        error: why it failed; None where it did not. But for a repeated stamp, the session began anew.
    """

    frame: Frame
    broken: Break | None
    estimate: Estimate | None
    error: Exception | None

    def result(self) -> Estimate:
        """The estimate, or its error raised."""
        if self.error is not None:
            raise self.error
        assert self.estimate is not None
        return self.estimate


Deliver = Callable[[Outcome], None]


@dataclass(frozen=True)
class _Looked:
    """A frame that the network has seen: what it said, or why it did not."""

    frame: Frame
    broken: Break | None
    predicted: Predicted | None
    error: Exception | None


class Pipeline:
    """Runs the network on the thread that calls `add`, and the rest of each frame on a lane of its own.

    At most one frame is with the network and one behind it: `add` waits until the map is free. Where a frame fails in
    the map, which begins anew then, the network looks again at the frame that it saw meanwhile. A context manager: all
    that was added is delivered when it ends well, and its thread has ended when it ends.
    """

    def __init__(self, session: Session, lanes: Lanes) -> None:
        """lanes: of which the map's is used."""
        self._session = session
        self._lane = lanes.map("dpm-map")
        self._before: Future[bool] | None = None

    def add(
        self,
        frame: Frame,
        prepare: Callable[[], Prepared],
        deliver: Deliver,
        wanted: Wanted = EVERYTHING,
    ) -> None:
        """Look at one frame, and let the rest follow.

        Args:
            frame: the next one.
            prepare: gives what `Session.prepare` makes of it, or raises what that raises.
            deliver: called once with the outcome, on the lane's thread, in the order of frames.
            wanted: what of the estimate somebody listens to.

        Raises:
            Exception: what `deliver` raised for the frame before; this one is lost then.
        """
        if self._before is not None and self._before.done():
            self._settle()
        looked = self._look(frame, prepare, wanted)
        if self._settle():
            looked = self._look(frame, prepare, wanted)
        self._before = self._lane.submit(self._finish, looked, deliver)

    def drain(self) -> None:
        """Wait until all that was added is delivered; the session is then as after its last frame.

        Raises:
            Exception: what `deliver` raised.
        """
        self._settle()

    def close(self) -> None:
        """Wait for what is in work, and end the thread."""
        self._lane.shutdown()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.drain()
        finally:
            self.close()

    def _look(self, frame: Frame, prepare: Callable[[], Prepared], wanted: Wanted) -> _Looked:
        broken = self._session.break_before(frame)
        try:
            return _Looked(frame, broken, self._session.predict(prepare(), wanted), None)
        except RepeatedStampError as error:
            return _Looked(frame, broken, None, error)
        except Exception as error:  # whatever the network or a kernel raises, belongs to this frame alone
            self._session.reset()
            return _Looked(frame, broken, None, error)

    def _finish(self, looked: _Looked, deliver: Deliver) -> bool:
        """The rest of a frame; whether the map took it in."""
        estimate, error = None, looked.error
        if looked.predicted is not None:
            try:
                estimate = self._session.estimate(looked.predicted)
            except Exception as failed:
                error = failed
        deliver(Outcome(looked.frame, looked.broken, estimate, error))
        return looked.predicted is None or estimate is not None

    def _settle(self) -> bool:
        """Wait for the frame before; whether it failed in the map, and the session was reset for that."""
        before, self._before = self._before, None
        failed = before is not None and not before.result()
        if failed:
            self._session.reset()
        return failed


class Reader:
    """Feeds a pipeline from a recording: its caller reads a frame, and `add` prepares it, while the network looks at
    the one before. No frame is dropped. A context manager, as a pipeline is.
    """

    def __init__(self, session: Session, wanted: Wanted = EVERYTHING, lanes: Lanes | None = None) -> None:
        """Begin.

        Args:
            session: makes the estimates.
            wanted: what of the estimates somebody listens to.
            lanes: by default what is best for the engine's device.
        """
        lanes = lanes or most_frames(session.engine.device)
        self._session, self._wanted = session, wanted
        self._pipeline = Pipeline(session, lanes)
        self._preparing = lanes.prepare("dpm-prepare")
        self._network = lanes.network("dpm-network")
        self._looking: Future[None] | None = None

    def add(self, frame: Frame, deliver: Deliver) -> None:
        """Prepare a frame, and let the network look at it when it has seen the one before.

        Args:
            frame: the next one.
            deliver: as Pipeline's.

        Raises:
            Exception: what `deliver` raised for one of the frames before.
        """
        prepared = self._preparing.submit(self._session.prepare, frame)
        self._settle()
        look = partial(self._pipeline.add, frame, prepared.result, deliver, self._wanted)
        self._looking = self._network.submit(look)

    def drain(self) -> None:
        """As Pipeline's."""
        self._settle()
        self._pipeline.drain()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.drain()
        finally:
            self._network.shutdown()
            self._preparing.shutdown()
            self._pipeline.close()

    def _settle(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.result()
