# SPDX-License-Identifier: Apache-2.0
"""What nobody listens to is not computed, and what is computed does not change by it."""

import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dpm_core.checkpoints import LoadedNetwork, find_spec
from dpm_core.engines import TorchEngine
from dpm_core.stream import LiveSession, Session, SessionConfig, Wanted
from dpm_core.types import Frame, Request

sys.path.append(str(Path(__file__).parents[1] / "models"))
import small

FRAMES = 5
CONFIG = SessionConfig(window=3, min_confidence=1.0)


@pytest.fixture(scope="module")
def engine():
    network = small.vdpm()
    spec = replace(find_spec("vdpm-mini"), config=network.config)
    return TorchEngine(LoadedNetwork(network, spec, trained=False, notice=None), torch.device("cpu"))


def estimates(engine, wanted):
    generator = np.random.default_rng(0)
    session = Session(engine, CONFIG)
    frames = [Frame(index * 10**8, generator.integers(0, 255, (30, 50, 3), np.uint8)) for index in range(FRAMES)]
    return [session.process(frame, wanted) for frame in frames]


@pytest.fixture(scope="module")
def everything(engine):
    return estimates(engine, Wanted())


def same(got, expected, names):
    for name in names:
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-4, atol=1e-4)


ALWAYS = ("world_from_camera", "intrinsics", "image", "depth", "conf")
MOTION = ("dynamic", "scene_flow")


def test_the_newest_frames_motion_alone_is_what_it_is_among_all(engine, everything):
    for got, expected in zip(estimates(engine, Wanted(motion="newest")), everything, strict=True):
        same(got, expected, (*ALWAYS, *MOTION))
        assert got.motion_known == expected.motion_known
        same(got.cloud, expected.cloud, ("points", "colors", "confidence"))
        same(got.tracks, expected.tracks, ("ids", "points"))
        same(got.static_map(), expected.static_map(), ("points",))


def test_without_motion_the_cloud_stays(engine, everything):
    for got, expected in zip(estimates(engine, Wanted(motion="none")), everything, strict=True):
        same(got, expected, ALWAYS)
        same(got.cloud, expected.cloud, ("points", "colors", "confidence"))
        assert not got.motion_known
        assert not got.dynamic.any()
        assert np.isnan(got.scene_flow).all()
        assert not got.cloud.velocity.any()


@pytest.mark.parametrize("motion", ["none", "newest"])
def test_without_the_cloud_the_rest_stays(engine, everything, motion):
    for got, expected in zip(estimates(engine, Wanted(cloud=False, motion=motion)), everything, strict=True):
        same(got, expected, ALWAYS if motion == "none" else (*ALWAYS, *MOTION))
        assert len(got.cloud.points) == 0


def test_what_is_wanted_may_change_from_frame_to_frame(engine, everything):
    generator = np.random.default_rng(0)
    session = Session(engine, CONFIG)
    listened = [Wanted(motion="none"), Wanted(False, "none"), Wanted(), Wanted(motion="newest"), Wanted()]
    for index, (wanted, expected) in enumerate(zip(listened, everything, strict=True)):
        got = session.process(Frame(index * 10**8, generator.integers(0, 255, (30, 50, 3), np.uint8)), wanted)
        same(got, expected, ALWAYS)
    same(got, expected, MOTION)


@pytest.mark.parametrize(
    ("wanted", "request_"),
    [
        (Wanted(), Request((0, 1, 2), (2, 0), ((0, 1, 2), (0, 1, 2)))),
        (Wanted(motion="newest"), Request((0, 1, 2), (2, 0), ((0, 1, 2), (2,)))),
        (Wanted(motion="none"), Request((0, 1, 2), (2,), ((0, 1, 2),))),
        (Wanted(cloud=False, motion="none"), Request((0, 1, 2), (), ())),
    ],
)
def test_the_network_is_asked_for_no_more_than_that(wanted, request_):
    assert wanted.request(3) == request_


def test_one_frame_is_asked_for_its_own_time_once():
    assert Wanted().request(1) == Request((0,), (0,), ((0,),))


def test_a_live_session_asks_anew_for_each_frame(engine):
    listeners = iter([Wanted(motion="none"), Wanted()])
    delivered, done = [], threading.Semaphore(0)

    def receive(estimate):
        delivered.append(estimate)
        done.release()

    live = LiveSession(Session(engine, CONFIG), receive, pytest.fail, lambda: next(listeners))
    for index in range(2):
        live.offer(Frame(index * 10**8, np.full((30, 50, 3), 40 * index, np.uint8)))
        assert done.acquire(timeout=60)
    assert live.close()
    assert [estimate.motion_known for estimate in delivered] == [False, True]
