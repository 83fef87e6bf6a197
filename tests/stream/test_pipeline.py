# SPDX-License-Identifier: Apache-2.0
"""Frames that overlap give what frames one after another give, to the bit, whatever fails and wherever."""

import copy
import threading
from dataclasses import fields, is_dataclass
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import OracleEngine, frame

from dpm_core.errors import DpmError
from dpm_core.stream import Outcome, Pipeline, Reader, RepeatedStampError, Session, SessionConfig
from dpm_core.stream.lanes import ALL_BESIDE, MAP_BESIDE, ONE_AFTER_ANOTHER

WAIT = 20.0
CONFIG = SessionConfig(window=3, max_gap_s=0.5)
LANES = {"one after another": ONE_AFTER_ANOTHER, "map beside": MAP_BESIDE, "all beside": ALL_BESIDE}
STEPS = ["prepare", "predict", "estimate"]

every_lane = pytest.mark.parametrize("lanes", LANES.values(), ids=LANES)


class SteadyOracle(OracleEngine):
    """Its unit hangs on the frames it sees, not on how often it was asked."""

    def unit(self, window):
        return super().unit(self.windows[window][-1])


class Fragile(Session):
    """Fails in chosen steps of chosen frames. fails: {stamp: step}."""

    def __init__(self, fails=None, engine=None):
        super().__init__(engine or SteadyOracle(), CONFIG)
        self.fails = fails or {}

    def prepare(self, frame):
        self._fail_at("prepare", frame)
        return super().prepare(frame)

    def predict(self, prepared, *args):
        predicted = super().predict(prepared, *args)
        self._fail_at("predict", prepared.frame)
        return predicted

    def estimate(self, predicted):
        estimate = super().estimate(predicted)
        self._fail_at("estimate", predicted.frame)
        return estimate

    def _fail_at(self, step, frame):
        if self.fails.get(frame.stamp_ns) == step:
            raise RuntimeError(f"{step} of {frame.stamp_ns} failed")


def content(thing):
    """All that an estimate says, but for how long it took, in bytes."""
    if is_dataclass(thing):
        return {each.name: content(getattr(thing, each.name)) for each in fields(thing) if each.name != "seconds"}
    if callable(thing):
        return content(thing())
    return (thing.dtype, thing.shape, thing.tobytes()) if isinstance(thing, np.ndarray) else thing


def told(outcome):
    """What an outcome says, as one can compare it."""
    said = content(outcome.estimate) if outcome.error is None else (type(outcome.error), str(outcome.error))
    return outcome.frame.stamp_ns, outcome.broken, said


def one_after_another(session, frames):
    """The plain path: each frame is processed when the one before it is done; what fails begins the session anew."""
    outcomes = []
    for each in frames:
        broken = session.break_before(each)
        try:
            outcomes.append(Outcome(each, broken, session.process(each), None))
        except RepeatedStampError as error:
            outcomes.append(Outcome(each, broken, None, error))
        except Exception as error:
            session.reset()
            outcomes.append(Outcome(each, broken, None, error))
    return [told(outcome) for outcome in outcomes]


def overlapped(session, frames, lanes):
    outcomes = []
    with Reader(session, lanes=lanes) as reader:
        for each in frames:
            reader.add(each, outcomes.append)
    return [told(outcome) for outcome in outcomes]


def camera_not_finite(engine, at):
    """The engine gives a broken camera for the frame of this index."""
    good = engine.predict

    def broken(tokens, *args):
        prediction = good(tokens, *args)
        if round(float(tokens[-1])) == at:
            prediction.world_from_camera[-1, 0, 3] = np.nan
        return prediction

    engine.predict = broken
    return engine


@every_lane
def test_a_recording_gives_the_same_bytes_as_one_frame_after_another(lanes):
    frames = [frame(index) for index in range(10)]
    assert overlapped(Fragile(), frames, lanes) == one_after_another(Fragile(), frames)


@every_lane
def test_what_breaks_the_context_breaks_it_at_the_same_frame(lanes):
    smaller = np.full((20, 24, 3), 9, np.uint8)
    frames = [
        *(frame(index) for index in range(5)),
        frame(4),  # repeated
        *(frame(index) for index in (12, 13, 14)),  # a gap
        frame(15, frame_id="other camera"),
        frame(16, frame_id="other camera", image=smaller),
        *(frame(index) for index in range(4)),  # time goes back
    ]
    assert overlapped(Fragile(), frames, lanes) == one_after_another(Fragile(), frames)


@every_lane
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("which", [(0,), (3, 4), (6,)], ids=str)
def test_a_frame_that_fails_fails_alone_and_what_follows_is_the_same(lanes, step, which):
    frames = [frame(index) for index in range(7)]
    fails = {frame(index).stamp_ns: step for index in which}
    said = overlapped(Fragile(fails), frames, lanes)
    assert said == one_after_another(Fragile(fails), frames)
    assert [index for index, (_, _, what) in enumerate(said) if isinstance(what, tuple)] == list(which)


@every_lane
def test_a_camera_that_cannot_be_is_the_fault_of_its_frame(lanes):
    frames = [frame(index) for index in range(8)]
    sessions = [Fragile(engine=camera_not_finite(SteadyOracle(), at=4)) for _ in range(2)]
    assert overlapped(sessions[0], frames, lanes) == one_after_another(sessions[1], frames)


@settings(max_examples=25)
@given(
    indices=st.lists(st.integers(0, 9), min_size=1, max_size=9),
    failing=st.dictionaries(st.integers(0, 9), st.sampled_from(STEPS), max_size=4),
    lanes=st.sampled_from([MAP_BESIDE, ALL_BESIDE]),
)
def test_frames_in_any_order_with_any_faults_give_the_same_bytes(indices, failing, lanes):
    frames = [frame(index) for index in indices]
    fails = {frame(index).stamp_ns: step for index, step in failing.items()}
    assert overlapped(Fragile(fails), frames, lanes) == one_after_another(Fragile(fails), frames)


class Held(Fragile):
    """Tells what is with the network and what is in the map, and waits for permission there."""

    def __init__(self):
        super().__init__()
        self.with_network, self.in_map, self.go = (threading.Semaphore(0) for _ in range(3))

    def predict(self, prepared, *args):
        self.with_network.release()
        return super().predict(prepared, *args)

    def estimate(self, predicted):
        self.in_map.release()
        assert self.go.acquire(timeout=WAIT)
        return super().estimate(predicted)


@pytest.fixture
def held():
    session = Held()
    yield session
    session.go.release(1000)


def give(pipeline, session, frames, deliver):
    for each in frames:
        pipeline.add(each, partial(session.prepare, each), deliver)


def test_while_the_map_takes_in_one_frame_the_network_looks_at_one_other(held):
    frames, outcomes = [frame(index) for index in range(4)], []
    pipeline = Pipeline(held, MAP_BESIDE)
    giving = threading.Thread(target=give, args=(pipeline, held, frames, outcomes.append))
    giving.start()
    assert held.with_network.acquire(timeout=WAIT)
    for done in range(len(frames)):
        assert held.in_map.acquire(timeout=WAIT)
        if done < len(frames) - 1:
            assert held.with_network.acquire(timeout=WAIT)  # the next, while this one is held
        assert not held.with_network.acquire(timeout=0.05)  # and no other
        assert len(outcomes) == done
        held.go.release()
    giving.join(WAIT)
    pipeline.close()
    assert [outcome.frame for outcome in outcomes] == frames


def test_all_that_was_added_is_delivered_when_it_is_drained(held):
    outcomes = []
    held.go.release(1000)
    with Pipeline(held, MAP_BESIDE) as pipeline:
        give(pipeline, held, [frame(0), frame(1)], outcomes.append)
        pipeline.drain()
        assert len(outcomes) == 2


def read(reader, indices, deliver):
    with reader:
        for index in indices:
            reader.add(frame(index), deliver)


@every_lane
def test_who_takes_the_results_may_end_the_run(lanes):
    taken = []

    def full_disk(outcome):
        taken.append(outcome)
        if len(taken) == 3:
            raise DpmError("no room")

    with pytest.raises(DpmError, match="no room"):
        read(Reader(Fragile(), lanes=lanes), range(9), full_disk)
    assert len(taken) == 3


@every_lane
def test_a_fault_of_the_last_receiver_is_not_lost(lanes):
    def full_disk(outcome):
        raise DpmError("no room")

    with pytest.raises(DpmError, match="no room"):
        read(Reader(Fragile(), lanes=lanes), [0], full_disk)


@every_lane
def test_no_thread_is_left_behind(lanes):
    def indices_until_interrupted():
        yield from range(3)
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        read(Reader(Fragile(), lanes=lanes), indices_until_interrupted(), lambda outcome: None)
    assert not set(threading.enumerate()) - before


@every_lane
def test_who_keeps_old_results_keeps_them_as_they_were(lanes):
    kept, copies = [], []

    def keep(outcome):
        kept.append(outcome.estimate)
        copies.append(copy.deepcopy(content(outcome.estimate)))

    read(Reader(Fragile(), lanes=lanes), range(12), keep)
    assert [content(estimate) for estimate in kept] == copies
