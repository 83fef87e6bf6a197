# SPDX-License-Identifier: Apache-2.0
"""The GPU's torch engine, as far as a CPU can tell: its precision, and when it records; tests/gpu does the rest."""

from collections import Counter

import pytest
import torch
from fake_tensorrt import FakeStream
from small_exports import CPU, frames, loaded, size_of
from torch.utils._python_dispatch import TorchDispatchMode

from dpm_core.engines.export_precision import HEADS
from dpm_core.engines.plan_memory import OutOfDeviceMemoryError
from dpm_core.engines.torch_cuda import WARM_UPS, TorchCudaEngine
from dpm_core.engines.torch_engine import TorchEngine
from dpm_core.types import Request

FAMILIES = ["vdpm", "vggt", "d2ust3r heads", "pomato", "pomato temporal"]


def engine_of(name):
    """The engine, and the stream that it records on."""
    stream = FakeStream()
    return TorchCudaEngine(loaded(name), CPU, lambda device: stream), stream


def predicted(engine, name, seed=1, times=(2, 0)):
    size = size_of(name)
    with torch.inference_mode():
        return engine.predict([engine.encode(image) for image in frames(3, size, seed)], size, times)


def cosine(a, b):
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))


@pytest.mark.parametrize("name", ["vdpm", "vggt"])
def test_it_says_in_bfloat16_what_the_network_says(name):
    ours, exact = predicted(engine_of(name)[0], name), predicted(TorchEngine(loaded(name), CPU), name)
    for field in ("own_points", "own_conf", "points", "world_from_camera"):
        assert cosine(getattr(ours, field), getattr(exact, field)) > 0.99
        assert not torch.equal(getattr(ours, field), getattr(exact, field))


def test_it_rounds_no_more_than_autocast_does():
    size, images = size_of("vdpm"), frames(3, size_of("vdpm"))
    network = loaded("vdpm").network
    with torch.inference_mode():
        exact = network.predict(network.encode(torch.stack(images)), size, (2, 0)).points
        with torch.autocast("cpu", dtype=torch.bfloat16):
            autocast = network.predict(network.encode(torch.stack(images)), size, (2, 0)).points
    ours = predicted(engine_of("vdpm")[0], "vdpm").points
    assert float((ours - exact).abs().mean()) < 1.5 * float((autocast - exact).abs().mean())


@pytest.mark.parametrize("name", FAMILIES)
def test_heads_stay_float32_and_matrices_of_the_trunk_are_stored_narrow(name):
    network = loaded(name)
    TorchCudaEngine(network, CPU, lambda device: FakeStream())
    in_heads = {
        parameter
        for module in network.network.modules()
        if isinstance(module, HEADS)
        for parameter in module.parameters()
    }
    assert {parameter.dtype for parameter in in_heads} == {torch.float32}
    trunk = [module for module in network.network.modules() if isinstance(module, torch.nn.Linear)]
    narrow = [module for module in trunk if module.weight not in in_heads]
    assert {module.weight.dtype for module in narrow} == {torch.bfloat16}


def test_a_full_window_is_recorded_once_it_comes_again():
    engine, stream = engine_of("vdpm")
    for run in range(WARM_UPS + 3):
        predicted(engine, "vdpm", seed=run)
        assert stream.recorded == (run >= WARM_UPS)
    assert stream.replayed == 3


def test_a_window_that_grows_is_not_recorded():
    engine, stream = engine_of("vdpm")
    size = size_of("vdpm")
    with torch.inference_mode():
        tokens = [engine.encode(image) for image in frames(4, size)]
        for count in range(1, 5):
            engine.predict(tokens[:count], size, (0,))
    assert stream.recorded == 0


@pytest.mark.parametrize("name", ["vdpm", "vggt"])
def test_what_is_replayed_is_what_was_recorded_of_new_frames(name):
    engine, stream = engine_of(name)
    fresh, _ = engine_of(name)
    for _ in range(WARM_UPS + 1):
        kept = predicted(engine, name, seed=3)
    replayed = predicted(engine, name, seed=4)
    assert stream.replayed == 2
    assert replayed.times == (2, 0)
    for field in ("own_points", "points", "conf", "world_from_camera", "intrinsics"):
        torch.testing.assert_close(getattr(replayed, field), getattr(predicted(fresh, name, seed=4), field))
        assert not torch.equal(getattr(replayed, field), getattr(kept, field))


def test_callers_need_not_know_of_inference_mode():
    engine, stream = engine_of("vdpm")
    tokens = [engine.encode(image).detach() for image in frames(3, size_of("vdpm"))]
    for _ in range(WARM_UPS + 2):
        engine.predict(tokens, size_of("vdpm"), (2, 0))
    assert stream.replayed == 2


def test_another_request_is_answered_and_recorded_in_its_turn():
    engine, stream = engine_of("vdpm")
    for times in [(2, 0)] * 4 + [(1,)] * 4:
        assert predicted(engine, "vdpm", times=times).times == times
    assert stream.recorded == 2


@pytest.mark.parametrize("name", ["d2ust3r heads", "pomato", "pomato temporal"])
def test_pair_networks_are_never_recorded(name):
    engine, stream = engine_of(name)
    for _ in range(WARM_UPS + 2):
        assert predicted(engine, name).points.shape[:2] == (2, 3)
    assert stream.recorded == 0


class Operations(TorchDispatchMode):
    """Counts what a CUDA graph cannot hold: values read by the host, and lists of numbers that come from it."""

    def __init__(self):
        super().__init__()
        self.forbidden = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero") or (name.startswith("lift_fresh") and args[0].numel() > 1):
            self.forbidden[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("request_", [Request.whole(3, (2, 0)), Request((2,), (2, 0), ((0, 1, 2), (2,)))])
@pytest.mark.parametrize("name", ["vdpm", "vggt"])
def test_nothing_in_a_window_waits_for_the_host(name, request_):
    engine, _ = engine_of(name)
    size = size_of(name)
    with torch.inference_mode():
        tokens = [engine.encode(image) for image in frames(3, size)]
        with Operations() as operations:
            engine.answer(tokens, size, request_)
    assert not operations.forbidden


def test_out_of_memory_says_what_would_fit(monkeypatch):
    engine, _ = engine_of("vdpm")

    def too_much(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.00 GiB. GPU 0 has …")

    monkeypatch.setattr(engine._network, "answer", too_much)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * 2**30, 8 * 2**30))
    with pytest.raises(OutOfDeviceMemoryError, match=r"needs about 9\.0 GiB .* 6\.0 are free; a window of 2 would fit"):
        predicted(engine, "vdpm")
