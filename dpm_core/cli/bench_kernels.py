# SPDX-License-Identifier: Apache-2.0
"""`dpm bench kernels`: what the native kernels take, beside the bytes they must move and the usual ways of doing it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import torch
from rich.console import Console
from rich.table import Table
from tyro.conf import arg

from ..errors import DpmError
from .arguments import parse, write_json
from .kernel_cases import Case, cases, scene
from .measuring import find_device, processor, use_threads

_COPY_BYTES = 256 << 20
_IN_GRAPH = 10  # calls


@dataclass(frozen=True)
class Options:
    """Time the native kernels on this machine.

    Attributes:
        views: views of the window.
        height: of the point maps.
        width: of the point maps.
        voxel: edge of a cell for fusion, where the scene is two units deep.
        device: cpu, cuda, or auto for cuda where there is one.
        threads: of the CPU; 0 for as many as torch would use.
        repeats: of each measurement; the best counts, since what disturbs only ever slows down.
        json: write the figures here too.
    """

    views: int = 8
    height: int = 392
    width: int = 518
    voxel: float = 0.02
    device: str = "auto"
    threads: int = 0
    repeats: int = 20
    json: Annotated[Path | None, arg(metavar="FILE")] = None


@dataclass(frozen=True)
class Figure:
    """What was measured of one kernel.

    Attributes:
        name: the case.
        seconds: best of the repeats.
        median_seconds: of the repeats.
        bytes: what must be moved.
        bytes_per_second: of those.
        share_of_copy: bytes per second over those of a large copy in the same run.
        call_seconds: of a call with next to no data, from Python and back, without waiting for a GPU.
        rivals: seconds of the others, by name, best of the repeats.
        ratios: how many times as long they take.
    """

    name: str
    seconds: float
    median_seconds: float
    bytes: int
    bytes_per_second: float
    share_of_copy: float
    call_seconds: float
    rivals: dict[str, float]
    ratios: dict[str, float]


def main(argv: list[str]) -> int:
    """The exit code; figures on stdout and, where asked, in a file."""
    options = parse(Options, "dpm bench kernels", argv)
    device = find_device(options.device)
    if min(options.views, options.height, options.width, options.repeats) < 1 or not options.voxel > 0:
        raise DpmError("views, height, width, repeats and voxel must be > 0; leave them out for the usual window")
    use_threads(options.threads)
    copy = copy_bandwidth(device, options.repeats)
    data = scene(options.views, options.height, options.width, device)
    tiny = cases(scene(1, 4, 4, device), options.voxel)
    figures = [
        measure(case, device, options.repeats, copy, call_seconds(least))
        for case, least in zip(cases(data, options.voxel), tiny, strict=True)
    ]
    machine = _machine(device, copy)
    Console().print(_table(figures, machine, options))
    if options.json is not None:
        told = {key: value for key, value in asdict(options).items() if key != "json"}
        write_json(options.json, {"machine": machine, "options": told, "kernels": [asdict(f) for f in figures]})
    return 0


def measure(case: Case, device: torch.device, repeats: int, copy: float, call: float) -> Figure:
    """Time a kernel and its rivals in turns, so that what disturbs the machine disturbs them alike."""
    works = {"": _queued(case, device), **case.rivals}
    clock = _clock(device)
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 2):
        for name, work in works.items():
            seconds = clock(work)
            if turn >= 2:  # the first warm caches, allocators and thread pools
                times[name].append(seconds)
    if works[""] is not case.run:
        times[""] = [seconds / _IN_GRAPH for seconds in times[""]]
    best = {name: min(seconds) for name, seconds in times.items()}
    own = best.pop("")
    return Figure(
        name=case.name,
        seconds=own,
        median_seconds=statistics.median(times[""]),
        bytes=case.bytes,
        bytes_per_second=case.bytes / own,
        share_of_copy=case.bytes / own / copy,
        call_seconds=call,
        rivals=best,
        ratios={name: seconds / own for name, seconds in best.items()},
    )


def copy_bandwidth(device: torch.device, repeats: int) -> float:
    """Bytes read and written each second by torch's own copy of a large tensor."""
    source = torch.randint(0, 255, (_COPY_BYTES,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    clock = _clock(device)
    return 2 * _COPY_BYTES / min(clock(lambda: target.copy_(source)) for _ in range(repeats + 2))


def _queued(case: Case, device: torch.device) -> Callable[[], Any]:
    """Several calls as one graph, so that a GPU's time is measured and not that of launching; else the call itself."""
    if device.type != "cuda" or case.waits:
        return case.run
    case.run()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(_IN_GRAPH):
            case.run()
    return graph.replay


def call_seconds(case: Case, calls: int = 200, turns: int = 20) -> float:
    """Best mean over some turns of many calls."""

    def turn() -> None:
        for _ in range(calls):
            case.run()

    return min(_wall_seconds(turn) for _ in range(turns)) / calls


def _clock(device: torch.device) -> Callable[[Callable[[], Any]], float]:
    return _cuda_seconds if device.type == "cuda" else _wall_seconds


def _wall_seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _cuda_seconds(work: Callable[[], Any]) -> float:
    """Between two events on the stream, the launches of which are kept ahead by a wait at the front."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda._sleep(1_000_000)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def _machine(device: torch.device, copy: float) -> dict[str, Any]:
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "copy_bytes_per_second": copy,
    }


def _table(figures: list[Figure], machine: dict[str, Any], options: Options) -> Table:
    where = machine["device"] if options.device == "cuda" else f"{machine['device']}, {machine['threads']} threads"
    table = Table(
        title=f"{options.views} views of {options.height} x {options.width} on {where}; "
        f"copy {machine['copy_bytes_per_second'] / 1e9:.1f} GB/s"
    )
    for heading in ("kernel", "ms", "MB", "GB/s", "of copy", "call µs", "times as fast as"):
        table.add_column(heading, justify="left" if heading in ("kernel", "times as fast as") else "right")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.seconds * 1e3:.3f}",
            f"{figure.bytes / 1e6:.1f}",
            f"{figure.bytes_per_second / 1e9:.1f}",
            f"{figure.share_of_copy:.0%}",
            f"{figure.call_seconds * 1e6:.1f}",
            "\n".join(f"{ratio:.1f} {name}" for name, ratio in figure.ratios.items()),
        )
    return table
