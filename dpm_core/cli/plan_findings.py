# SPDX-License-Identifier: Apache-2.0
"""What `dpm doctor FOLDER` looks at in an exported model: whether it is whole, and which TensorRT plans fit here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import DpmError
from .findings import BROKEN, MISSING, OK, Finding


def examine_export(folder: Path) -> Iterator[Finding]:
    """The export, then one finding a graph: the plan that TensorRT would run here, or why none of them does."""
    from ..engines.manifest import read_manifest  # torch: after the help
    from ..engines.plan_fit import this_machine
    from ..engines.tensorrt_engine import look_for_plan, rebuild_command

    try:
        manifest = read_manifest(folder)
    except DpmError as error:
        found, _, advice = str(error).rpartition("; ")
        yield Finding(f"export {folder.name}", BROKEN, found, advice)
        return
    window = "pairs" if manifest.window is None else f"windows of {manifest.window}"
    images = f"{manifest.width}x{manifest.height}, {manifest.precision}"
    yield Finding(f"export {folder.name}", OK, f"{manifest.model}, {window}, {images}")
    machine = this_machine()
    for graph in manifest.graphs.values():
        plan, why = look_for_plan(folder, graph, machine)
        name = f"plan of {graph.name}"
        if plan is not None:
            checked = "checked on this GPU's kind" if plan.sidecar.parity else "not checked on a GPU yet"
            yield Finding(name, OK, f"{plan.path.name}, {checked}")
        else:
            advice = f"without plans ONNX Runtime runs it; on the GPU that it is for: {rebuild_command(folder)}"
            yield Finding(name, MISSING, "; ".join(why) or "none", advice)
