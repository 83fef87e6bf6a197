# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: the machine, frames, networks without published weights, memory, medians."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoints import LoadedNetwork, find_spec, load_network
from ..checkpoints.loading import shell
from ..engines import Engine, TorchEngine
from ..engines.protocol import answer
from ..errors import DpmError
from ..geometry.fit import Fit
from ..io.source import open_source
from ..models import initialise
from ..types import Frame, Prediction, Request

_PERIOD_NS = 100_000_000


class AtSize:
    """An engine whose network sees images of one size, whatever its own rule says. A `SelectiveEngine`."""

    def __init__(self, engine: Engine, size: tuple[int, int]) -> None:
        """size: (height, width), multiples of the network's patch."""
        self._engine = engine
        self._size = size
        self.name = f"{engine.name} at {size[1]}x{size[0]}"
        self.notice = engine.notice
        self.device = engine.device

    def fit(self, height: int, width: int) -> Fit:
        """The whole image to that size."""
        return Fit((height, width), self._size, (0, 0), self._size)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """As the engine does."""
        return self._engine.encode(image)

    def predict(self, tokens: Sequence[torch.Tensor], size: tuple[int, int], times: Sequence[int]) -> Prediction:
        """As the engine does."""
        return self._engine.predict(tokens, size, times)

    def answer(self, tokens: Sequence[torch.Tensor], size: tuple[int, int], request: Request) -> Prediction:
        """As the engine does."""
        return answer(self._engine, tokens, size, request)


def torch_engine(
    model: str, device: torch.device, random_weights: bool = False, weights: Path | None = None
) -> TorchEngine:
    """Eager torch.

    Args:
        model: of the registry.
        device: where it runs.
        random_weights: seeded ones, for networks whose weights are not here; what is counted is time.
        weights: a file in place of the registry's.
    """
    if not random_weights:
        return TorchEngine(load_network(model, weights), device)
    spec = find_spec(model)
    network = shell(spec).to_empty(device="cpu")
    initialise(network, seed=0)
    return TorchEngine(LoadedNetwork(network, spec, trained=False, notice="random weights"), device)


def frames(recording: Path | None, size: tuple[int, int]) -> Iterator[Frame]:
    """Frames of a recording, or without end of a pattern that moves, (height, width)."""
    if recording is not None:
        with open_source(recording) as source:
            yield from source
        return
    v, u = np.mgrid[: size[0], : size[1]]
    for index in count():
        waves = [np.sin((u + 3 * index) / 17 + c) * np.cos((v - 2 * index) / 23 - c) for c in range(3)]
        image = np.stack([127 * (1 + wave) for wave in waves], axis=-1).astype(np.uint8)
        yield Frame(index * _PERIOD_NS, image)


def some_frames(recording: Path | None, size: tuple[int, int], number: int) -> list[Frame]:
    """So many frames.

    Raises:
        DpmError: the recording is shorter.
    """
    taken = list(islice(frames(recording, size), number))
    if len(taken) < number:
        raise DpmError(f"{recording} has {len(taken)} frames; this measurement needs {number}, ask for fewer")
    return taken


def machine(device: torch.device) -> dict[str, Any]:
    """Where and when a measurement was made."""
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "gpu": device.type == "cuda",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": _load(),
    }


def told(options: Any) -> dict[str, Any]:
    """A benchmark's options for its file of figures: of paths their names, and not where the file itself is."""
    values = {key: value for key, value in asdict(options).items() if key != "json"}
    return {key: value.name if isinstance(value, Path) else value for key, value in values.items()}


def described(about: Mapping[str, Any]) -> str:
    """A machine in a line."""
    busy = "" if about["load"] is None else f", load {about['load']:.1f}"
    return f"{about['device']}, {about['threads']} threads, torch {about['torch']}{busy}, {about['when'][:10]}"


def processor() -> str:
    """The CPU's own name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def find_device(name: str) -> torch.device:
    """cpu, cuda, or auto for cuda where there is one.

    Raises:
        DpmError: it is none of these, or not here.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise DpmError(f"device must be auto, cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise DpmError("device cuda was asked for, but torch sees no GPU here; see `dpm doctor`, or use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def use_threads(threads: int) -> None:
    """Of the CPU; 0 for as many as torch would use."""
    if threads:
        torch.set_num_threads(threads)


def size_of(text: str) -> tuple[int, int]:
    """(height, width) of a text such as 168x224.

    Raises:
        DpmError: it is not two numbers.
    """
    height, cross, width = text.partition("x")
    if not (cross and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise DpmError(f"size '{text}' is not HEIGHTxWIDTH in pixels, such as 168x224")
    return int(height), int(width)


def patched_size(text: str, patch: int) -> tuple[int, int]:
    """(height, width), multiples of the patch.

    Raises:
        DpmError: it is not.
    """
    from ..models.checks import patch_grid

    height, width = size_of(text)
    patch_grid(height, width, patch)
    return height, width


class Stopwatch:
    """Seconds since it was made: of the clock, and of this process's threads on all processors together.

    The latter say what work costs on a machine that has other work too; a GPU's work is not in them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """(clock, processors), after the work that a GPU was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - self._wall, time.process_time() - self._processor


class Memory:
    """The most memory that was held since the last `begin`: resident set on a CPU, allocated tensors on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> None:
        """Forget what was."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _CLEAR.exists():
            _CLEAR.write_text("5")  # proc(5): resets the peak resident set size

    def peak(self) -> int | None:
        """Bytes; None where the system does not tell."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return _status("VmHWM")


def resident() -> int | None:
    """Bytes that the process holds now; None where the system does not tell."""
    return _status("VmRSS")


def median_stages(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each stage's seconds over frames, and of their sum."""
    with_total = [{**seconds, "total": sum(seconds.values())} for seconds in measured]
    return {stage: statistics.median(seconds[stage] for seconds in with_total) for stage in with_total[0]}


def mebibytes(amount: int | None) -> str:
    """For tables."""
    return "–" if amount is None else f"{amount / 2**20:.0f}"


_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def _status(name: str) -> int | None:
    if not _STATUS.exists():
        return None
    values = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(values[name].split()[0]) * 1024 if name in values else None


def _load() -> float | None:
    loadavg = Path("/proc/loadavg")
    return float(loadavg.read_text().split()[0]) if loadavg.exists() else None
