# SPDX-License-Identifier: Apache-2.0
"""`dpm tensorrt`: the TensorRT plans of an exported model, for the GPU that is here or for one that is named."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from tyro.conf import Positional, arg

from ..types import UInt8
from .arguments import parse, write_json
from .export import BUNDLED, read_frames

if TYPE_CHECKING:
    from ..engines.manifest import Deviation
    from ..engines.tensorrt_engine import Found
    from ..engines.tensorrt_progress import OnProgress


@dataclass(frozen=True)
class TensorrtOptions:
    """Build the TensorRT plans of an exported model, and check them where they can run.

    Attributes:
        folder: what `dpm export` wrote.
        compute_capability: of the GPUs that the plans are for, such as 8.6 8.9; by default the GPU that is here.
        library: tensorrt or tensorrt_rtx; by default the first that is installed and can build for what is asked.
        frames: a video, a folder of images or a bag to check the plans on; by default a few bundled frames.
        json: write what was built here too.
    """

    folder: Positional[Path]
    compute_capability: tuple[str, ...] = ()
    library: str | None = None
    frames: Path | None = None
    json: Annotated[Path | None, arg(metavar="FILE")] = None


@dataclass(frozen=True)
class Result:
    """Plans, and how far they are off where they could be run.

    Attributes:
        found: by graph.
        parity: "graph.output" → deviation; None where no GPU could run them.
    """

    found: dict[str, Found]
    parity: dict[str, Deviation] | None


def main(argv: list[str]) -> int:
    """0, or DpmError."""
    options = parse(TensorrtOptions, "dpm tensorrt", argv)
    frames = read_frames(options.frames or BUNDLED)
    result = build_and_check(options.folder, options.compute_capability, options.library, frames)
    if options.json is not None:
        write_json(options.json, figures(result))
    report(result, Console(highlight=False))
    return 0


def build_and_check(folder: Path, capabilities: Sequence[str], library: str | None, frames: Sequence[UInt8]) -> Result:
    """The plans of an export, with progress bars; checked on `frames` where this machine's GPU can run them.

    Raises:
        DpmError: see `tensorrt_plans.build_plans` and `tensorrt_check.check_plans`.
    """
    from ..engines.tensorrt_check import check_plans, run_here  # torch: after the help
    from ..engines.tensorrt_library import libraries, load_library, parse_capability
    from ..engines.tensorrt_plans import build_plans, choose_target

    usable = [load_library(library)] if library else libraries()
    target = choose_target(usable, [parse_capability(each) for each in capabilities])
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as bars:
        found = build_plans(folder, target, _Bars(bars))
        running = run_here(folder, found)
        if running is None:
            return Result(found, None)
        bars.add_task("check", total=None)
        with tempfile.TemporaryDirectory() as scratch:
            return Result(found, check_plans(folder, found, running, frames, Path(scratch)))


class _Bars:
    """One bar a plan."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def plan(self, graph: str) -> OnProgress:
        """See tensorrt_plans.Progress."""
        task = self._bars.add_task(f"plan of {graph}", total=1.0)
        return lambda fraction: self._bars.update(task, completed=fraction)

    def waiting(self, graph: str) -> None:
        """See tensorrt_plans.Progress."""
        self._bars.console.print(f"another process builds the plan of {graph}; waiting for it")


def figures(result: Result) -> dict[str, Any]:
    """For machines."""
    return {
        "plans": {name: {"file": each.path.name, **asdict(each.sidecar)} for name, each in result.found.items()},
        "checked": result.parity is not None,
    }


def report(result: Result, console: Console) -> None:
    """For people."""
    table = Table("plan", "for", "MB", "built in")
    for each in result.found.values():
        sidecar = each.sidecar
        table.add_row(
            each.path.name, sidecar.built_for, f"{sidecar.plan_bytes / 1e6:.1f}", f"{sidecar.build_seconds:.1f} s"
        )
    console.print(table)
    if result.parity is None:
        console.print("not checked: these plans are for another GPU; run the same command there to check them")
        return
    parity = Table("output", "99 % of values within", "root mean square", "cosine", title="against the export")
    for name, deviation in result.parity.items():
        parity.add_row(name, f"{deviation.p99:.2g}", f"{deviation.scale:.2g}", f"{deviation.cosine:.7f}")
    console.print(parity)
