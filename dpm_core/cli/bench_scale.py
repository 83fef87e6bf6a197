# SPDX-License-Identifier: Apache-2.0
"""`dpm bench scale`: what the network costs by asked times, by frames of the window, by image size."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tyro.conf import arg

from ..engines import Engine
from ..errors import DpmError
from .arguments import parse, write_json
from .measuring import Stopwatch, described, find_device, machine, patched_size, told, torch_engine, use_threads

TIMES, FRAMES, SIZE = "asked times", "frames", "pixels"


@dataclass(frozen=True)
class Options:
    """Time the network's answer, tokens of the frames given, while one thing grows and the others stay.

    Attributes:
        model: the network.
        random_weights: seeded weights in place of the network's own, where those are not here.
        window: frames, while times or sizes grow.
        size: HEIGHTxWIDTH, multiples of the patch, while times or frames grow.
        times: numbers of asked times.
        frames: numbers of frames; one time is asked.
        sizes: image sizes; one time is asked.
        repeats: of each measurement, all by turns.
        device: cpu, cuda, or auto for cuda where there is one.
        threads: of the CPU; 0 for as many as torch would use.
        json: write the figures here too.
    """

    model: str = "vdpm-mini"
    random_weights: bool = False
    window: int = 8
    size: str = "168x224"
    times: tuple[int, ...] = (1, 2, 4, 6, 8)
    frames: tuple[int, ...] = (2, 4, 8, 12, 16)
    sizes: tuple[str, ...] = ("84x112", "126x168", "168x224", "210x280")
    repeats: int = 3
    device: str = "auto"
    threads: int = 0
    json: Annotated[Path | None, arg(metavar="FILE")] = None


@dataclass(frozen=True)
class Growth:
    """How the cost grows with one thing.

    Attributes:
        of: what grows.
        seconds: the median, by how much of it there is; on a CPU those of all its threads together, so that other
            work on the machine does not count.
        exponent: p of the power law through the two largest, seconds ∝ amountᵖ.
        off_line: the largest distance from the straight line that fits best, over the largest cost.
    """

    of: str
    seconds: dict[int, float]
    exponent: float
    off_line: float


def main(argv: list[str]) -> int:
    """0; figures on stdout and, where asked, in a file."""
    options = parse(Options, "dpm bench scale", argv)
    if min(options.window, options.repeats, *options.times, *options.frames) < 1:
        raise DpmError("window, times, frames and repeats must be 1 or more")
    if max(options.times) > options.window:
        raise DpmError(f"{max(options.times)} times cannot be asked of {options.window} frames; give a longer --window")
    use_threads(options.threads)
    device = find_device(options.device)
    sizes = {patched_size(text, 14) for text in options.sizes}
    size = patched_size(options.size, 14)
    engine = torch_engine(options.model, device, options.random_weights)
    about = machine(device)
    growths = measure(engine, _works(engine, options, size, sorted(sizes)), options.repeats)
    console = Console()
    for growth in growths:
        console.print(_table(growth, options, about))
    if options.json is not None:
        write_json(options.json, {"machine": about, "options": told(options), "growths": [asdict(g) for g in growths]})
    return 0


Works = Mapping[str, Mapping[int, Callable[[], object]]]


def measure(engine: Engine, works: Works, repeats: int) -> list[Growth]:
    """All by turns, so that what disturbs the machine disturbs them alike."""
    seconds: dict[tuple[str, int], list[float]] = {(of, amount): [] for of in works for amount in works[of]}
    for turn in track(range(repeats + 1), description="by turns", transient=True):
        for (of, amount), measured in seconds.items():
            stopwatch = Stopwatch(engine.device)
            works[of][amount]()
            wall, processor = stopwatch.read()
            if turn:  # the first warms caches and allocators
                measured.append(wall if engine.device.type == "cuda" else processor)
    return [grown(of, {amount: statistics.median(seconds[of, amount]) for amount in works[of]}) for of in works]


def grown(of: str, seconds: dict[int, float]) -> Growth:
    """What the medians say."""
    amounts, costs = np.array(list(seconds), np.float64), np.array(list(seconds.values()))
    exponent = off_line = 0.0
    if len(amounts) > 1:
        exponent = math.log(costs[-1] / costs[-2]) / math.log(amounts[-1] / amounts[-2])
        line = np.polynomial.Polynomial.fit(amounts, costs, 1)
        off_line = float(np.abs(line(amounts) - costs).max() / costs.max())
    return Growth(of, seconds, exponent, off_line)


def _works(engine: Engine, options: Options, size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> Works:
    def work(frames: int, size: tuple[int, int], times: int) -> Callable[[], object]:
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(frames, 3, *size, generator=generator).to(engine.device)
        with torch.inference_mode():
            tokens = [engine.encode(image) for image in images]

        def run() -> object:
            with torch.inference_mode():
                return engine.predict(tokens, size, range(frames - times, frames))

        return run

    return {
        TIMES: {number: work(options.window, size, number) for number in sorted(set(options.times))},
        FRAMES: {number: work(number, size, 1) for number in sorted(set(options.frames))},
        SIZE: {height * width: work(options.window, (height, width), 1) for height, width in sizes},
    }


def _table(growth: Growth, options: Options, about: dict[str, Any]) -> Table:
    fixed = {
        TIMES: f"{options.window} frames of {options.size}",
        FRAMES: f"images of {options.size}, one time",
        SIZE: f"{options.window} frames, one time",
    }[growth.of]
    table = Table(title=f"{options.model}, {fixed}\n{described(about)}")
    table.add_column(growth.of, justify="right")
    table.add_column("ms on GPU" if about["gpu"] else "CPU ms", justify="right")
    table.add_column("over the first", justify="right")
    first = next(iter(growth.seconds.values()))
    for amount, seconds in growth.seconds.items():
        table.add_row(str(amount), f"{1e3 * seconds:.0f}", f"{seconds / first:.2f}")
    table.caption = f"at the end ∝ {growth.of}^{growth.exponent:.2f}; within {growth.off_line:.0%} of a straight line"
    return table
