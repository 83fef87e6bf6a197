# SPDX-License-Identifier: Apache-2.0
"""`dpm run`: a recording through the same session as the robot's, with no frame lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tyro.conf import OmitArgPrefixes, Positional, arg

from ..io.results import Outputs, Results
from ..io.sensors import Sensors
from ..io.source import Source, open_source
from ..stream import SessionConfig
from .arguments import parse, write_json

if TYPE_CHECKING:
    from ..engines import Engine
    from ..stream import Session, Wanted


@dataclass(frozen=True)
class Run:
    """Turn a recording into camera path, depth, masks, clouds, a map and tracks.

    Attributes:
        input: a video file, a folder of images, or a rosbag2 (folder, .mcap or .db3).
        out: the new folder for the results.
        model: the network; `dpm weights list` tells the names.
        weights: a file of weights in place of the published ones.
        device: auto, cpu, cuda, cuda:1, …
        backend: auto, or what runs the network.
        topic: the image topic of a bag that has several.
        every: keep one frame of so many.
        limit: take no more frames than so many.
        fps: images a second of a folder whose file names tell no stamps.
        overwrite: replace the results of an earlier run.
        json: write the figures of the summary here too.
        sensors: what a bag holds beside images.
        outputs: what to write.
        session: how frames become estimates.
    """

    input: Positional[Path]
    out: Path
    model: str = "vdpm-mini"
    weights: Path | None = None
    device: str = "auto"
    backend: str = "auto"
    topic: str | None = None
    every: int = 1
    limit: int | None = None
    fps: float = 30.0
    overwrite: bool = False
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    sensors: OmitArgPrefixes[Sensors] = field(default_factory=Sensors)
    outputs: OmitArgPrefixes[Outputs] = field(default_factory=Outputs)
    session: Annotated[SessionConfig, arg(name="")] = field(default_factory=SessionConfig)


def main(argv: list[str]) -> int:
    """0, or DpmError."""
    options = parse(Run, "dpm run", argv)
    from ..engines import open_engine  # torch: after the help
    from ..stream import Session

    console = Console(stderr=True, highlight=False)
    chosen = (options.topic, options.every, options.limit, options.fps, options.sensors)
    with open_source(options.input, *chosen) as source:
        about = {"source": str(options.input.resolve()), "frames_of": source.name}
        with Results(options.out, about, options.outputs, options.overwrite) as results:
            engine = open_engine(options.model, options.weights, options.device, options.backend)
            results.tell(model=engine.name, notice=engine.notice)
            if engine.notice is not None:
                console.print(f"[yellow]note:[/] {engine.notice}", soft_wrap=True)
            _process(source, Session(engine, options.session), options.outputs.wanted(), results, console)
    if options.json is not None:
        write_json(options.json, results.summary())
    _report(results, source, engine, Console(highlight=False))
    return 0


def _process(source: Source, session: Session, wanted: Wanted, results: Results, console: Console) -> None:
    from ..stream import Outcome, PredictionError, Reader, RepeatedStampError

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    breaks: Counter[str] = Counter()

    def deliver(outcome: Outcome) -> None:
        if outcome.broken is not None:
            breaks[outcome.broken.value] += 1
        try:
            results.add(outcome.result())
        except RepeatedStampError:
            results.drop("repeated stamp")
        except PredictionError:
            results.drop("camera not finite")

    results.start()
    with Progress(*columns, console=console) as progress, Reader(session, wanted) as reader:
        for frame in progress.track(source, total=source.length, description=source.name):
            reader.add(frame, deliver)
    results.tell(breaks=dict(breaks), promised=source.length)


def _report(results: Results, source: Source, engine: Engine, console: Console) -> None:
    figures = results.summary()
    for line in [*_outcome(figures, source), *_files(results.path), *_warnings(figures, engine)]:
        console.print(line, soft_wrap=True, markup=False)


def _outcome(figures: dict[str, Any], source: Source) -> list[str]:
    lines = [
        f"{figures['estimates']} frames of {source.name} through {figures['model']}, {figures['rate_hz']:.2f} a second"
    ]
    total = figures["latency_s"].get("total")
    if total:
        lines.append(f"latency of a frame: median {total['p50']:.3f} s, 95 % under {total['p95']:.3f} s")
    return [*lines, f"lengths are in {_unit(figures['scale'])}"]


def _unit(scale: dict[str, Any] | None) -> str:
    if scale is None:
        return "the network's own unit (the scale is not known), the same throughout a map"
    if scale["source"] == "fixed":
        return "metres, by the given factor"
    return f"metres, by {scale['source']}, ± {100 * scale['relative_sigma']:.1f} %"


WHAT = {
    "trajectory.txt": "camera path, TUM format",
    "intrinsics.json": "camera matrix of each frame",
    "depth": "float32 TIFF a frame",
    "mask": "PNG a frame, 255 where something moves",
    "cloud": "PLY a frame, the window fused at its instant",
    "map.ply": "all that does not move, as known in the end",
    "tracks.csv": "where the points that move were at each frame",
    "recording.rrd": "open with: rerun",
    "pictures": "PNG a frame: input, depth, moving, side view",
    "summary.json": "figures",
}


def _files(out: Path) -> list[str]:
    return [f"  {out / name}  ({what})" for name, what in WHAT.items() if (out / name).exists()]


def _warnings(figures: dict[str, Any], engine: Engine) -> list[str]:
    told = [f"{count} frames gave no estimate: {reason}" for reason, count in figures["dropped"].items()]
    told += [f"the window began anew {count} times: {reason}" for reason, count in figures["breaks"].items()]
    if "a gap in time" in figures["breaks"]:
        told.append("frames further apart than --max-gap-s are not seen together; give more of it for slow recordings")
    if (figures["promised"] or 0) > figures["frames"]:
        told.append(
            f"the recording promises {figures['promised']} frames and has {figures['frames']}; it may be damaged"
        )
    return [f"note: {each}" for each in (*told, *figures["notices"], engine.notice) if each]
