# SPDX-License-Identifier: Apache-2.0
"""`dpm bench`: a table of benchmarks."""

from __future__ import annotations

from importlib.metadata import entry_points

from .commands import Brought, Command, dispatch, in_module

BENCHMARKS = {
    "kernels": in_module("dpm_core.cli.bench_kernels", "the native kernels"),
    "stream": in_module("dpm_core.cli.bench_stream", "a new frame, live against plain"),
    "engines": in_module("dpm_core.cli.bench_engines", "the same frames through every engine that is here"),
    "scale": in_module("dpm_core.cli.bench_scale", "cost by frames of a window, by image size, by asked times"),
    "overlap": in_module("dpm_core.cli.bench_overlap", "frames one after another and overlapped"),
    "soak": in_module("dpm_core.cli.bench_soak", "memory over many windows"),
    "report": in_module("dpm_core.cli.bench_report", "a page and charts of what was measured"),
}

# Of the ROS package, in the entry point group `dpm.benchmarks`: told in the help even where it is not installed.
OF_ROS = {"node": "the node beside its network, from callback to messages (package dpm_ros)"}


def main(argv: list[str]) -> int:
    """The exit code of the benchmark."""
    brought = {entry.name: entry for entry in entry_points(group="dpm.benchmarks")}
    of_ros = {name: Command(help, Brought(f"dpm bench {name}", brought.get(name))) for name, help in OF_ROS.items()}
    return dispatch(
        "dpm bench",
        "Measures on this machine; figures of shared machines are worth little.",
        {**BENCHMARKS, **of_ros},
        argv,
    )
