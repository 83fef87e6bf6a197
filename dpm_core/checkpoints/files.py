# SPDX-License-Identifier: Apache-2.0
"""Weight files to tensors. Nothing that a file contains is executed."""

from __future__ import annotations

import argparse
import json
import pickle
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import DpmError


@dataclass(frozen=True)
class WeightFile:
    """What a file holds.

    Attributes:
        path: the file.
        tensors: by key, memory-mapped where the format allows.
        metadata: a safetensors file's own words.
        constructor: DUSt3R's and POMATO's files tell their network as a Python expression; its text.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    constructor: str | None = None


def read_weights(path: Path) -> WeightFile:
    """Read a .safetensors file, or a .pt / .pth file with tensors and plain values only.

    Raises:
        DpmError: the file is not there, empty, cut short, holds code, or holds no tensors.
    """
    if not path.is_file():
        raise DpmError(f"{path} is not a file; give a .safetensors, .pt or .pth file")
    if path.stat().st_size == 0:
        raise DpmError(f"{path} is empty; download it again")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_torch(path)


def _read_safetensors(path: Path) -> WeightFile:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
            return WeightFile(path, tensors, file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, "a safetensors file", error) from error


def _read_torch(path: Path) -> WeightFile:
    try:
        with _plain_values_allowed():
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise _not_plain(path, error) from error
    except Exception as error:  # torch answers damage with whatever it stumbles over
        raise _damaged(path, "a torch file", error) from error
    tensors = _state_dict(content)
    if tensors is None:
        raise DpmError(f"{path} holds no table of tensors; give the file of the network's weights")
    return WeightFile(path, tensors, constructor=_constructor(content))


def _plain_values_allowed() -> AbstractContextManager[None]:
    """DUSt3R's files carry the training's command line and a numpy number or two: data, no code."""
    scalar = getattr(np, "_core", None) or np.core  # numpy 2 | 1
    allowed = [argparse.Namespace, scalar.multiarray.scalar, np.dtype, type(np.dtype(np.float64))]
    context: AbstractContextManager[None] = torch.serialization.safe_globals(allowed)
    return context


def _is_zip(path: Path) -> bool:
    """Files of torch before 1.6 are bare pickles and cannot be mapped."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


_TABLES = ("model", "state_dict", "model_state_dict")
_WRAPPERS = ("module.", "_orig_mod.")


def _state_dict(content: Any) -> dict[str, Tensor] | None:
    """The first table of tensors, without the prefixes that training wrappers add."""
    if not isinstance(content, Mapping):
        return None
    tables = [content, *(content[name] for name in _TABLES if isinstance(content.get(name), Mapping))]
    for table in tables:
        tensors = {str(key): value for key, value in table.items() if isinstance(value, Tensor)}
        if tensors and len(tensors) == len(table):
            return _unwrapped(tensors)
    return None


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if all(key.startswith(wrapper) for key in tensors):
            return _unwrapped({key[len(wrapper) :]: value for key, value in tensors.items()})
    return tensors


def _constructor(content: Any) -> str | None:
    arguments = content.get("args") if isinstance(content, Mapping) else None
    text = getattr(arguments, "model", None)
    return text if isinstance(text, str) else None


def _not_plain(path: Path, error: Exception) -> DpmError:
    found = re.search(r"GLOBAL (\S+) (?:was not an allowed global|whose module)", str(error))
    if found is None:
        return _damaged(path, "a torch file", ValueError("it does not read as one"))  # torch's own words mislead
    return DpmError(
        f"{path} holds more than weights ({found[1]}), which would have to be run to be read; "
        "ask its maker for a .safetensors file"
    )


def _damaged(path: Path, kind: str, error: Exception) -> DpmError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    size = path.stat().st_size
    return DpmError(f"{path} is not {kind}, or is cut short after {size} bytes ({reason}); download it again")


def metadata_json(file: WeightFile, key: str) -> Any:
    """The value of a JSON entry of the file's metadata, None where there is none.

    Raises:
        DpmError: it is not JSON.
    """
    text = file.metadata.get(key)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise DpmError(f"{file.path} has metadata '{key}' that is not JSON; write it anew") from error
