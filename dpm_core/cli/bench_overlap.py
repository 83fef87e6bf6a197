# SPDX-License-Identifier: Apache-2.0
"""`dpm bench overlap`: what is won where successive frames overlap, and that they say the same."""

from __future__ import annotations

import hashlib
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tyro.conf import arg

from ..engines import Engine
from ..errors import DpmError
from ..io.results import Outputs, Results
from ..stream import Outcome, Reader, Session, SessionConfig
from ..stream.lanes import ALL_BESIDE, MAP_BESIDE, ONE_AFTER_ANOTHER, Lanes, most_frames
from ..types import Estimate, Frame
from .arguments import parse, write_json
from .measuring import (
    AtSize,
    described,
    find_device,
    machine,
    patched_size,
    some_frames,
    told,
    torch_engine,
    use_threads,
)

WAYS = {"one after another": ONE_AFTER_ANOTHER, "map beside": MAP_BESIDE, "all beside": ALL_BESIDE}
_OUTPUTS = Outputs(recording=False)


@dataclass(frozen=True)
class Options:
    """Time a recording as `dpm run` takes it, frames one after another and overlapped, files written too.

    Attributes:
        model: the network.
        window: frames that the network sees at once.
        size: HEIGHTxWIDTH that the network sees, multiples of its patch.
        recording: frames of it in place of a pattern that moves.
        frames: that are timed each round, after the window is full.
        rounds: how often each way is taken, by turns.
        device: cpu, cuda, or auto for cuda where there is one.
        threads: of the CPU; 0 for as many as torch would use.
        json: write the figures here too.
    """

    model: str = "vdpm-mini"
    window: int = 8
    size: str = "168x224"
    recording: Path | None = None
    frames: int = 10
    rounds: int = 3
    device: str = "auto"
    threads: int = 0
    json: Annotated[Path | None, arg(metavar="FILE")] = None


@dataclass(frozen=True)
class Figure:
    """What was measured of one way.

    Attributes:
        name: which steps have a thread of their own.
        chosen: whether recordings take this way here.
        seconds: from one frame to the next, the median of the rounds.
        ratio: the first way's seconds over this one's, the median of the rounds.
        latency: seconds from a frame's reading to its last file, the median.
        page_faults: a frame: pages of memory that the system had to map anew.
        same: whether every estimate was the first way's, to the bit.
    """

    name: str
    chosen: bool
    seconds: float
    ratio: float
    latency: float
    page_faults: float
    same: bool


def main(argv: list[str]) -> int:
    """0; 1 where the ways differ; figures on stdout and, where asked, in a file."""
    options = parse(Options, "dpm bench overlap", argv)
    if min(options.window, options.frames, options.rounds) < 1:
        raise DpmError("window, frames and rounds must be 1 or more")
    use_threads(options.threads)
    device = find_device(options.device)
    size = patched_size(options.size, 14)
    frames = some_frames(options.recording, size, options.window - 1 + options.frames)
    engine = AtSize(torch_engine(options.model, device, random_weights=False), size)
    about = machine(device)
    figures = measure(engine, options.window, frames, options.rounds)
    Console().print(_table(figures, options, about))
    if options.json is not None:
        write_json(options.json, {"machine": about, "options": told(options), "ways": [asdict(f) for f in figures]})
    return 0 if all(figure.same for figure in figures) else 1


def measure(engine: Engine, window: int, frames: Sequence[Frame], rounds: int) -> list[Figure]:
    """All ways by turns, each time a session of its own. frames: the first `window` - 1 fill it and are not timed."""
    said = {name: _said(Session(engine, SessionConfig(window=window)), lanes, frames) for name, lanes in WAYS.items()}
    taken: dict[str, list[_Round]] = {name: [] for name in WAYS}
    for _ in track(range(rounds), description="by turns", transient=True):
        for name, lanes in WAYS.items():
            taken[name].append(_round(Session(engine, SessionConfig(window=window)), lanes, frames, window - 1))
    plain = next(iter(taken.values()))
    return [
        Figure(
            name=name,
            chosen=WAYS[name] == most_frames(engine.device),
            seconds=statistics.median(each.seconds for each in of_way),
            ratio=statistics.median(one.seconds / other.seconds for one, other in zip(plain, of_way, strict=True)),
            latency=statistics.median(latency for each in of_way for latency in each.latencies),
            page_faults=statistics.median(each.page_faults for each in of_way),
            same=said[name] == next(iter(said.values())),
        )
        for name, of_way in taken.items()
    ]


def _said(session: Session, lanes: Lanes, frames: Sequence[Frame]) -> list[str]:
    """Digests of all estimates. In a round of its own: they take time."""
    digests: list[str] = []
    with Reader(session, lanes=lanes) as reader:
        for frame in frames:
            reader.add(frame, lambda outcome: digests.append(digest(outcome.result())))
    return digests


@dataclass(frozen=True)
class _Round:
    """One recording, one way; per frame."""

    seconds: float
    page_faults: float
    latencies: list[float]


def _round(session: Session, lanes: Lanes, frames: Sequence[Frame], filling: int) -> _Round:
    begun: dict[int, float] = {}
    latencies: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Results(Path(folder) / "out", {}, _OUTPUTS) as results:

        def deliver(outcome: Outcome) -> None:
            estimate = outcome.result()
            results.add(estimate)
            if estimate.stamp_ns in begun:
                latencies.append(time.perf_counter() - begun[estimate.stamp_ns])

        with Reader(session, lanes=lanes) as reader:
            for frame in frames[:filling]:
                reader.add(frame, deliver)
            reader.drain()
            start, faults = time.perf_counter(), _page_faults()
            for frame in frames[filling:]:
                begun[frame.stamp_ns] = time.perf_counter()
                reader.add(frame, deliver)
            reader.drain()
            seconds, faults = time.perf_counter() - start, _page_faults() - faults
    timed = len(frames) - filling
    return _Round(seconds / timed, faults / timed, latencies)


def digest(estimate: Estimate) -> str:
    """Of all maps of an estimate, its cloud and its tracks."""
    parts = [*vars(estimate).values(), *vars(estimate.cloud).values(), *vars(estimate.tracks).values()]
    told = hashlib.blake2b()
    for part in parts:
        if isinstance(part, np.ndarray):
            told.update(np.ascontiguousarray(part).data)
    return told.hexdigest()


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _table(figures: Sequence[Figure], options: Options, about: dict[str, Any]) -> Table:
    table = Table(title=f"{options.model}, {options.window} frames of {options.size}; {described(about)}")
    heads = ("a new frame", "ms", "one after another / this", "latency, ms", "page faults", "same bytes")
    for head in heads:
        table.add_column(head, justify="left" if head == heads[0] else "right")
    for figure in figures:
        table.add_row(
            figure.name + (" (chosen here)" if figure.chosen else ""),
            f"{1e3 * figure.seconds:.0f}",
            f"{figure.ratio:.2f}",
            f"{1e3 * figure.latency:.0f}",
            f"{figure.page_faults:.0f}",
            "yes" if figure.same else "no",
        )
    return table
