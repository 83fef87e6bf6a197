# SPDX-License-Identifier: Apache-2.0
"""`dpm export`: a network to ONNX graphs with fixed shapes, checked on real frames before it is called done."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from tyro.conf import Positional, arg

from ..errors import DpmError
from ..io.source import open_source
from ..types import UInt8
from .arguments import parse, write_json

if TYPE_CHECKING:
    from ..engines.manifest import Manifest

BUNDLED = Path(str(files("dpm_core"))) / "frames"
MOST_STEPS = 5
FPS = 30.0
MOST_FRAMES = 64


@dataclass(frozen=True)
class ExportOptions:
    """Write a network as ONNX graphs that ONNX Runtime and TensorRT run.

    Attributes:
        model: the network; `dpm weights list` tells the names.
        out: the new folder.
        window: frames that the graphs see at once; by default the session's own number, or that of the weights.
        size: of the images, HEIGHTxWIDTH in pixels; by default what the network makes of a 640x480 camera.
        precision: fp32, bf16 or fp16, of the trunk's matrices; norms, softmax and heads stay fp32.
        weights: a file of weights in place of the published ones.
        frames: a video, a folder of images or a bag to check the export on; by default a few bundled frames.
        overwrite: replace an export that is there.
        tensorrt: build TensorRT plans too, as `dpm tensorrt` does afterwards.
        compute_capability: of the GPUs that the plans are for, such as 8.6 8.9; by default the GPU that is here.
        json: write the manifest's figures here too.
    """

    model: Positional[str]
    out: Path
    window: int | None = None
    size: Annotated[str | None, arg(metavar="HxW")] = None
    precision: str = "fp32"
    weights: Path | None = None
    frames: Path | None = None
    overwrite: bool = False
    tensorrt: bool = False
    compute_capability: tuple[str, ...] = ()
    json: Annotated[Path | None, arg(metavar="FILE")] = None


def main(argv: list[str]) -> int:
    """0, or DpmError."""
    options = parse(ExportOptions, "dpm export", argv)
    if options.compute_capability and not options.tensorrt:
        raise DpmError("--compute-capability is of TensorRT plans; give --tensorrt too")
    from ..checkpoints import load_network  # torch: after the help
    from ..engines.export import Export, export_network

    export = Export(
        size=None if options.size is None else parse_size(options.size),
        window=options.window,
        precision=options.precision,  # type: ignore[arg-type]  # checked by Export
        overwrite=options.overwrite,
    )
    console = Console(stderr=True, highlight=False)
    frames = read_frames(options.frames or BUNDLED)
    frames_of = "bundled frames" if options.frames is None else options.frames.name
    loaded = load_network(options.model, options.weights)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("export", total=MOST_STEPS)
        begun: list[str] = []

        def on_step(step: str) -> None:
            progress.update(task, completed=len(begun), description=step)
            begun.append(step)

        manifest = export_network(loaded, export, frames, frames_of, options.out, on_step)
    if options.json is not None:
        write_json(options.json, asdict(manifest))
    _report(manifest, options.out, Console(highlight=False))
    if options.tensorrt:
        from .tensorrt import build_and_check, report

        report(build_and_check(options.out, options.compute_capability, None, frames), Console(highlight=False))
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """ "168x224" -> (168, 224): (H, W).

    Raises:
        DpmError: it is no size.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise DpmError(f"size '{text}' is none; give HEIGHTxWIDTH in pixels, such as 168x224")
    return int(match[1]), int(match[2])


def read_frames(path: Path) -> list[UInt8]:
    """The first images of a recording, [H, W, 3] uint8 RGB each.

    Raises:
        DpmError: it cannot be read, or has none.
    """
    with open_source(path, None, 1, MOST_FRAMES, FPS) as source:
        frames = [frame.image for frame in islice(source, MOST_FRAMES)]
    if not frames:
        raise DpmError(f"{path} holds no images; give a video, a folder of images or a bag to check the export on")
    return frames


def _report(manifest: Manifest, out: Path, console: Console) -> None:
    table = Table("output", "99 % of values within", "root mean square", "cosine", title="against the eager network")
    for name, deviation in manifest.parity.items():
        table.add_row(name, f"{deviation.p99:.2g}", f"{deviation.scale:.2g}", f"{deviation.cosine:.7f}")
    console.print(table)
    size = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    window = "pairs" if manifest.window is None else f"windows of {manifest.window}"
    console.print(
        f"{out}: {manifest.model}, {window}, images of {manifest.width} x {manifest.height} pixels, "
        f"{manifest.precision}, {size:.1f} MB; run it: dpm run INPUT --out DIR --model {out}{_window_option(manifest)}",
        soft_wrap=True,
        markup=False,
    )
    if manifest.notice is not None:
        console.print(f"note: {manifest.notice}", soft_wrap=True, markup=False)


def _window_option(manifest: Manifest) -> str:
    return "" if manifest.window is None else f" --window {manifest.window}"
