# SPDX-License-Identifier: Apache-2.0
"""What the named networks need at their native size: the most memory a fresh process ever holds, and the time.

    python tests/benchmarks/bench_memory.py NAME ... [--frames 1 2] [--device cpu|cuda] [--json FILE]

One window of random images is encoded and asked for the newest and the oldest time, in float32, with all weights equal:
what a network needs does not depend on what it has learned. Memory: weights included, interpreter and
libraries not (CPU: resident set; CUDA: allocated tensors).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from dpm_core.checkpoints import find_spec

WEIGHT = 1e-3

CAMERA = (480, 640)
"""(height, width) of the camera image that is fitted: 4:3, what most robots' cameras give."""


def measure(name: str, frames: int, device: str) -> dict[str, object]:
    """One window in this process."""
    empty = _resident()
    spec = find_spec(name)
    size = spec.fit(*CAMERA).size
    network = spec.build().to(device).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(WEIGHT)
    images = torch.rand(frames, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode():
        start = time.perf_counter()
        tokens = torch.cat([network.encode(image[None]) for image in images])
        encoded = time.perf_counter()
        network.predict(tokens, size, tuple(dict.fromkeys((frames - 1, 0))))
        _wait(device)
        done = time.perf_counter()
    peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else _resident() - empty
    return {
        "model": name,
        "frames": frames,
        "size": [size[1], size[0]],
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "peak_bytes": peak,
        "encode_seconds_a_frame": (encoded - start) / frames,
        "predict_seconds": done - encoded,
        "threads": torch.get_num_threads(),
        "device": device,
    }


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        print(json.dumps(measure(asked.names[0], asked.frames[0], asked.device)))
        return
    results = []
    for name in asked.names:
        for frames in asked.frames:
            command = [sys.executable, __file__, name, "--frames", str(frames), "--device", asked.device, "--here"]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results.append(json.loads(answer.splitlines()[-1]))
            row = results[-1]
            print(
                f"{name:20} S={frames:<3} {row['size'][0]}x{row['size'][1]} {row['parameters'] / 1e6:8.1f} M "
                f"{row['peak_bytes'] / 2**30:6.2f} GiB  {row['encode_seconds_a_frame']:6.2f} s a frame "
                f"+ {row['predict_seconds']:6.2f} s",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
