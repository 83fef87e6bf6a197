# SPDX-License-Identifier: Apache-2.0
"""Frames that overlap on a GPU, each step on a queue of its own, give what frames one after another give."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))

from small_exports import loaded

from dpm_core.engines.torch_engine import TorchEngine
from dpm_core.stream import Reader, Session, SessionConfig
from dpm_core.stream.lanes import ALL_BESIDE, ONE_AFTER_ANOTHER
from dpm_core.types import Frame

FIELDS = ("world_from_camera", "depth", "conf", "dynamic", "image")


def recording(count=12):
    """Another size half way: the memory that images cross by is made anew."""
    noise = np.random.default_rng(0)
    sizes = [(56, 84) if index < count // 2 else (70, 84) for index in range(count)]
    return [Frame(index * 10**8, noise.integers(0, 256, (*size, 3), np.uint8)) for index, size in enumerate(sizes)]


def estimates(lanes):
    session = Session(TorchEngine(loaded("vdpm"), torch.device("cuda")), SessionConfig(window=3))
    made = []
    with Reader(session, lanes=lanes) as reader:
        for frame in recording():
            reader.add(frame, lambda outcome: made.append(outcome.result()))
    return made


@pytest.fixture(scope="module")
def one_after_another():
    return estimates(ONE_AFTER_ANOTHER)


def test_overlapped_frames_say_the_same(one_after_another):
    for one, other in zip(one_after_another, estimates(ALL_BESIDE), strict=True):
        assert one.stamp_ns == other.stamp_ns
        for name in FIELDS:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-3, atol=1e-3)
