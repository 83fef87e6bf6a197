# SPDX-License-Identifier: Apache-2.0
"""The plans of a whole export, built once and by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..atomic import atomic_file
from ..errors import DpmError
from .manifest import GraphSpec, Manifest, read_manifest
from .plan_fit import damage, this_machine, this_platform
from .plan_sidecar import Sidecar, read_sidecar
from .plan_store import one_builder, plan_name, require_room, source_of, write_plan
from .tensorrt_build import BuildSettings, build
from .tensorrt_engine import Found
from .tensorrt_library import Capability, Library
from .tensorrt_progress import OnProgress


class Progress(Protocol):
    """What a person sees meanwhile."""

    def plan(self, graph: str) -> OnProgress:
        """A plan is begun; the result is told how far it is."""

    def waiting(self, graph: str) -> None:
        """Another process builds this plan; we wait for it."""


@dataclass(frozen=True)
class Target:
    """What plans are built for.

    Attributes:
        library: builds them.
        capabilities: compute capabilities they run on.
        gpu: the GPU that is here and that they are built on; "" where they are built ahead of time.
    """

    library: Library
    capabilities: tuple[Capability, ...]
    gpu: str

    @property
    def ahead(self) -> bool:
        """Whether no GPU is asked."""
        return not self.gpu


def choose_target(libraries: Sequence[Library], capabilities: Sequence[Capability]) -> Target:
    """What to build with and for: the GPU that is here, or the capabilities that are named.

    Args:
        libraries: those that import here, the preferred one first.
        capabilities: what the user named; () for the GPU that is here.

    Raises:
        DpmError: there is no library, no GPU and none named, or only a library that cannot build for what is named.
    """
    if not libraries:
        raise DpmError("no TensorRT imports here; get one with: pip install tensorrt, or tensorrt-rtx-cu13")
    machine = this_machine()
    if not capabilities:
        if machine.capability is None:
            raise DpmError("there is no GPU here to build for; name one, such as --compute-capability 8.6")
        return Target(libraries[0], (machine.capability,), machine.gpu)
    for library in libraries:
        if library.builds_ahead:
            return Target(library, tuple(sorted(set(capabilities))), "")
    if tuple(capabilities) == (machine.capability,):
        return Target(libraries[0], tuple(capabilities), machine.gpu)
    raise DpmError(
        f"{libraries[0]} builds only for the GPU that is here; leave --compute-capability out on the machine that is "
        "meant, or get the library that builds ahead of time: pip install tensorrt-rtx-cu13"
    )


def build_plans(folder: Path, target: Target, progress: Progress) -> dict[str, Found]:
    """A plan for every graph of an export. One that is there and whole is kept.

    Args:
        folder: the export.
        target: see there.
        progress: see there.

    Raises:
        DpmError: the folder is no whole export, a graph cannot be built (see `tensorrt_build.build`), or the disk is
            full. Plans that were finished before stay.
    """
    manifest = read_manifest(folder)
    return {name: _built(folder, manifest, graph, target, progress) for name, graph in manifest.graphs.items()}


def _built(folder: Path, manifest: Manifest, graph: GraphSpec, target: Target, progress: Progress) -> Found:
    path = folder / plan_name(graph.name, target.library, target.capabilities, source_of(graph))
    with one_builder(path, lambda: progress.waiting(graph.name)):
        return _kept(path, graph) or _build(path, folder, manifest, graph, target, progress.plan(graph.name))


def _kept(path: Path, graph: GraphSpec) -> Found | None:
    """The plan that is there already, if it is whole and of this graph."""
    try:
        sidecar = read_sidecar(path)
    except DpmError:
        return None
    return Found(path, sidecar) if sidecar.source == source_of(graph) and damage(path, sidecar) is None else None


def _build(
    path: Path, folder: Path, manifest: Manifest, graph: GraphSpec, target: Target, on_progress: OnProgress
) -> Found:
    require_room(folder, sum((folder / name).stat().st_size for name in graph.sha256))
    # float32 exports are asked for to be exact; beside bfloat16 matrices ten bits of mantissa in the heads are plenty.
    tf32 = manifest.precision != "fp32"
    timings = _timings_file(folder, target)
    known = timings.read_bytes() if timings.is_file() else b""
    begun = time.monotonic()
    settings = BuildSettings(target.capabilities if target.ahead else (), tf32, known)
    built = build(target.library, folder / graph.file, settings, on_progress)
    seconds = time.monotonic() - begun

    def described(plan_sha256: str, plan_bytes: int) -> Sidecar:
        return Sidecar(
            graph=graph.name,
            source=source_of(graph),
            plan_sha256=plan_sha256,
            plan_bytes=plan_bytes,
            library=target.library.name,
            library_version=target.library.version,
            platform=this_platform(),
            capabilities=target.capabilities,
            gpu=target.gpu,
            tf32=tf32,
            inputs=built.inputs,
            outputs=built.outputs,
            build_seconds=round(seconds, 3),
        )

    sidecar = write_plan(path, built.plan, described)
    if built.timings:
        with atomic_file(timings) as unfinished:
            unfinished.write_bytes(built.timings)
    return Found(path, sidecar)


def _timings_file(folder: Path, target: Target) -> Path:
    capabilities = "".join(f"sm{major}{minor}" for major, minor in target.capabilities)
    return folder / f"timings-{capabilities}-{target.library.name}{target.library.version}.cache"
