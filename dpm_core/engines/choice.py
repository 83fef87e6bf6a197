# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a model here."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoints import load_network
from ..errors import DpmError
from .fallback import Candidate, open_first
from .onnx_graph import onnx_runs_on, open_onnx
from .protocol import Engine
from .tensorrt_engine import open_tensorrt
from .torch_bf16 import TorchBf16Engine
from .torch_cuda import TorchCudaEngine
from .torch_engine import TorchEngine

BACKENDS = ("auto", "tensorrt", "torch-cuda", "onnx", "torch", "torch-bf16")
"""What can run a network, in the order of choice. "torch" is eager float32, on the CPU or a GPU; "torch-bf16" runs on
the CPU where it is asked for, and only there, since it changes numbers."""

AMPERE = (8, 0)
"""The first compute capability with bfloat16 matrices."""


def open_engine(
    model: str = "vdpm-mini", weights: Path | None = None, device: str = "auto", backend: str = "auto"
) -> Engine:
    """A network ready to run.

    Args:
        model: a name of the registry, or a folder that `dpm export` made.
        weights: a checkpoint file in place of the registry's; an exported folder has its own.
        device: "cpu", "cuda", "cuda:1", … or "auto": the GPU if torch has one.
        backend: one of BACKENDS.

    Raises:
        DpmError: the model, device or backend is not known or not there, the weights are not the model's, or the folder
            is no whole export.
    """
    if backend not in BACKENDS:
        raise DpmError(f"backend '{backend}' is not known; choose one of: {', '.join(BACKENDS)}")
    if Path(model).is_dir():
        return _open_exported(Path(model), weights, device, backend)
    if backend in ("tensorrt", "onnx"):
        raise DpmError(
            f"backend '{backend}' runs exported folders, and '{model}' is none; "
            f"make one: dpm export {model} --out DIR, then give DIR as the model"
        )
    return open_first(_torch_candidates(model, weights, device, backend))


def _torch_candidates(model: str, weights: Path | None, device: str, backend: str) -> list[Candidate]:
    """On a GPU in the authors' precision, else, or where nobody asked for a GPU, in float32 on the CPU."""
    if backend == "torch-bf16":
        if device not in ("auto", "cpu"):
            raise DpmError("backend 'torch-bf16' runs on the CPU; use --device cpu, or --backend torch-cuda")
        return [Candidate("torch in bfloat16 on cpu", lambda: TorchBf16Engine(load_network(model, weights)))]
    chosen = _device(device)

    def eager(place: torch.device) -> Candidate:
        return Candidate(f"torch on {place}", lambda: TorchEngine(load_network(model, weights), place))

    if backend == "torch" or (backend == "auto" and chosen.type == "cpu"):
        return [eager(chosen)]
    if chosen.type == "cpu":
        raise DpmError(
            "backend 'torch-cuda' runs on a GPU, and torch sees none or was told not to; use --backend torch"
        )
    on_gpu = Candidate(f"torch on {chosen}", lambda: TorchCudaEngine(load_network(model, weights), chosen))
    if backend == "torch-cuda":
        return [on_gpu]
    first = on_gpu if torch.cuda.get_device_capability(chosen) >= AMPERE else eager(chosen)
    return [first, eager(torch.device("cpu"))] if device == "auto" else [first]


def _open_exported(folder: Path, weights: Path | None, device: str, backend: str) -> Engine:
    if weights is not None:
        raise DpmError(f"{folder} is an export with weights of its own; export {weights} to run others")
    if backend.startswith("torch"):
        raise DpmError(f"{folder} is an export, which torch does not run; choose backend auto, tensorrt or onnx")
    return open_first(_exported_candidates(folder, device, backend))


def _exported_candidates(folder: Path, device: str, backend: str) -> list[Candidate]:
    chosen = _device(device)
    tensorrt = Candidate(f"TensorRT on {chosen}", lambda: open_tensorrt(folder, chosen))
    onnx = Candidate("ONNX Runtime", lambda: open_onnx(folder, _onnx_device(device)))
    if backend == "tensorrt":
        return [tensorrt]
    return [onnx] if backend == "onnx" or chosen.type == "cpu" else [tensorrt, onnx]


def _onnx_device(name: str) -> torch.device:
    """A GPU that nobody asked for is left alone where ONNX Runtime could not use it."""
    device = _device(name)
    return torch.device("cpu") if name == "auto" and not onnx_runs_on(device) else device


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DpmError(f"device '{name}' is not known; choose auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise DpmError(f"device '{name}' is not supported; choose auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DpmError(f"device '{name}' is not there: torch sees {torch.cuda.device_count()} GPUs; use --device cpu")
    return device
