# SPDX-License-Identifier: Apache-2.0
"""The CPU's bfloat16 engine: what it says, what is narrow, where it refuses. Torch multiplies bfloat16 on any CPU."""

import pytest
import torch
from small_exports import CPU, frames, loaded, size_of

from dpm_core.engines import open_engine, torch_bf16
from dpm_core.engines.export_precision import HEADS
from dpm_core.engines.torch_bf16 import TorchBf16Engine, bfloat16_units
from dpm_core.engines.torch_engine import TorchEngine
from dpm_core.errors import DpmError
from dpm_core.types import Request

WITH_AMX = "processor : 0\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n"
WITH_AVX512 = "processor : 0\nflags\t\t: fpu avx512f avx512_bf16\n"
WITHOUT = "processor : 0\nflags\t\t: fpu avx2 avx512f\n"


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    """Says what the kernel tells of the CPU."""

    def says(text):
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(torch_bf16, "CPUINFO", tmp_path / "cpuinfo")

    says(WITH_AMX)
    return says


def asked(engine, name, request):
    size = size_of(name)
    with torch.inference_mode():
        return engine.answer([engine.encode(image) for image in frames(3, size)], size, request)


def cosine(a, b):
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))


@pytest.mark.parametrize("name", ["vdpm", "vggt", "d2ust3r heads", "pomato", "pomato temporal"])
def test_it_says_in_bfloat16_what_the_network_says(cpu, name):
    everything = Request.whole(3, (2, 0))
    ours, exact = (asked(e(loaded(name)), name, everything) for e in (TorchBf16Engine, lambda n: TorchEngine(n, CPU)))
    for field in ("own_points", "own_conf", "points", "conf"):
        assert getattr(ours, field).dtype == torch.float32
        assert cosine(getattr(ours, field), getattr(exact, field)) > 0.99
        assert not torch.equal(getattr(ours, field), getattr(exact, field))


def test_what_is_asked_has_the_numbers_of_everything(cpu):
    engine = TorchBf16Engine(loaded("vdpm"))
    everything = asked(engine, "vdpm", Request.whole(3, (2, 0)))
    some = asked(engine, "vdpm", Request((0, 1, 2), (2, 0), ((0, 1, 2), (2,))))
    torch.testing.assert_close(some.points[0], everything.points[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(some.points[1, 2], everything.points[1, 2], rtol=2e-2, atol=2e-2)
    assert some.points[1, :2].isnan().all()


def test_heads_stay_float32(cpu):
    network = loaded("vdpm")
    TorchBf16Engine(network)
    heads = [module for module in network.network.modules() if isinstance(module, HEADS)]
    assert {parameter.dtype for head in heads for parameter in head.parameters()} == {torch.float32}
    assert torch.bfloat16 in {parameter.dtype for parameter in network.network.parameters()}


def test_its_name_tells_the_precision_and_what_multiplies(cpu):
    version = torch.__version__.split("+")[0]
    assert TorchBf16Engine(loaded("vdpm")).name == f"vdpm-mini (torch {version}, bf16 by AMX, cpu)"


@pytest.mark.parametrize(("text", "units"), [(WITH_AMX, "AMX"), (WITH_AVX512, "AVX-512"), (WITHOUT, None), ("", None)])
def test_what_multiplies_bfloat16_is_the_cpus_own_word(cpu, text, units):
    cpu(text)
    assert bfloat16_units() == units


def test_a_system_that_does_not_tell_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_bf16, "CPUINFO", tmp_path / "nothing")
    assert bfloat16_units() is None


def test_a_cpu_without_it_is_refused_with_the_way_out(cpu):
    cpu(WITHOUT)
    with pytest.raises(
        DpmError, match=r"multiplies bfloat16 \(AMX or AVX-512 BF16\), and this one does not: .* --backend torch$"
    ):
        open_engine("vdpm-mini", backend="torch-bf16")
