# SPDX-License-Identifier: Apache-2.0
"""How fast scenes are made here: `python -m training.synthetic.benchmark --device cuda --batch 64`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from statistics import median

import torch

from .config import SyntheticConfig
from .generator import SyntheticScenes


def frames_per_second(
    scenes: SyntheticScenes, batch: int, rounds: int, times: Sequence[int] | None, visible: bool
) -> float:
    """The median over `rounds` batches of fresh scenes, after one to warm up."""
    rates = []
    for number in range(rounds + 1):
        first = number * batch
        _wait(scenes.device)
        began = time.perf_counter()
        scenes.window(range(first, first + batch), times, visible)
        _wait(scenes.device)
        rates.append(batch * scenes.config.frames / (time.perf_counter() - began))
    return median(rates[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Print one line of JSON a case."""
    parser = argparse.ArgumentParser(description="Measure how fast synthetic scenes are made.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of the CPU; as torch has it by default")
    parser.add_argument("--batch", type=int, default=4, help="scenes at once")
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--height", type=int, default=168)
    parser.add_argument("--width", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    scenes = SyntheticScenes(SyntheticConfig(asked.height, asked.width, asked.frames), 1, asked.device)
    last = asked.frames - 1
    for name, times, visible in (
        ("images and P[v, t] of all times", None, False),
        ("images and P[v, t] of two times", (0, last), False),
        ("all times, with visibility", None, True),
    ):
        rate = frames_per_second(scenes, asked.batch, asked.rounds, times, visible)
        case = {"case": name, "device": str(scenes.device), "threads": torch.get_num_threads(), "batch": asked.batch}
        case |= {"frames": asked.frames, "size": [asked.height, asked.width], "frames_per_second": round(rate, 2)}
        if scenes.device.type == "cuda":
            case["device_name"] = torch.cuda.get_device_name(scenes.device)
            case["peak_GiB"] = round(torch.cuda.max_memory_allocated(scenes.device) / 2**30, 2)
        print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
