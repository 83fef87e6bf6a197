# SPDX-License-Identifier: Apache-2.0
"""`dpm bench soak`: whether memory stays what it is over many windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from tyro.conf import arg

from ..engines import Engine
from ..errors import DpmError
from ..stream import Outcome, Reader, Session, SessionConfig
from ..stream.lanes import Lanes
from .arguments import parse, write_json
from .measuring import (
    AtSize,
    described,
    find_device,
    frames,
    machine,
    patched_size,
    resident,
    told,
    torch_engine,
    use_threads,
)

SAMPLES = 50


@dataclass(frozen=True)
class Options:
    """Run many windows through one session, as `dpm run` does, and watch the memory that the process holds.

    Attributes:
        model: the network.
        windows: estimates that are made.
        window: frames that the network sees at once.
        size: HEIGHTxWIDTH that the network sees, multiples of its patch.
        device: cpu, cuda, or auto for cuda where there is one.
        threads: of the CPU; 0 for as many as torch would use.
        json: write the figures here too.
    """

    model: str = "vdpm-mini"
    windows: int = 1000
    window: int = 8
    size: str = "84x112"
    device: str = "auto"
    threads: int = 0
    json: Annotated[Path | None, arg(metavar="FILE")] = None


@dataclass(frozen=True)
class Figure:
    """What was held.

    Attributes:
        resident_bytes: of the process, by the number of windows before; on a GPU the tensors allocated there.
        growth_bytes_per_window: slope of the straight line through the second half.
        rise: the median of the last fifth over that of the fifth before the middle, less 1.
    """

    resident_bytes: dict[int, int]
    growth_bytes_per_window: float
    rise: float


def main(argv: list[str]) -> int:
    """0; figures on stdout and, where asked, in a file."""
    options = parse(Options, "dpm bench soak", argv)
    if options.windows < 10 or options.window < 1:
        raise DpmError("windows must be 10 or more, window 1 or more")
    use_threads(options.threads)
    device = find_device(options.device)
    size = patched_size(options.size, 14)
    about = machine(device)
    engine = AtSize(torch_engine(options.model, device, random_weights=False), size)
    figure = measure(engine, size, options.window, options.windows)
    Console(highlight=False).print(_said(figure, options, about))
    if options.json is not None:
        write_json(options.json, {"machine": about, "options": told(options), "soak": asdict(figure)})
    return 0


def measure(engine: Engine, size: tuple[int, int], window: int, windows: int, lanes: Lanes | None = None) -> Figure:
    """All windows through one session; nothing of an estimate is kept. lanes: what is best here, or which."""
    every = max(1, windows // SAMPLES)
    held: dict[int, int] = {}
    with Reader(Session(engine, SessionConfig(window=window)), lanes=lanes) as reader:
        for index, frame in enumerate(track(islice(frames(None, size), windows), total=windows, transient=True)):
            reader.add(frame, _require_estimate)
            if index % every == every - 1:
                held[index + 1] = _held(engine.device)
    return settled(held)


def _require_estimate(outcome: Outcome) -> None:
    outcome.result()


def settled(held: dict[int, int]) -> Figure:
    """What the samples say."""
    counts, amounts = np.array(list(held), np.float64), np.array(list(held.values()), np.float64)
    half = len(counts) // 2
    slope = float(np.polynomial.Polynomial.fit(counts[half:], amounts[half:], 1).convert().coef[-1])
    return Figure(
        held, slope, float(_median(amounts[-(len(counts) // 5) :]) / _median(amounts[half * 3 // 5 : half]) - 1)
    )


def _median(amounts: Sequence[float] | np.ndarray[Any, Any]) -> float:
    return float(np.median(amounts))


def _held(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    held = resident()
    if held is None:
        raise DpmError("this system does not tell what a process holds (/proc is not there); run it on Linux")
    return held


def _said(figure: Figure, options: Options, about: dict[str, Any]) -> str:
    first, last = next(iter(figure.resident_bytes.values())), list(figure.resident_bytes.values())[-1]
    return (
        f"{options.model}, {options.window} frames of {options.size}; {described(about)}\n"
        f"{options.windows} windows: {first / 2**20:.1f} MiB at first, {last / 2**20:.1f} MiB at last; "
        f"second half {figure.growth_bytes_per_window / 1024:+.2f} KiB a window, {figure.rise:+.2%} in all"
    )
