# SPDX-License-Identifier: Apache-2.0
"""What asking for few times saves: V-DPM on a window, some target times against all, in one run.

    python tests/benchmarks/bench_times.py [--model mini|middle|full] [--device cpu|cuda] [--json FILE]

Time: the median of alternating repetitions of `predict`, tokens of the encoder given (a stream caches them).
Memory: the most that a fresh process ever held, weights included, interpreter and libraries not (CPU: resident set;
CUDA: allocated tensors).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from dpm_core.models import (
    VDPM,
    VDPM_MINI,
    AggregatorConfig,
    CameraHeadConfig,
    DptConfig,
    EncoderConfig,
    VDPMConfig,
    VDPMNetwork,
    initialise,
)

MIDDLE = VDPMConfig(
    aggregator=AggregatorConfig(
        encoder=EncoderConfig(image_size=224, dim=192, depth=6, heads=6), dim=192, depth=12, heads=6, taps=(2, 5, 8, 11)
    ),
    camera=CameraHeadConfig(heads=6),
    dpt=DptConfig(features=64, channels=(64, 96, 128, 128)),
)
"""The published proportions (decoder depth 4, MLP x 4), narrow enough for a CPU."""

MODELS = {"mini": (VDPM_MINI, (168, 224)), "middle": (MIDDLE, (168, 224)), "full": (VDPM, (392, 518))}


class Case:
    """A network and a window, ready to be asked for times."""

    def __init__(self, model: str, frames: int, device: str) -> None:
        config, self.size = MODELS[model]
        self.network = VDPMNetwork(config).to(device).eval()
        initialise(self.network)
        images = torch.rand(frames, 3, *self.size, generator=torch.Generator().manual_seed(0)).to(device)
        with torch.inference_mode():
            self.tokens = self.network.encode(images)

    def run(self, times: range) -> float:
        """Seconds that these times take."""
        start = time.perf_counter()
        with torch.inference_mode():
            self.network.predict(self.tokens, self.size, times)
        if self.tokens.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start


def peak_bytes(device: str) -> int:
    """The most this process ever held."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_memory(options: argparse.Namespace, times: int) -> int:
    """Peak of a fresh process that asks for the newest `times`."""
    command = [sys.executable, __file__, "--model", options.model, "--device", options.device]
    command += ["--frames", str(options.frames), "--only-memory-of", str(times)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(options: argparse.Namespace) -> None:
    """What `measure_memory` reads."""
    libraries = peak_bytes(options.device)
    case = Case(options.model, options.frames, options.device)
    if options.only_memory_of:
        case.run(newest(options.frames, options.only_memory_of))
    print(peak_bytes(options.device) - libraries)


def newest(frames: int, times: int) -> range:
    """The last `times` positions of the window."""
    return range(frames - times, frames)


def main() -> None:
    """Print the figures; with --json, write them too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="middle")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only-memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_memory_of is not None:
        print_peak(options)
        return
    some, every = newest(options.frames, options.times), range(options.frames)
    # Before this process grows: a child's peak counts from its parent's.
    bytes_ = [measure_memory(options, len(times)) for times in (range(0), some, every)]
    case = Case(options.model, options.frames, options.device)
    case.run(some)
    pairs = [(case.run(some), case.run(every)) for _ in range(options.repetitions)]
    seconds = [statistics.median(column) for column in zip(*pairs, strict=True)]
    figures = {
        "model": options.model,
        "parameters": sum(parameter.numel() for parameter in case.network.parameters()),
        "size": f"{case.size[1]}x{case.size[0]}",
        "device": options.device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "frames": options.frames,
        "times": options.times,
        "seconds": {"some": seconds[0], "all": seconds[1], "ratio": seconds[0] / seconds[1]},
        "peak_bytes": {"idle": bytes_[0], "some": bytes_[1], "all": bytes_[2], "ratio": bytes_[1] / bytes_[2]},
    }
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
