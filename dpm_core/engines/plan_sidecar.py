# SPDX-License-Identifier: Apache-2.0
"""What is written beside a TensorRT plan: what it was built from, with what, for which GPUs, and how well it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..atomic import atomic_file
from ..errors import DpmError
from .manifest import Deviation, TensorSpec
from .tensorrt_library import Capability, told

SCHEMA = 1
SUFFIX = ".json"


@dataclass(frozen=True)
class Sidecar:
    """What a machine must know of a plan before it loads it.

    Attributes:
        graph: which of the export's graphs it is, such as "encoder".
        source: what it was built from, see `source_of`.
        plan_sha256: of the plan.
        plan_bytes: its size.
        library, library_version: what built it; plans run on exactly that.
        platform: system and machine, such as "linux-x86_64".
        capabilities: compute capabilities that it runs on.
        gpu: the GPU that it was built on; "" where it was built ahead of time.
        tf32: whether float32 products may round, see BuildSettings.
        inputs, outputs: what it takes and gives.
        build_seconds: how long it took.
        parity: by output, how far it is from the eager network, measured on the GPU; {} where none was there.
    """

    graph: str
    source: str
    plan_sha256: str
    plan_bytes: int
    library: str
    library_version: str
    platform: str
    capabilities: tuple[Capability, ...]
    gpu: str
    tf32: bool
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    build_seconds: float
    parity: Mapping[str, Deviation] = field(default_factory=dict)

    @property
    def maker(self) -> str:
        """The library and its version."""
        return f"{self.library} {self.library_version}"

    @property
    def built_for(self) -> str:
        """The GPUs, in words."""
        capabilities = f"compute capability {told(self.capabilities)}"
        return f"{self.gpu} ({capabilities})" if self.gpu else capabilities


def sidecar_path(plan: Path) -> Path:
    """Where the sidecar of a plan is."""
    return plan.with_name(plan.name + SUFFIX)


def write_sidecar(plan: Path, sidecar: Sidecar) -> None:
    """Beside the plan, atomically."""
    with atomic_file(sidecar_path(plan)) as unfinished:
        unfinished.write_text(json.dumps({"schema": SCHEMA, **asdict(sidecar)}, indent=2, ensure_ascii=False) + "\n")


def read_sidecar(plan: Path) -> Sidecar:
    """What is told of a plan.

    Raises:
        DpmError: there is no sidecar, it is damaged, or a newer dpm wrote it.
    """
    path = sidecar_path(plan)
    try:
        told_of_it = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DpmError(f"{plan} has no {path.name} beside it, so nothing is known of it") from error
    except (OSError, ValueError) as error:
        raise DpmError(f"{path} does not read as JSON") from error
    if not isinstance(told_of_it, dict) or told_of_it.pop("schema", None) != SCHEMA:
        raise DpmError(f"{path} is not of schema {SCHEMA}, which this dpm reads")
    try:
        return _sidecar(told_of_it)
    except (KeyError, TypeError, ValueError) as error:
        raise DpmError(f"{path} is damaged: {type(error).__name__} at {' '.join(str(error).split())[:80]}") from error


def _sidecar(values: dict[str, Any]) -> Sidecar:
    required = {each.name for each in fields(Sidecar)}
    if set(values) != required:
        raise ValueError(f"{sorted(set(values) ^ required)}")
    values["capabilities"] = tuple((int(major), int(minor)) for major, minor in values["capabilities"])
    for side in ("inputs", "outputs"):
        values[side] = tuple(
            TensorSpec(str(each["name"]), tuple(int(n) for n in each["shape"]), str(each["dtype"]))
            for each in values[side]
        )
    values["parity"] = {name: Deviation(**deviation) for name, deviation in values["parity"].items()}
    return Sidecar(**values)
