# SPDX-License-Identifier: Apache-2.0
"""Whether plans say what their graphs say, measured on the GPU that runs them before they are trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DpmError
from ..types import UInt8
from .export_parity import judge, opened_for_parity, record
from .exported import Graph
from .manifest import Deviation, read_manifest
from .plan_fit import misfits, this_machine
from .plan_sidecar import sidecar_path, write_sidecar
from .plan_store import source_of
from .tensorrt_engine import Found, load_plans
from .tensorrt_run import CudaStream


class FromHost:
    """A graph on a GPU that takes and gives tensors on the CPU, where the check is made."""

    def __init__(self, graph: Graph, device: torch.device) -> None:
        self._graph, self._device = graph, device

    def run(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See Graph."""
        given = self._graph.run({name: value.to(self._device) for name, value in inputs.items()})
        return {name: value.cpu() for name, value in given.items()}


def run_here(folder: Path, found: Mapping[str, Found]) -> dict[str, Graph] | None:
    """The plans of an export on this machine's GPU; None where they are not for it, being built ahead of time.

    Raises:
        DpmError: see `load_plans`.
    """
    manifest, machine = read_manifest(folder), this_machine()
    for name, each in found.items():
        if list(misfits(each.sidecar, source_of(manifest.graphs[name]), machine)):
            return None
    device = torch.device("cuda", torch.cuda.current_device())
    free, _ = torch.cuda.mem_get_info(device)
    plans = load_plans(manifest, found, lambda: CudaStream(device), device, free)
    return {name: FromHost(plan, device) for name, plan in plans.items()}


def check_plans(
    folder: Path, found: Mapping[str, Found], running: Mapping[str, Graph], frames: Sequence[UInt8], scratch: Path
) -> dict[str, Deviation]:
    """Hold every output of running plans against ONNX Runtime's on the CPU, of the graphs that they were built from.

    Args:
        folder: the export.
        found: its plans.
        running: the same, taking and giving tensors on the CPU.
        frames: [H, W, 3] uint8 RGB, oldest first, at least one.
        scratch: a folder for what is not kept.

    Returns:
        "graph.output" → how far it is off; the plans' sidecars tell it from now on.

    Raises:
        DpmError: an output is further off than the precision explains. The plans are removed then.
    """
    manifest = read_manifest(folder)
    expected = record(manifest, opened_for_parity(manifest, folder, scratch), frames)
    said = record(manifest, running, frames)
    try:
        parity = judge(expected, said, manifest.precision)
    except DpmError as error:
        for each in found.values():
            sidecar_path(each.path).unlink(missing_ok=True)
            each.path.unlink(missing_ok=True)
        raise DpmError(f"the plans of {folder} are not their graphs and were removed: {error}") from error
    for name, each in found.items():
        own = {output.removeprefix(f"{name}."): off for output, off in parity.items() if output.startswith(f"{name}.")}
        write_sidecar(each.path, replace(each.sidecar, parity=own))
    return parity
