# SPDX-License-Identifier: Apache-2.0
"""An export's plans as an engine, where every graph has one that fits this machine."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DpmError
from .exported import ExportedEngine
from .manifest import GraphSpec, Manifest, read_manifest
from .plan_fit import Machine, damage, misfits, this_machine
from .plan_memory import Need, OutOfDeviceMemoryError, shortage
from .plan_sidecar import Sidecar, read_sidecar
from .plan_store import plans_in, source_of
from .tensorrt_library import load_library
from .tensorrt_run import CudaStream, Plan, Stream


@dataclass(frozen=True)
class Found:
    """A plan that fits.

    Attributes:
        path: the file.
        sidecar: what is told of it.
    """

    path: Path
    sidecar: Sidecar


def open_tensorrt(folder: Path, device: torch.device) -> ExportedEngine:
    """The engine of an exported folder, run by TensorRT.

    Raises:
        DpmError: the folder is no whole export, a graph has no plan that fits this machine (why, and the command that
            builds one), or the GPU has not enough memory (and what would fit).
    """
    manifest = read_manifest(folder)
    if device.type != "cuda":
        raise DpmError(f"TensorRT runs on a GPU, not on {device}; use --device cuda, or another --backend")
    found = find_plans(folder, manifest, this_machine(device))
    makers = " and ".join(dict.fromkeys(each.sidecar.maker for each in found.values()))
    free, _ = torch.cuda.mem_get_info(device)
    with torch.cuda.device(device):
        plans = load_plans(manifest, found, lambda: CudaStream(device), device, free)
    return ExportedEngine(manifest, plans, makers, device)


def find_plans(folder: Path, manifest: Manifest, machine: Machine) -> dict[str, Found]:
    """A fitting, undamaged plan for every graph, by the graph's name.

    Raises:
        DpmError: a graph has none; why the nearest one does not fit, and the command that builds one.
    """
    return {name: _find_plan(folder, graph, machine) for name, graph in manifest.graphs.items()}


def rebuild_command(folder: Path) -> str:
    """What builds the plans of an export for the machine that it is run on."""
    return f"dpm tensorrt {folder}"


def _find_plan(folder: Path, graph: GraphSpec, machine: Machine) -> Found:
    found, why = look_for_plan(folder, graph, machine)
    if found is None:
        told = "; ".join(why) if why else "none was built"
        raise DpmError(f"no TensorRT plan of '{graph.name}' fits: {told}; build one with `{rebuild_command(folder)}`")
    return found


def look_for_plan(folder: Path, graph: GraphSpec, machine: Machine) -> tuple[Found | None, list[str]]:
    """A fitting, undamaged plan of a graph, and why each of those looked at before does not do."""
    why = []
    for path in plans_in(folder, graph.name):
        try:
            sidecar = read_sidecar(path)
        except DpmError as error:
            why.append(str(error))
            continue
        reasons = list(misfits(sidecar, source_of(graph), machine))
        # Reading the whole file is left to the end.
        harm = None if reasons else damage(path, sidecar)
        if not reasons and harm is None:
            return Found(path, sidecar), why
        why.append(f"{path.name} is {', '.join(reasons) or harm}")
    return None, why


def load_plans(
    manifest: Manifest, found: Mapping[str, Found], make_stream: Callable[[], Stream], device: torch.device, free: int
) -> dict[str, Plan]:
    """Plans ready to run, one stream for all, each reading what the ones before it wrote where it lies.

    Args:
        manifest: of the export.
        found: from `find_plans`, in the order the graphs are run.
        make_stream: where they are run.
        device: the GPU.
        free: its free memory before, bytes.

    Raises:
        DpmError: a library refuses its plan, a plan takes or gives other tensors than its graph, or memory is short.
    """
    stream = make_stream()
    plans: dict[str, Plan] = {}
    written: dict[str, Tensor] = {}
    try:
        for name, each in found.items():
            with each.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                plan = Plan(load_library(each.sidecar.library), content, stream, device, written)
            _require_tensors(plan, manifest.graphs[name], each.path)
            plans[name] = plan
            written |= plan.outputs
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfDeviceMemoryError(_shortage(manifest, found, plans, free)) from error
    return plans


def _require_tensors(plan: Plan, graph: GraphSpec, path: Path) -> None:
    takes = {name: (tuple(buffer.shape), str(buffer.dtype)) for name, buffer in {**plan.inputs, **plan.outputs}.items()}
    wanted = {spec.name: (spec.shape, f"torch.{spec.dtype}") for spec in (*graph.inputs, *graph.outputs)}
    if takes != wanted:
        other = sorted(name for name in takes.keys() | wanted.keys() if takes.get(name) != wanted.get(name))
        raise DpmError(f"{path} takes or gives other tensors than its graph ({', '.join(other)}); build it again")


def _shortage(manifest: Manifest, found: Mapping[str, Found], plans: Mapping[str, Plan], free: int) -> str:
    buffers = sum(_bytes_of(graph) for graph in manifest.graphs.values())
    # What a plan works in is known once it is loaded; of those that did not load, nothing is.
    scratch = sum(plan.scratch_bytes for plan in plans.values())
    weights = sum(each.sidecar.plan_bytes for each in found.values())
    frames = manifest.window or 1
    return shortage(f"the export of '{manifest.model}'", Need(weights, buffers + scratch, frames), free)


def _bytes_of(graph: GraphSpec) -> int:
    tensors = [torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device="meta") for spec in graph.outputs]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
