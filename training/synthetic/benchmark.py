# SPDX-License-Identifier: Apache-2.0
"""How fast scenes are made here: `python -m training.synthetic.benchmark --device cuda --batch 64`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from rich.console import Console
from rich.progress import track

from dpm_core.cli.arguments import write_json

from .config import SyntheticConfig
from .generator import SyntheticScenes

CASES = (
    ("images and P[v, t] of all times", False, False),
    ("images and P[v, t] of two times", True, False),
    ("all times, with visibility", False, True),
)
"""What it is called, whether only the first and last time are asked, whether visibility is."""


@dataclass(frozen=True)
class Work:
    """What every process does: `rounds` batches of fresh scenes, after one to warm up.

    Attributes:
        config: of the windows.
        device: where they are made.
        threads: of the CPU, in each process; 0 for what torch takes.
        batch: scenes at once.
        rounds: batches.
        ends: whether only the first and last time are asked.
        visible: whether visibility is asked.
    """

    config: SyntheticConfig
    device: str
    threads: int
    batch: int
    rounds: int
    ends: bool
    visible: bool


def make(work: Work, number: int, start: Barrier, done: Queue[tuple[float, float, float]]) -> None:
    """The work of process `number`: when it began and ended, and the processor's seconds, go to `done`."""
    if work.threads:
        torch.set_num_threads(work.threads)
    scenes = SyntheticScenes(work.config, 1 + number, work.device)
    times = (0, work.config.frames - 1) if work.ends else None
    scenes.window(range(work.batch), times, work.visible)
    _wait(scenes.device)
    start.wait()
    began, processor = time.monotonic(), time.process_time()
    for index in range(1, work.rounds + 1):
        scenes.window(range(index * work.batch, (index + 1) * work.batch), times, work.visible)
    _wait(scenes.device)
    done.put((began, time.monotonic(), time.process_time() - processor))


def measure(work: Work, processes: int) -> dict[str, float]:
    """Frames a second of the clock, all processes together, and frames a second of processor time."""
    context = torch.multiprocessing.get_context("spawn")
    start, done = context.Barrier(processes), context.Queue()
    running = [context.Process(target=make, args=(work, number, start, done)) for number in range(processes)]
    for process in running:
        process.start()
    spans = [done.get() for _ in running]
    for process in running:
        process.join()
    frames = processes * work.rounds * work.batch * work.config.frames
    clock = max(end for _, end, _ in spans) - min(began for began, _, _ in spans)
    return {
        "frames_per_second": round(frames / clock, 2),
        "frames_per_processor_second": round(frames / sum(seconds for _, _, seconds in spans), 2),
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Print one line of JSON a case."""
    parser = argparse.ArgumentParser(description="Measure how fast synthetic scenes are made.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="that make scenes side by side")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU, each process; as torch has it by default")
    parser.add_argument("--batch", type=int, default=4, help="scenes at once")
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--height", type=int, default=168)
    parser.add_argument("--width", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    config = SyntheticConfig(asked.height, asked.width, asked.frames)
    results: list[dict[str, Any]] = []
    for name, ends, visible in track(CASES, "making scenes", console=Console(stderr=True)):
        work = Work(config, asked.device, asked.threads, asked.batch, asked.rounds, ends, visible)
        case = {"case": name, "device": asked.device, "processes": asked.processes, "threads": asked.threads}
        case |= {"batch": asked.batch, "frames": asked.frames, "size": [asked.height, asked.width]}
        if asked.device.startswith("cuda"):
            case["device_name"] = torch.cuda.get_device_name(asked.device)
        results.append(case | measure(work, asked.processes))
        print(json.dumps(results[-1]), flush=True)
    if asked.json:
        write_json(asked.json, results)


if __name__ == "__main__":
    main()
