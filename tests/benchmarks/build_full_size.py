# SPDX-License-Identifier: Apache-2.0
"""V-DPM at its published width exported and built by TensorRT, graph by graph: does it build, how long, how large.

    python tests/benchmarks/build_full_size.py --out DIR [--depth 24] [--window 8] [--size 294x518] [--precision bf16]
        [--compute-capability 8.9] [--json FILE]

Needs no GPU (tensorrt_rtx builds ahead of time) and no weights (they are random). `--depth`, 4 or more, keeps so many
pairs of blocks in the trunk and as many blocks in the encoder; 24 is the published network. Depth 4 took 7.9 GB of
memory. Graphs are not compared with the eager network here: `dpm export` does that.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from dpm_core.cli.export import parse_size
from dpm_core.engines.export_graphs import ModuleGraph, graphs_of
from dpm_core.engines.export_onnx import save_graph, to_onnx
from dpm_core.engines.export_precision import narrow
from dpm_core.engines.tensorrt_build import BuildSettings, build
from dpm_core.engines.tensorrt_library import load_library, parse_capability
from dpm_core.models import VDPM, VDPMConfig, VDPMNetwork, initialise

TAPPED = 4


def shallow(depth: int) -> VDPMConfig:
    """The published network with so many pairs of blocks; its widths, heads and decoder are as published."""
    trunk = VDPM.aggregator
    taps = tuple(round((place + 1) * depth / TAPPED) - 1 for place in range(TAPPED))
    encoder = replace(trunk.encoder, depth=depth)
    chosen = trunk.taps if depth == trunk.depth else taps
    return replace(VDPM, aggregator=replace(trunk, encoder=encoder, depth=depth, taps=chosen))


def figures_of(graph: ModuleGraph, options: argparse.Namespace) -> dict[str, Any]:
    """Export and build one graph; seconds and bytes."""
    begun = time.monotonic()
    spec = save_graph(to_onnx(graph), graph, options.out)
    exported = time.monotonic()
    library = load_library("tensorrt_rtx")
    settings = BuildSettings((parse_capability(options.compute_capability),), tf32=options.precision != "fp32")
    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task(graph.name, total=1.0)
        built = build(library, options.out / spec.file, settings, lambda done: bars.update(task, completed=done))
    plan = options.out / f"{graph.name}.plan"
    plan.write_bytes(built.plan)
    return {
        "graph": graph.name,
        "export_seconds": exported - begun,
        "build_seconds": time.monotonic() - exported,
        "onnx_bytes": sum((options.out / name).stat().st_size for name in spec.sha256),
        "plan_bytes": built.plan.nbytes,
        "library": str(library),
    }


def main() -> None:
    """Print the figures; with --json, write them too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--depth", type=int, default=VDPM.aggregator.depth)
    parser.add_argument("--window", type=int, default=8)
    parser.add_argument("--size", type=parse_size, default=(294, 518))
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="bf16")
    parser.add_argument("--compute-capability", default="8.9")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    network = VDPMNetwork(shallow(options.depth)).eval().requires_grad_(False)
    initialise(network)
    narrow(network, options.precision)
    figures = {
        "depth": options.depth,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "window": options.window,
        "size": f"{options.size[1]}x{options.size[0]}",
        "precision": options.precision,
        "compute_capability": options.compute_capability,
        "torch": torch.__version__,
        "graphs": [figures_of(graph, options) for graph in graphs_of(network, options.size, options.window)],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
