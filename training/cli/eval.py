# SPDX-License-Identifier: Apache-2.0
"""`dpm-eval synthetic MODEL` and `dpm-eval rgbd MODEL FOLDER|BAG`: a model's figures beside the baselines'."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dpm_core.cli.arguments import write_json
from dpm_core.errors import DpmError


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 2 for bad input, said in one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        figures = arguments.run(arguments)
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 120
        show(figures, console)
        if arguments.json is not None:
            write_json(arguments.json, figures)
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dpm: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


def _synthetic(arguments: argparse.Namespace) -> dict[str, Any]:
    from dpm_core.engines import open_engine

    from ..evaluation.runs import on_synthetic

    if arguments.scenes < 1:
        raise DpmError(f"--scenes is {arguments.scenes}; it must be 1 or more")
    engine = open_engine(arguments.model, arguments.weights, arguments.device)
    with _progress("scenes", arguments.scenes) as told:
        return on_synthetic(engine, arguments.scenes, arguments.seed, told)


def _rgbd(arguments: argparse.Namespace) -> dict[str, Any]:
    from dpm_core.engines import open_engine

    from ..evaluation.rgbd import rgbd_frames
    from ..evaluation.runs import on_recording

    if arguments.depth_units <= 0:
        raise DpmError(
            f"--depth-units is {arguments.depth_units}; it must be more than 0, such as 1000 for millimetres"
        )
    frames = islice(rgbd_frames(arguments.recording, arguments.depth_units), arguments.limit)
    engine = open_engine(arguments.model, arguments.weights, arguments.device)
    with _progress("frames", None) as told:
        return {"recording": arguments.recording.name, **on_recording(engine, frames, told)}


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def show(figures: dict[str, Any], console: Console) -> None:
    """Tables: one a group of figures, a column for the model and for each baseline."""
    title = ", ".join(
        f"{name} {figures[name]}" for name in ("model", "recording", "scenes", "seed", "frames") if name in figures
    )
    console.print(title)
    if figures["notice"]:
        console.print(f"note: {figures['notice']}")
    for gap, judged in figures["two_view"].items():
        _table(console, f"two views, {gap.replace('_', ' ')} frames apart", judged)
    for name, said in (("dynamic mask", "mask"), ("depth of all frames", "depth"), ("camera path", "path")):
        if figures.get(said):
            _table(console, name, figures[said])


def _table(console: Console, title: str, judged: dict[str, dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in judged.values() for name in row))
    table = Table("", *judged, title=title, title_justify="left")
    for name in names:
        table.add_row(name, *(_written(row.get(name)) for row in judged.values()))
    console.print(table)


def _written(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dpm-eval", description="Judge a model beside baselines that need none.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    synthetic = commands.add_parser("synthetic", help="on synthetic scenes, whose truth is exact")
    _common(synthetic)
    synthetic.add_argument("--scenes", type=int, default=50, help="how many (default 50)")
    synthetic.add_argument(
        "--seed", type=int, default=1_000_003, help="of the scenes; training uses 0 (default 1000003)"
    )
    synthetic.set_defaults(run=_synthetic)
    rgbd = commands.add_parser("rgbd", help="on a recording with depth")
    _common(rgbd)
    rgbd.add_argument("recording", type=Path, metavar="FOLDER|BAG", help="7-Scenes layout, or a bag with a depth topic")
    rgbd.add_argument("--depth-units", type=float, default=1000.0, help="16-bit units a metre (default 1000; TUM 5000)")
    rgbd.add_argument("--limit", type=int, default=None, help="no more than so many frames")
    rgbd.set_defaults(run=_rgbd)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name, as `dpm weights list` shows them")
    parser.add_argument("--weights", type=Path, help="a file in place of the model's own")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--json", type=Path, help="write the figures there")


if __name__ == "__main__":
    sys.exit(main())
