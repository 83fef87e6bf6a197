# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a model here."""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoints import load_network
from ..errors import DpmError
from .protocol import Engine
from .torch_engine import TorchEngine

BACKENDS = ("auto", "torch")


def open_engine(
    model: str = "vdpm-mini", weights: Path | None = None, device: str = "auto", backend: str = "auto"
) -> Engine:
    """A network ready to run.

    Args:
        model: a name of the registry.
        weights: a checkpoint file in place of the registry's.
        device: "cpu", "cuda", "cuda:1", … or "auto": the GPU if torch has one.
        backend: one of BACKENDS.

    Raises:
        DpmError: the model, device or backend is not known or not there, or the weights are not the model's.
    """
    if backend not in BACKENDS:
        raise DpmError(f"backend '{backend}' is not known; choose one of: {', '.join(BACKENDS)}")
    return TorchEngine(load_network(model, weights), _device(device))


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
