# SPDX-License-Identifier: Apache-2.0
"""`dpm bench engines`: the same frames through every engine that this machine has."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tyro.conf import arg

from ..engines import BACKENDS, Engine, open_engine
from ..errors import DpmError
from ..stream import Session, SessionConfig
from ..types import Frame
from .arguments import parse, write_json
from .bench_stream import Kept, difference
from .measuring import AtSize, Memory, described, machine, mebibytes, patched_size, some_frames, told, use_threads

TORCH = "torch"


@dataclass(frozen=True)
class Options:
    """Time every engine that is available on the same frames, eager torch first.

    Attributes:
        model: the network.
        exported: a folder that `dpm export` made of it for this window and size; without, one is made and thrown away.
        window: frames that the network sees at once.
        size: HEIGHTxWIDTH that the network sees, multiples of its patch.
        recording: frames of it in place of a pattern that moves.
        repeats: estimates that are timed, after the window is full.
        device: auto, cpu, cuda, cuda:1, …
        threads: of the CPU; 0 for as many as torch would use.
        json: write the figures here too.
    """

    model: str = "vdpm-mini"
    exported: Path | None = None
    window: int = 8
    size: str = "168x224"
    recording: Path | None = None
    repeats: int = 10
    device: str = "auto"
    threads: int = 0
    json: Annotated[Path | None, arg(metavar="FILE")] = None


@dataclass(frozen=True)
class Alone:
    """An engine in a process of its own.

    Attributes:
        open_seconds: to have it ready.
        first_seconds: of the first estimate, above which later ones of its kind cost less.
        peak_bytes: the most the process held, interpreter and libraries included.
    """

    open_seconds: float
    first_seconds: float
    peak_bytes: int | None


@dataclass(frozen=True)
class Figure:
    """What was measured of an engine.

    Attributes:
        backend: its name.
        why_not: why it does not run here, or None.
        alone: in a process of its own.
        p50, p95, largest: seconds of an estimate, everything listened to.
        ratio: eager torch's median over its own.
        difference: the largest from eager torch, see `dpm bench stream`.
    """

    backend: str
    why_not: str | None
    alone: Alone | None = None
    p50: float | None = None
    p95: float | None = None
    largest: float | None = None
    ratio: float | None = None
    difference: float | None = None


@dataclass(frozen=True)
class _Case:
    """How one engine is opened; travels to another process."""

    model: str
    backend: str
    device: str
    size: tuple[int, int]
    window: int
    threads: int

    def open(self) -> Engine:
        use_threads(self.threads)
        return AtSize(open_engine(self.model, None, self.device, self.backend), self.size)

    def session(self, engine: Engine) -> Session:
        return Session(engine, SessionConfig(window=self.window))


def main(argv: list[str]) -> int:
    """0; figures on stdout and, where asked, in a file."""
    options = parse(Options, "dpm bench engines", argv)
    if min(options.window, options.repeats) < 1:
        raise DpmError("window and repeats must be 1 or more")
    size = patched_size(options.size, 14)
    given = some_frames(options.recording, size, options.window + options.repeats - 1)
    with _exported(options) as folder:
        cases = [_Case(options.model, TORCH, options.device, size, options.window, options.threads)]
        cases += [
            _Case(
                options.model if backend.startswith(TORCH) else str(folder),
                backend,
                options.device,
                size,
                options.window,
                options.threads,
            )
            for backend in BACKENDS
            if backend not in ("auto", TORCH)
        ]
        figures = measure(cases, given)
    about = machine(torch.device("cpu"))
    Console().print(_table(figures, options, about))
    if options.json is not None:
        write_json(options.json, {"machine": about, "options": told(options), "engines": [asdict(f) for f in figures]})
    return 0


def measure(cases: Sequence[_Case], frames: Sequence[Frame]) -> list[Figure]:
    """Each alone, then all by turns. The first case is what the others are compared with."""
    why_not: dict[str, str] = {}
    alone: dict[str, Alone] = {}
    for case in track(cases, description="alone", transient=True):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            try:
                alone[case.backend] = process.submit(_alone, case, frames).result()
            except DpmError as error:
                why_not[case.backend] = str(error)
    seconds, differences = _by_turns([case for case in cases if case.backend in alone], frames)
    reference = np.median(seconds[cases[0].backend])
    return [
        Figure(case.backend, why_not[case.backend])
        if case.backend in why_not
        else _figure(case.backend, alone[case.backend], seconds[case.backend], differences[case.backend], reference)
        for case in cases
    ]


def _figure(backend: str, alone: Alone, seconds: list[float], difference: float, reference: float) -> Figure:
    p50, p95, largest = (float(value) for value in np.percentile(seconds, [50, 95, 100]))
    return Figure(backend, None, alone, p50, p95, largest, float(reference / p50), difference)


def _alone(case: _Case, frames: Sequence[Frame]) -> Alone:
    """In a fresh process: ready, the first estimate, a full window."""
    begun = time.perf_counter()
    session = case.session(case.open())
    memory = Memory(session.engine.device)
    opened = time.perf_counter()
    session.process(frames[0])
    first = time.perf_counter()
    for frame in frames[1 : case.window + 1]:
        session.process(frame)
    return Alone(opened - begun, first - opened, memory.peak())


def _by_turns(cases: Sequence[_Case], frames: Sequence[Frame]) -> tuple[dict[str, list[float]], dict[str, float]]:
    engines = {case.backend: Kept(case.open()) for case in cases}
    sessions = {case.backend: case.session(engines[case.backend]) for case in cases}
    seconds: dict[str, list[float]] = {backend: [] for backend in engines}
    differences = dict.fromkeys(engines, 0.0)
    expected = engines[cases[0].backend]
    for index, frame in enumerate(track(frames, description="by turns", transient=True)):
        for backend, session in sessions.items():
            taken = sum(session.process(frame).seconds.values())
            if index >= cases[0].window - 1:
                seconds[backend].append(taken)
                differences[backend] = max(differences[backend], difference(engines[backend].last, expected.last))
    return seconds, differences


@contextmanager
def _exported(options: Options) -> Iterator[Path]:
    if options.exported is not None:
        yield options.exported
        return
    from .export import main as export

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "exported"
        export([options.model, "--out", str(out), "--window", str(options.window), "--size", options.size])
        yield out


def _table(figures: list[Figure], options: Options, about: dict[str, Any]) -> Table:
    table = Table(title=f"{options.model}, {options.window} frames of {options.size}\n{described(about)}")
    for heading in ("engine", "p50 ms", "p95", "most", "torch / this", "open s", "first s", "MiB", "difference"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for figure in figures:
        if figure.alone is None:
            continue
        milliseconds = [f"{1e3 * value:.0f}" for value in (figure.p50, figure.p95, figure.largest) if value is not None]
        table.add_row(
            figure.backend,
            *milliseconds,
            f"{figure.ratio:.2f}",
            f"{figure.alone.open_seconds:.1f}",
            f"{figure.alone.first_seconds:.2f}",
            mebibytes(figure.alone.peak_bytes),
            f"{figure.difference:.1e}",
        )
    missing = [f"{figure.backend}: {figure.why_not}" for figure in figures if figure.why_not is not None]
    table.caption = "\n".join(missing) or None
    return table
