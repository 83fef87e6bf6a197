# SPDX-License-Identifier: Apache-2.0
"""The next engine goes on where one does not open, or fails at its work."""

import queue
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from small_exports import CPU, loaded

from dpm_core.engines.fallback import Candidate, EngineChangedError, open_first
from dpm_core.engines.plan_memory import Need, OutOfDeviceMemoryError, shortage
from dpm_core.engines.torch_engine import TorchEngine
from dpm_core.errors import DpmError
from dpm_core.stream import LiveSession, Session, SessionConfig
from dpm_core.types import Frame

GIB = 2**30


@dataclass
class Engine:
    """Fails when it is told to."""

    name: str
    notice: str | None = None
    device: torch.device = field(default=CPU)
    error: Exception | None = None

    def encode(self, image):
        if self.error is not None:
            raise self.error
        return torch.full((2, 3), float(len(self.name)))


def unable(why):
    def open_it():
        raise DpmError(why)

    return open_it


def test_the_first_that_opens_runs_and_tells_what_was_passed_over():
    candidates = [Candidate("TensorRT", unable("no plan fits")), Candidate("onnx", lambda: Engine("onnx", "untrained"))]
    engine = open_first(candidates)
    assert engine.name == "onnx"
    assert engine.notice == "TensorRT is passed over: no plan fits; untrained"
    assert engine.encode(None)[0, 0] == 4


def test_one_alone_is_itself_or_says_why_not():
    alone = Engine("torch")
    assert open_first([Candidate("torch", lambda: alone)]) is alone
    with pytest.raises(DpmError, match=r"^no weights$"):
        open_first([Candidate("torch", unable("no weights"))])


def test_where_none_opens_the_last_says_why():
    with pytest.raises(DpmError, match=r"^no weights$"):
        open_first([Candidate("a", unable("no plan")), Candidate("b", unable("no weights"))])


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error:\n illegal address"), MemoryError("gone"), OutOfDeviceMemoryError("too long")]
)
def test_one_that_fails_at_its_work_is_followed_by_the_next(error):
    first, second = Engine("tensorrt"), Engine("onnx")
    engine = open_first([Candidate("TensorRT", lambda: first), Candidate("ONNX", lambda: second)])
    assert engine.encode(None)[0, 0] == 8
    first.error = error
    with pytest.raises(EngineChangedError, match=r"tensorrt failed \(.*\); onnx goes on"):
        engine.encode(None)
    assert engine.name == "onnx"
    assert engine.encode(None)[0, 0] == 4
    assert "tensorrt failed" in engine.notice


def test_the_last_one_fails_as_itself():
    last = Engine("onnx", error=RuntimeError("broken"))
    engine = open_first([Candidate("TensorRT", unable("none")), Candidate("ONNX", lambda: last)])
    with pytest.raises(RuntimeError, match=r"^broken$"):
        engine.encode(None)


def test_bad_input_is_no_reason_to_change():
    first = Engine("tensorrt", error=DpmError("the image is of another size"))
    engine = open_first([Candidate("TensorRT", lambda: first), Candidate("ONNX", lambda: Engine("onnx"))])
    with pytest.raises(DpmError, match="another size"):
        engine.encode(None)
    assert engine.name == "tensorrt"


def test_a_live_stream_outlives_an_engine():
    class Failing(TorchEngine):
        def predict(self, tokens, size, times):
            raise RuntimeError("device lost")

        answer = predict

    order = [
        Candidate("GPU", lambda: Failing(loaded("vdpm"), CPU)),
        Candidate("CPU", lambda: TorchEngine(loaded("vdpm"), CPU)),
    ]
    heard = queue.Queue()
    live = LiveSession(Session(open_first(order), SessionConfig(window=2)), heard.put, heard.put)
    image = np.zeros((28, 42, 3), np.uint8)
    live.offer(Frame(0, image))
    fault = heard.get(timeout=200)
    live.offer(Frame(10**8, image))
    estimate = heard.get(timeout=200)
    live.close()
    assert fault.cause == "EngineChangedError"
    assert "device lost" in fault.message
    assert estimate.stamp_ns == 10**8


@pytest.mark.parametrize(
    ("need", "free", "advice"),
    [
        (Need(4 * GIB, 8 * GIB, 8), 9 * GIB, "a window of 5 would fit (--window 5)"),
        (Need(4 * GIB, 8 * GIB, 8), 4 * GIB + 1, "smaller images would fit (--size)"),
        (Need(4 * GIB, 8 * GIB, 8), 2 * GIB, "its weights alone do not fit"),
        (Need(1, 10, 8), 10**6 * GIB, "a window of 7 would fit"),  # it did not, whatever the figures say
    ],
)
def test_a_shortage_says_what_would_fit(need, free, advice):
    said = shortage("'vdpm'", need, free)
    assert advice in said
    assert said.startswith("'vdpm' needs about")
