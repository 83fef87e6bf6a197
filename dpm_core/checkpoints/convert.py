# SPDX-License-Identifier: Apache-2.0
"""Weights as safetensors files that tell their own configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_file
from ..errors import DpmError
from ..version import __version__
from .configs import config_to_json
from .loading import METADATA
from .registry import NetworkSpec

Precision: TypeAlias = Literal["fp16", "fp32"]
_DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


def write_weights(
    path: Path,
    spec: NetworkSpec,
    tensors: Mapping[str, Tensor],
    precision: Precision = "fp16",
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a network's weights; `load_network(spec.name, path)` reads them back. Atomic.

    Args:
        path: ends with .safetensors.
        spec: whose name, family, configuration and licence go into the metadata, under the key METADATA, as JSON.
        tensors: a state dict, any floating dtype, any device.
        precision: of the file.
        about: more for the metadata: where they come from, training steps, …

    Raises:
        DpmError: the path ends otherwise, a value is not finite, or one is too large for the precision.
    """
    if path.suffix != ".safetensors":
        raise DpmError(f"{path} does not end with .safetensors; give such a name")
    told = {
        "name": spec.name,
        "family": spec.family,
        "config": config_to_json(spec.config),
        "licence": spec.licence,
        "precision": precision,
        "dpm": __version__,
        **(about or {}),
    }
    narrowed = {key: _narrowed(key, tensor, precision) for key, tensor in tensors.items()}
    with atomic_file(path) as unfinished:
        save_file(narrowed, unfinished, metadata={METADATA: json.dumps(told), "format": "pt"})


def _narrowed(key: str, tensor: Tensor, precision: Precision) -> Tensor:
    if not tensor.isfinite().all():
        raise DpmError(f"'{key}' has values that are not finite; the training has failed, take an earlier checkpoint")
    # Two keys may share memory in the file that is read; safetensors wants each its own.
    narrowed = tensor.detach().to("cpu", _DTYPES[precision]).clone(memory_format=torch.contiguous_format)
    if not narrowed.isfinite().all():
        raise DpmError(f"'{key}' has values beyond what {precision} can hold; convert with --precision fp32")
    return narrowed
