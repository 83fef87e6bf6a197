# SPDX-License-Identifier: Apache-2.0
"""What `open_engine` takes on which machine, in which order, with stand-ins for the engines and the GPU."""

from types import SimpleNamespace

import pytest
import torch

from dpm_core.engines import choice, open_engine
from dpm_core.errors import DpmError


@pytest.fixture
def opened(monkeypatch):
    """Engines that only say who they are, and a list of what does not open."""
    broken = set()

    def stand_in(backend):
        def make(what, device):
            if backend in broken:
                raise DpmError(f"{backend} does not open")
            return SimpleNamespace(name=f"{backend} on {device}", notice=None, device=device)

        return make

    monkeypatch.setattr(choice, "load_network", lambda model, weights: model)
    monkeypatch.setattr(choice, "TorchEngine", stand_in("torch"))
    monkeypatch.setattr(choice, "TorchCudaEngine", stand_in("torch-cuda"))
    monkeypatch.setattr(choice, "TorchBf16Engine", lambda network: stand_in("torch-bf16")(network, torch.device("cpu")))
    monkeypatch.setattr(choice, "open_tensorrt", stand_in("tensorrt"))
    monkeypatch.setattr(choice, "open_onnx", stand_in("onnx"))
    monkeypatch.setattr(choice, "onnx_runs_on", lambda device: device.type == "cpu")
    return broken


@pytest.fixture
def gpu(monkeypatch):
    """One GPU; its compute capability can be set."""
    has = SimpleNamespace(capability=(8, 6))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: has.capability)
    return has


@pytest.fixture
def export(tmp_path):
    return str(tmp_path)


def test_a_model_by_name_runs_in_bfloat16_on_a_gpu(opened, gpu):
    assert open_engine("vdpm").name == "torch-cuda on cuda"


def test_an_older_gpu_runs_float32(opened, gpu):
    gpu.capability = (7, 5)
    assert open_engine("vdpm").name == "torch on cuda"


def test_without_a_gpu_torch_runs_on_the_cpu(opened, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert open_engine("vdpm").name == "torch on cpu"


def test_bfloat16_on_the_cpu_is_for_who_asks(opened, gpu):
    for device in ("auto", "cpu"):
        assert open_engine("vdpm", device=device, backend="torch-bf16").name == "torch-bf16 on cpu"
    opened.add("torch-bf16")
    with pytest.raises(DpmError, match=r"^torch-bf16 does not open$"):
        open_engine("vdpm", backend="torch-bf16")


def test_an_export_runs_by_its_plans_on_a_gpu(opened, gpu, export):
    assert open_engine(export).name == "tensorrt on cuda"


def test_an_export_without_fitting_plans_runs_by_onnx_runtime_and_says_why(opened, gpu, export):
    opened.add("tensorrt")
    engine = open_engine(export)
    assert engine.name == "onnx on cpu"
    assert engine.notice == "TensorRT on cuda is passed over: tensorrt does not open"


def test_a_gpu_that_was_asked_for_is_not_left_for_the_cpu(opened, gpu):
    opened.add("torch-cuda")
    assert open_engine("vdpm", device="auto").name == "torch on cpu"
    with pytest.raises(DpmError, match=r"^torch-cuda does not open$"):
        open_engine("vdpm", device="cuda")


def test_a_gpu_that_was_not_asked_for_is_left_alone(opened, gpu, export):
    assert open_engine("vdpm", device="cpu").name == "torch on cpu"
    assert open_engine(export, device="cpu").name == "onnx on cpu"


@pytest.mark.parametrize("backend", ["tensorrt", "onnx"])
def test_a_backend_that_was_asked_for_runs_or_says_why_not(opened, gpu, export, backend):
    assert open_engine(export, backend=backend).name.startswith(backend)
    opened.add(backend)
    with pytest.raises(DpmError, match=f"^{backend} does not open$"):
        open_engine(export, backend=backend)


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("tensorrt", "auto", "'tensorrt' runs exported folders, and 'vdpm' is none; make one: dpm export vdpm"),
        ("onnx", "auto", "'onnx' runs exported folders"),
        ("torch-cuda", "cpu", "'torch-cuda' runs on a GPU"),
        ("torch-bf16", "cuda", "'torch-bf16' runs on the CPU; use --device cpu, or --backend torch-cuda"),
        ("jax", "auto", "'jax' is not known; choose one of: auto, tensorrt, torch-cuda, onnx, torch, torch-bf16$"),
    ],
)
def test_what_cannot_be_is_refused(opened, backend, device, message):
    with pytest.raises(DpmError, match=message):
        open_engine("vdpm", device=device, backend=backend)


@pytest.mark.parametrize("backend", ["torch", "torch-cuda", "torch-bf16"])
def test_torch_runs_no_export(opened, export, backend):
    with pytest.raises(DpmError, match="is an export, which torch does not run"):
        open_engine(export, backend=backend)
