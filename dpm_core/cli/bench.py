# SPDX-License-Identifier: Apache-2.0
"""`dpm bench`: a table of benchmarks."""

from __future__ import annotations

from .commands import dispatch, in_module

BENCHMARKS = {
    "kernels": in_module("dpm_core.cli.bench_kernels", "the native kernels"),
    "stream": in_module("dpm_core.cli.bench_stream", "a new frame, live against plain"),
    "engines": in_module("dpm_core.cli.bench_engines", "the same frames through every engine that is here"),
    "scale": in_module("dpm_core.cli.bench_scale", "cost by frames of a window, by image size, by asked times"),
    "overlap": in_module("dpm_core.cli.bench_overlap", "frames one after another and overlapped"),
    "soak": in_module("dpm_core.cli.bench_soak", "memory over many windows"),
    "report": in_module("dpm_core.cli.bench_report", "a page and charts of what was measured"),
}


def main(argv: list[str]) -> int:
    """The exit code of the benchmark."""
    return dispatch(
        "dpm bench", "Measures on this machine; figures of shared machines are worth little.", BENCHMARKS, argv
    )
