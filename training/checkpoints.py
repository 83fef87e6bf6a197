# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run: written whole or not at all, checked before they are believed.

A checkpoint is two files: `step-00001200.safetensors` with all tensors, and `step-00001200.json` with the rest and the
first one's size and SHA-256. The second is renamed into place last; without it the first does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dpm_core.errors import DpmError


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        step: optimiser steps done.
        tensors: by name, on the CPU.
        plain: everything else, JSON values.
    """

    step: int
    tensors: dict[str, Tensor]
    plain: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint and remove the oldest beyond `keep`. Returns its JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors_path = folder / f"step-{checkpoint.step:08d}.safetensors"
    plain_path = tensors_path.with_suffix(".json")
    plain_path.unlink(missing_ok=True)  # a leftover must not vouch for what replaces its tensors
    _replace(
        tensors_path,
        lambda path: save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, path),
    )
    about = {
        "step": checkpoint.step,
        "bytes": tensors_path.stat().st_size,
        "sha256": _sha256(tensors_path),
        "plain": checkpoint.plain,
    }
    _replace(plain_path, lambda path: path.write_text(json.dumps(about, indent=1)))
    for old in sorted(folder.glob("step-*.json"))[:-keep]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return plain_path


def latest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole; `say` is told of every newer one that is not. None where there is none."""
    for path in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            return load(path)
        except DpmError as error:
            say(f"{error}; using the one before")
    return None


def load(path: Path) -> Checkpoint:
    """A checkpoint of its JSON file.

    Raises:
        DpmError: it is not whole.
    """
    tensors_path = path.with_suffix(".safetensors")
    try:
        about = json.loads(path.read_text())
        step, size, checksum, plain = (about[name] for name in ("step", "bytes", "sha256", "plain"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DpmError(f"checkpoint {path} cannot be read ({type(error).__name__})") from error
    if not tensors_path.is_file():
        raise DpmError(f"checkpoint {path} has no {tensors_path.name} beside it")
    if tensors_path.stat().st_size != size:
        raise DpmError(f"checkpoint {tensors_path} has {tensors_path.stat().st_size} bytes, not {size}")
    if _sha256(tensors_path) != checksum:
        raise DpmError(f"checkpoint {tensors_path} is not what was written: its SHA-256 differs")
    try:
        return Checkpoint(step, load_file(tensors_path), plain)
    except SafetensorError as error:
        raise DpmError(f"checkpoint {tensors_path} cannot be read ({error})") from error


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose name begins with the prefix, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside, flush to the disk, rename: a kill leaves the old or the new, never a half."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
