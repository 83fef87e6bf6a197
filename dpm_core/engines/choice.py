# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a model here."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoints import load_network
from ..errors import DpmError
from .onnx_graph import onnx_runs_on, open_onnx
from .protocol import Engine
from .torch_engine import TorchEngine

BACKENDS = ("auto", "torch", "onnx")


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
    if backend == "onnx":
        raise DpmError(
            f"backend 'onnx' runs exported folders, and '{model}' is none; make one: dpm export {model} --out DIR, "
            "then give DIR as the model"
        )
    return TorchEngine(load_network(model, weights), _device(device))


def _open_exported(folder: Path, weights: Path | None, device: str, backend: str) -> Engine:
    if weights is not None:
        raise DpmError(f"{folder} is an export with weights of its own; export {weights} to run others")
    if backend == "torch":
        raise DpmError(f"{folder} is an export, which torch does not run; choose backend auto or onnx")
    return open_onnx(folder, _onnx_device(device))


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
