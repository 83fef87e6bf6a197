# SPDX-License-Identifier: Apache-2.0
import queue
import threading

import pytest
from oracle import OracleEngine, frame

from dpm_core.stream import LiveSession, Session, SessionConfig
from dpm_core.stream.lanes import ALL_BESIDE, MAP_BESIDE

WAIT = 20.0


class Held(OracleEngine):
    """An engine that waits for permission, so that tests decide what happens during inference."""

    def __init__(self):
        super().__init__()
        self.entered = queue.Queue()
        self.go = threading.Semaphore(0)

    def encode(self, image):
        tokens = super().encode(image)
        self.entered.put(int(tokens))
        assert self.go.acquire(timeout=WAIT)
        return tokens


@pytest.fixture
def live():
    engine, estimates, faults = Held(), queue.Queue(), queue.Queue()
    stream = LiveSession(Session(engine, SessionConfig(window=3)), estimates.put, faults.put)
    yield engine, stream, estimates, faults
    engine.go.release(1000)
    assert stream.close(WAIT)


def index_of(estimate):
    return (estimate.stamp_ns - 1_000_000_000) // 100_000_000


def test_the_newest_frame_wins_and_the_others_are_counted(live):
    engine, stream, estimates, _ = live
    stream.offer(frame(0))
    assert engine.entered.get(timeout=WAIT) == 0
    for index in range(1, 6):
        stream.offer(frame(index))
    engine.go.release(2)
    assert [index_of(estimates.get(timeout=WAIT)) for _ in range(2)] == [0, 5]
    assert stream.statistics().dropped == {"overload": 4}


def test_frames_in_are_estimates_out_plus_drops_plus_waiting(live):
    engine, stream, estimates, _ = live
    engine.go.release(1000)
    for index in range(60):
        stream.offer(frame(index))
        picture = stream.statistics()
        assert picture.frames_in == picture.estimates_out + sum(picture.dropped.values()) + picture.waiting
        assert 0 <= picture.waiting <= 3  # in the inbox, with the network, in the map
    while index_of(estimates.get(timeout=WAIT)) != 59:
        pass


def test_a_result_of_an_older_epoch_is_not_delivered(live):
    engine, stream, estimates, _ = live
    stream.offer(frame(0))
    engine.entered.get(timeout=WAIT)
    stream.offer(frame(1))
    stream.reset()
    stream.offer(frame(2))
    engine.go.release(2)
    assert index_of(estimates.get(timeout=WAIT)) == 2
    assert stream.statistics().dropped == {"reset": 2}
    assert engine.windows[-1] == [2]


class Receiver:
    """Takes estimates, and lets nobody go on before it may."""

    def __init__(self):
        self.taken, self.go = queue.Queue(), threading.Semaphore(0)

    def __call__(self, estimate):
        self.taken.put(index_of(estimate))
        assert self.go.acquire(timeout=WAIT)


@pytest.fixture
def slow():
    """A stream whose receiver is slow, and whose frames overlap on any device."""
    engine, receiver, faults = Held(), Receiver(), queue.Queue()
    stream = LiveSession(Session(engine, SessionConfig(window=3)), receiver, faults.put, lanes=MAP_BESIDE)
    yield engine, stream, receiver, faults
    for waits in (engine.go, receiver.go):
        waits.release(1000)
    assert stream.close(WAIT)


def one_delivered_one_with_the_network(slow):
    """Frame 0 is being delivered, frame 1 is with the network."""
    engine, stream, receiver, _ = slow
    stream.offer(frame(0))
    engine.go.release()
    assert engine.entered.get(timeout=WAIT) == 0
    assert receiver.taken.get(timeout=WAIT) == 0
    stream.offer(frame(1))
    assert engine.entered.get(timeout=WAIT) == 1


def test_while_one_is_delivered_another_is_with_the_network_and_one_waits(slow):
    engine, stream, receiver, _ = slow
    one_delivered_one_with_the_network(slow)
    for index in range(2, 6):
        stream.offer(frame(index))
    picture = stream.statistics()
    assert (picture.frames_in, picture.waiting, picture.dropped) == (6, 3, {"overload": 3})
    engine.go.release(2)
    receiver.go.release(2)
    assert [receiver.taken.get(timeout=WAIT) for _ in range(2)] == [1, 5]


def test_a_reset_drops_what_is_with_the_network_and_what_waits(slow):
    engine, stream, receiver, _ = slow
    one_delivered_one_with_the_network(slow)
    stream.offer(frame(2))
    stream.reset()
    stream.offer(frame(3))
    engine.go.release(2)
    receiver.go.release(2)
    assert receiver.taken.get(timeout=WAIT) == 3
    assert stream.statistics().dropped == {"reset": 2}
    assert engine.windows[-1] == [3]


def test_while_the_network_is_busy_the_frame_that_waits_is_made_ready():
    engine, prepared, estimates = Held(), queue.Queue(), queue.Queue()
    session = Session(engine, SessionConfig(window=3))
    prepare = session.prepare

    def telling(one):
        ready = prepare(one)
        prepared.put(one.stamp_ns)
        return ready

    session.prepare = telling
    stream = LiveSession(session, estimates.put, pytest.fail, lanes=ALL_BESIDE)
    stream.offer(frame(0))
    assert engine.entered.get(timeout=WAIT) == 0
    stream.offer(frame(1))
    assert [prepared.get(timeout=WAIT) for _ in range(2)] == [frame(index).stamp_ns for index in range(2)]
    engine.go.release(2)
    assert [index_of(estimates.get(timeout=WAIT)) for _ in range(2)] == [0, 1]
    assert stream.close(WAIT)


def test_a_receiver_may_close_the_stream():
    closed = queue.Queue()
    stream = LiveSession(Session(OracleEngine()), lambda _: closed.put(stream.close(WAIT)), pytest.fail)
    stream.offer(frame(0))
    assert closed.get(timeout=WAIT / 2) in (True, False)  # it does not wait for itself
    assert stream.close(WAIT)


def test_a_failing_network_is_told_of_and_survived(live):
    engine, stream, estimates, faults = live
    good = engine.predict

    def failing(*args):
        raise RuntimeError("out of\n memory")

    engine.predict = failing
    engine.go.release(2)
    stream.offer(frame(0))
    fault = faults.get(timeout=WAIT)
    assert (fault.cause, fault.message, fault.dropped) == ("RuntimeError", "out of memory", True)
    engine.predict = good
    stream.offer(frame(1))
    assert index_of(estimates.get(timeout=WAIT)) == 1


def test_a_failing_receiver_is_told_of_and_survived():
    engine, faults, calls = OracleEngine(), queue.Queue(), []

    def receiver(estimate):
        calls.append(estimate)
        raise ValueError("nobody listens")

    stream = LiveSession(Session(engine), receiver, faults.put)
    stream.offer(frame(0))
    assert faults.get(timeout=WAIT).cause == "delivery ValueError"
    stream.offer(frame(1))
    assert faults.get(timeout=WAIT).stamp_ns == frame(1).stamp_ns
    assert stream.close(WAIT)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("second", "cause", "dropped"),
    [(frame(30), "gap", False), (frame(0), "repeated stamp", True), (frame(0, stamp_ns=5), "backwards", False)],
)
def test_what_breaks_the_context_is_told(live, second, cause, dropped):
    engine, stream, estimates, faults = live
    engine.go.release(2)
    stream.offer(frame(0))
    estimates.get(timeout=WAIT)
    stream.offer(second)
    fault = faults.get(timeout=WAIT)
    assert (fault.cause, fault.dropped) == (cause, dropped)


def test_thresholds_arrive_with_the_next_frame(live):
    engine, stream, estimates, _ = live
    stream.configure(SessionConfig(window=3, min_confidence=99))
    engine.go.release()
    stream.offer(frame(0))
    assert len(estimates.get(timeout=WAIT).cloud.points) == 0


def test_latency_is_known_by_stage(live):
    engine, stream, estimates, _ = live
    engine.go.release()
    stream.offer(frame(0))
    estimates.get(timeout=WAIT)
    while not stream.statistics().estimates_out:
        pass
    latency = stream.statistics().latency
    session = {"prepare", "encode", "predict", "align", "motion", "fuse", "remember"}
    assert set(latency) == session | {"queue", "deliver", "total"}
    assert all(0 <= stage.p50 <= stage.p95 <= stage.max for stage in latency.values())


def test_closing_counts_what_waited(live):
    engine, stream, _, _ = live
    stream.offer(frame(0))
    engine.entered.get(timeout=WAIT)
    stream.offer(frame(1))
    threading.Timer(0.05, engine.go.release).start()
    assert stream.close(WAIT)
    assert stream.statistics().dropped["closed"] == 1
    stream.offer(frame(2))
    assert stream.statistics().frames_in == 2
