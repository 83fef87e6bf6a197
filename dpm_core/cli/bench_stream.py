# SPDX-License-Identifier: Apache-2.0
"""`dpm bench stream`: what a new frame costs, live and plain, and that both say the same."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from tyro.conf import arg

from ..engines import Engine, open_engine
from ..engines.manifest import read_manifest
from ..engines.protocol import answer
from ..errors import DpmError
from ..geometry.fit import Fit
from ..stream import Session, SessionConfig, Wanted
from ..types import Frame, Prediction, Request
from .arguments import parse, write_json
from .measuring import (
    AtSize,
    Memory,
    Stopwatch,
    described,
    find_device,
    machine,
    mebibytes,
    median_stages,
    patched_size,
    some_frames,
    told,
    torch_engine,
    use_threads,
)

TOLERANCE = 1e-4
PLAIN, EXPORTED = "plain", "exported"
LISTENERS = {
    "depth": Wanted(cloud=False, motion="none"),
    "+ cloud": Wanted(motion="none"),
    "+ motion": Wanted(motion="newest"),
    "+ cloud's motion": Wanted(),
}
"""Live, by what somebody listens to: camera and depth; the cloud too; the newest frame's motion, map and tracks too;
everything."""


@dataclass(frozen=True)
class Options:
    """Time a new frame live and plain: everything of every window anew, as the published code does it.

    Attributes:
        model: the network.
        random_weights: seeded weights in place of the network's own, where those are not here.
        weights: a file of weights, and of its network's sizes where it tells them.
        window: frames that the network sees at once.
        size: HEIGHTxWIDTH that the network sees, multiples of its patch.
        exported: a folder that `dpm export` made of it for this window and size: the best engine for it, beside.
        backend: another engine of the model beside: torch-bf16 or torch-cuda, whose narrow numbers are compared and
            not judged.
        recording: frames of it in place of a pattern that moves.
        repeats: frames that are timed.
        device: cpu, cuda, or auto for cuda where there is one.
        threads: of the CPU; 0 for as many as torch would use.
        json: write the figures here too.
    """

    model: str = "vdpm-mini"
    random_weights: bool = False
    weights: Path | None = None
    window: int = 8
    size: str = "168x224"
    exported: Path | None = None
    backend: Literal["", "torch-bf16", "torch-cuda"] = ""
    recording: Path | None = None
    repeats: int = 5
    device: str = "auto"
    threads: int = 0
    json: Annotated[Path | None, arg(metavar="FILE")] = None


@dataclass(frozen=True)
class Figure:
    """What was measured of one way.

    Attributes:
        name: plain, or who listens.
        seconds: median of each stage, and "total" of a frame.
        estimates_per_second: one over the total.
        ratio: the plain way's total over this one's, the median over frames that both had.
        processor_seconds: of a frame, all threads together, the median: what it costs where other work runs too.
        processor_ratio: the plain way's over this one's, as above.
        peak_bytes: the most the process held meanwhile.
        exact: whether it computes in float32, and so must say what the plain way says.
        difference: the largest from the plain way, in all that was asked of the network: points over the scene's
            median depth, confidences over themselves, camera positions as points, rotations and intrinsics over
            themselves.
    """

    name: str
    seconds: dict[str, float]
    estimates_per_second: float
    ratio: float
    processor_seconds: float
    processor_ratio: float
    peak_bytes: int | None
    exact: bool
    difference: float


def main(argv: list[str]) -> int:
    """0; 1 where live and plain differ in float32; figures on stdout and, where asked, in a file."""
    options = parse(Options, "dpm bench stream", argv)
    if min(options.window, options.repeats) < 1:
        raise DpmError("window and repeats must be 1 or more")
    use_threads(options.threads)
    device = find_device(options.device)
    size = patched_size(options.size, 14)
    given = some_frames(options.recording, size, options.window + options.repeats - 1)
    engine = torch_engine(options.model, device, options.random_weights, options.weights)
    about = machine(device)
    ways = live_ways(AtSize(engine, size), options.window)
    for name, other, exact in others(options, device):
        beside = live_ways(AtSize(other, size), options.window, exact)
        ways |= {f"{listeners}, {name}": way for listeners, way in beside.items()}
    figures = measure(ways | {PLAIN: _Way(Plain(AtSize(engine, size)), options.window, Wanted())}, given)
    console = Console()
    console.print(_table(figures, options, about))
    worst = max(figure.difference for figure in figures if figure.exact)
    console.print(f"largest difference between live and plain in float32: {worst:.1e} (allowed {TOLERANCE:.0e})")
    if options.json is not None:
        write_json(options.json, {"machine": about, "options": told(options), "paths": [asdict(f) for f in figures]})
    return 0 if worst <= TOLERANCE else 1


def others(options: Options, device: torch.device) -> Iterator[tuple[str, Engine, bool]]:
    """The engines beside eager torch: name, engine, whether it computes in float32.

    Raises:
        DpmError: one does not run here, or cannot have the weights.
    """
    if options.exported is not None:
        exact = read_manifest(options.exported).precision == "fp32"
        yield EXPORTED, open_engine(str(options.exported), device=str(device)), exact
    if options.backend:
        if options.random_weights:
            raise DpmError(f"--backend {options.backend} opens weights of its own; leave --random-weights out")
        yield options.backend, open_engine(options.model, options.weights, str(device), options.backend), False


def live_ways(engine: Engine, window: int, exact: bool = True) -> dict[str, _Way]:
    """The live path by who listens. exact: see `Figure`."""
    return {name: _Way(engine, window, wanted, exact) for name, wanted in LISTENERS.items()}


def measure(ways: dict[str, _Way], frames: Sequence[Frame]) -> list[Figure]:
    """All ways by turns, so that what disturbs the machine disturbs them alike. ways: the plain one among them.

    All but one of the frames of a window fill it: they are encoded, and nothing is asked of the network.
    """
    filling = ways[PLAIN].window - 1
    differences = dict.fromkeys(ways, 0.0)
    for frame in frames[:filling]:
        for way in ways.values():
            way.fill(frame)
    for frame in track(frames[filling:], description="live and plain", transient=True):
        for way in ways.values():
            way.take(frame)
        for name, way in ways.items():
            differences[name] = max(differences[name], difference(way.heard, ways[PLAIN].heard))
    totals = {name: [sum(seconds.values()) for seconds in way.seconds] for name, way in ways.items()}
    return [
        Figure(
            name=name,
            seconds=(stages := median_stages(way.seconds)),
            estimates_per_second=1 / stages["total"],
            ratio=_median_ratio(totals[PLAIN], totals[name]),
            processor_seconds=statistics.median(way.processor_seconds),
            processor_ratio=_median_ratio(ways[PLAIN].processor_seconds, way.processor_seconds),
            peak_bytes=way.peak,
            exact=way.exact,
            difference=differences[name],
        )
        for name, way in ways.items()
    ]


class Plain:
    """The published inference behind our engine: for each window every frame is encoded and every time is decoded.

    Its tokens are the images themselves, so nothing of an earlier window is used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.notice, self.device = f"{engine.name}, plain", engine.notice, engine.device

    def fit(self, height: int, width: int) -> Fit:
        """As the engine does."""
        return self._engine.fit(height, width)

    def encode(self, image: Tensor) -> Tensor:
        """[3, H, W] -> the same."""
        return image

    def predict(self, tokens: Sequence[Tensor], size: tuple[int, int], times: Sequence[int]) -> Prediction:
        """Everything; then the asked times of it."""
        encoded = [self._engine.encode(image) for image in tokens]
        everything = self._engine.predict(encoded, size, range(len(encoded)))
        rows = list(times)
        return Prediction(
            own_points=everything.own_points,
            own_conf=everything.own_conf,
            points=everything.points[rows],
            conf=everything.conf[rows],
            times=tuple(times),
            world_from_camera=everything.world_from_camera,
            intrinsics=everything.intrinsics,
            dynamic_logit=everything.dynamic_logit,
        )


class _Way:
    """One session, and what it took and heard."""

    def __init__(self, engine: Engine, window: int, wanted: Wanted, exact: bool = True) -> None:
        self.window, self.exact = window, exact
        self._engine = Kept(engine)
        self._session = Session(self._engine, SessionConfig(window=window))
        self._wanted = wanted
        self._memory = Memory(engine.device)
        self.peak: int | None = None
        self.seconds: list[dict[str, float]] = []
        self.processor_seconds: list[float] = []

    @property
    def heard(self) -> Prediction:
        """The network's last answer."""
        return self._engine.last

    def fill(self, frame: Frame) -> None:
        """One frame into the window."""
        self._engine.asked = False
        self._session.process(frame, self._wanted)
        self._engine.asked = True

    def take(self, frame: Frame) -> None:
        """One frame on."""
        self._memory.begin()
        stopwatch = Stopwatch(self._engine.device)
        self.seconds.append(self._session.process(frame, self._wanted).seconds)
        self.processor_seconds.append(stopwatch.read()[1])
        peak = self._memory.peak()
        self.peak = peak if self.peak is None or peak is None else max(self.peak, peak)


class Kept:
    """An engine whose last answer is kept, and that answers for nothing while it is not `asked`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.notice, self.device = engine.name, engine.notice, engine.device
        self.fit, self.encode = engine.fit, engine.encode
        self.last: Prediction
        self.asked = True

    def predict(self, tokens: Sequence[Tensor], size: tuple[int, int], times: Sequence[int]) -> Prediction:
        """As the engine does, waited for."""
        return self.answer(tokens, size, Request.whole(len(tokens), times))

    def answer(self, tokens: Sequence[Tensor], size: tuple[int, int], request: Request) -> Prediction:
        """As the engine does, waited for."""
        if not self.asked:
            return _wall(len(tokens), size, request.times, self.device)
        self.last = answer(self._engine, tokens, size, request)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.last


def _wall(frames: int, size: tuple[int, int], times: tuple[int, ...], device: torch.device) -> Prediction:
    """A camera that stands before a wall."""
    v, u = torch.meshgrid(*(torch.linspace(-1, 1, side, device=device) for side in size), indexing="ij")
    points = torch.stack([u, v, torch.ones_like(u)], dim=-1).expand(frames, *size, 3)
    conf = torch.full((frames, *size), 2.0, device=device)
    intrinsics = torch.tensor([[size[1] / 2, 0, size[1] / 2], [0, size[0] / 2, size[0] / 2], [0, 0, 1]], device=device)
    return Prediction(
        own_points=points,
        own_conf=conf,
        points=points.expand(len(times), -1, -1, -1, -1).contiguous(),
        conf=conf.expand(len(times), -1, -1, -1),
        times=times,
        world_from_camera=torch.eye(4, device=device).expand(frames, 4, 4),
        intrinsics=intrinsics.expand(frames, 3, 3),
    )


def difference(some: Prediction, everything: Prediction) -> float:
    """The largest, see Figure.difference. some: NaN where it was not asked; what it asked is in `everything`."""
    depth = float((everything.own_points - everything.world_from_camera[:, None, None, :3, 3]).norm(dim=-1).nanmedian())
    rows = [everything.times.index(time) for time in some.times]
    cameras, expected = some.world_from_camera, everything.world_from_camera
    return max(
        _largest(some.own_points - everything.own_points) / depth,
        _largest(some.own_conf / everything.own_conf - 1),
        _largest(some.points - everything.points[rows]) / depth,
        _largest(some.conf / everything.conf[rows] - 1),
        _largest(cameras[:, :3, 3] - expected[:, :3, 3]) / depth,
        _largest(cameras[:, :3, :3] - expected[:, :3, :3]),
        _largest((some.intrinsics - everything.intrinsics) / everything.intrinsics[:, :1, :1]),
    )


def _largest(differences: Tensor) -> float:
    return float(differences.abs().nan_to_num(0.0).max()) if differences.numel() else 0.0


def _median_ratio(plain: Sequence[float], live: Sequence[float]) -> float:
    return statistics.median(p / q for p, q in zip(plain, live, strict=True))


def _table(figures: list[Figure], options: Options, about: dict[str, Any]) -> Table:
    title = f"{options.model}, {options.window} frames of {options.size}, milliseconds a frame; ratio: plain / this"
    table = Table(title=f"{title}\n{described(about)}")
    table.add_column("listened to")
    for name in ("encode", "predict", "rest", "total", "ratio", "CPU", "ratio", "MiB"):
        table.add_column(name, justify="right")
    for figure in figures:
        total, stages = figure.seconds["total"], [figure.seconds.get(stage, 0.0) for stage in ("encode", "predict")]
        table.add_row(
            figure.name,
            *(f"{1e3 * seconds:.0f}" for seconds in (*stages, total - sum(stages), total)),
            f"{figure.ratio:.2f}",
            f"{1e3 * figure.processor_seconds:.0f}",
            f"{figure.processor_ratio:.2f}",
            mebibytes(figure.peak_bytes),
        )
    return table
