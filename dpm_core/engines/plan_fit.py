# SPDX-License-Identifier: Apache-2.0
"""Whether a plan runs here, and if not, why: said before TensorRT is asked, which would not say."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..checkpoints.download import sha256
from .plan_sidecar import Sidecar
from .tensorrt_library import Capability, libraries, told


@dataclass(frozen=True)
class Machine:
    """What a plan must fit.

    Attributes:
        platform: system and machine, such as "linux-x86_64".
        capability: of the GPU; None where there is none.
        gpu: its name; "" where there is none.
        libraries: versions of the TensorRTs that import here, by name.
    """

    platform: str
    capability: Capability | None
    gpu: str
    libraries: Mapping[str, str]


def this_platform() -> str:
    """System and machine, such as "linux-x86_64"."""
    return f"{platform.system().lower()}-{platform.machine()}"


def this_machine(device: torch.device | None = None) -> Machine:
    """The machine that this runs on. device: the GPU; None for torch's current one, where there is one."""
    versions = {library.name: library.version for library in libraries()}
    if not torch.cuda.is_available():
        return Machine(this_platform(), None, "", versions)
    return Machine(
        this_platform(), torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device), versions
    )


def misfits(sidecar: Sidecar, source: str, machine: Machine) -> Iterator[str]:
    """Every reason why a plan cannot run on a machine, in words that end "…: the plan …"; none if it can.

    Args:
        sidecar: of the plan.
        source: `source_of` the graph, as the export's manifest tells it.
        machine: to run on.
    """
    if sidecar.source != source:
        yield "stale: the graph was exported anew after it was built"
    if sidecar.platform != machine.platform:
        yield f"foreign: built on {sidecar.platform}, this is {machine.platform}"
    version = machine.libraries.get(sidecar.library)
    if version is None:
        yield f"built with {sidecar.maker}, which is not installed"
    elif version != sidecar.library_version:
        yield f"built with {sidecar.maker}, here is {version}"
    if machine.capability is None:
        yield f"built for {sidecar.built_for}, here is no GPU"
    elif machine.capability not in sidecar.capabilities:
        yield (
            f"built for {sidecar.built_for}, here is {machine.gpu} (compute capability {told([machine.capability])})"
        )


def damage(plan: Path, sidecar: Sidecar) -> str | None:
    """How a plan differs from what was built, None if it does not. Reads the whole file."""
    try:
        size = plan.stat().st_size
    except OSError:
        return "not there"
    if size != sidecar.plan_bytes:
        return f"cut short or altered: {size} bytes, it was built with {sidecar.plan_bytes}"
    if sha256(plan) != sidecar.plan_sha256:
        return "altered: its checksum is not the one that it was built with"
    return None
