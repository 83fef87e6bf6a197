# SPDX-License-Identifier: Apache-2.0
"""`dpm capacity`: what a network needs, and what robots' computers can run of it. Counted, not run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

from .arguments import parse, write_json

if TYPE_CHECKING:
    from ..checkpoints import NetworkSpec
    from ..engines.capacity import Device, Need
    from ..types import Request

CAMERA = (480, 640)
"""(height, width) of the camera image whose fitted size is taken where none is given."""

_SQUARE = 1024
_REPEATS = 5


@dataclass(frozen=True)
class Options:
    """Tell what an estimate needs, and how long it would take on some computers.

    Attributes:
        model: the network; `dpm weights list` tells the names.
        window: frames that it sees at once.
        size: HEIGHTxWIDTH that it sees; by default what it makes of a 640x480 camera.
        motion: whose motion is wanted: none, of the newest frame, or of all (see docs/performance.md).
        check: run the network here too, on one thread with seeded weights, and tell how far off the estimate is.
        json: write the figures here too.
    """

    model: Positional[str] = "vdpm-mini"
    window: int = 8
    size: str | None = None
    motion: Literal["none", "newest", "all"] = "all"
    check: bool = False
    json: Annotated[Path | None, arg(metavar="FILE")] = None


@dataclass(frozen=True)
class OnDevice:
    """What a computer makes of it.

    Attributes:
        device: its name.
        memory_share: of its memory, by precision.
        seconds: of an estimate, by precision.
    """

    device: str
    memory_share: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Checked:
    """The estimate against this machine, one thread.

    Attributes:
        flops_per_second: of a product of large matrices.
        bytes_per_second: of a large copy.
        estimated_seconds: by the roofline of these two.
        measured_seconds: of processor time, the median.
        ratio: measured over estimated.
        working_bytes: estimated, of tensors beside the weights.
        measured_bytes: by which the process grew at most.
    """

    flops_per_second: float
    bytes_per_second: float
    estimated_seconds: float
    measured_seconds: float
    ratio: float
    working_bytes: int
    measured_bytes: int | None


def main(argv: list[str]) -> int:
    """0; figures on stdout and, where asked, in a file."""
    options = parse(Options, "dpm capacity", argv)
    from ..checkpoints import find_spec  # torch: after the help
    from ..engines.capacity import DEVICES, need
    from ..errors import DpmError
    from ..stream import Wanted
    from .measuring import size_of

    if options.window < 1:
        raise DpmError("window must be 1 or more frames")
    spec = find_spec(options.model)
    size = spec.fit(*CAMERA).size if options.size is None else size_of(options.size)
    request = Wanted(motion=options.motion).request(options.window)
    console = Console()
    with console.status("counting operations"):
        needed = need(spec, size, request)
    devices = [on_device(needed, device) for device in DEVICES]
    checked = None
    if options.check:
        with console.status("running it here"):
            checked = check(spec, size, request, needed)
    told = _told(options, size, needed, devices, checked)
    _print(told, devices, checked, console)
    if options.json is not None:
        write_json(options.json, told)
    return 0


def on_device(needed: Need, device: Device) -> OnDevice:
    """By both precisions."""
    precisions = ("fp32", "bf16")
    return OnDevice(
        device.name,
        {precision: needed.memory_bytes(precision) / device.memory_bytes for precision in precisions},
        {precision: needed.seconds(device, precision) for precision in precisions},
    )


def check(spec: NetworkSpec, size: tuple[int, int], request: Request, needed: Need) -> Checked:
    """Run one thread of this machine, by processor time, so that other work does not count."""
    import torch

    from ..engines.capacity import Device
    from ..engines.protocol import answer
    from .measuring import Memory, resident, torch_engine

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        square = torch.rand(_SQUARE, _SQUARE)
        flops = 2 * _SQUARE**3 / _median(lambda: square @ square)
        source = torch.rand(1 << 26)
        copied = 2 * 4 * (1 << 26) / _median(source.clone)
        engine = torch_engine(spec.name, torch.device("cpu"), random_weights=True)
        images = [torch.rand(3, *size) for _ in request.own_views]
        with torch.inference_mode():
            tokens = [engine.encode(image) for image in images]
            memory, held = Memory(engine.device), resident()
            memory.begin()

            def estimate() -> None:
                answer(engine, [*tokens[1:], engine.encode(images[-1])], size, request)

            measured = _median(estimate)
            peak = memory.peak()
    finally:
        torch.set_num_threads(before)
    here = Device("here", 0, copied, flops, flops, achieved=1.0)
    estimated = needed.seconds(here, "fp32")
    grown = None if peak is None or held is None else peak - held
    return Checked(flops, copied, estimated, measured, measured / estimated, needed.working_bytes, grown)


def _median(work: Callable[[], object]) -> float:
    import torch

    from .measuring import Stopwatch

    work()
    seconds = []
    for _ in range(_REPEATS):
        stopwatch = Stopwatch(torch.device("cpu"))
        work()
        seconds.append(stopwatch.read()[1])
    return statistics.median(seconds)


def _told(
    options: Options, size: tuple[int, int], needed: Need, devices: list[OnDevice], checked: Checked | None
) -> dict[str, Any]:
    return {
        "model": options.model,
        "window": options.window,
        "size": list(size),
        "motion": options.motion,
        "parameters": needed.parameters,
        "flops": needed.flops,
        "bytes": needed.bytes,
        "operations": len(needed.operations),
        "working_bytes": needed.working_bytes,
        "memory_bytes": {precision: needed.memory_bytes(precision) for precision in ("fp32", "bf16")},
        "devices": [asdict(device) for device in devices],
        "checked": None if checked is None else asdict(checked),
    }


def _print(told: dict[str, Any], devices: list[OnDevice], checked: Checked | None, console: Console) -> None:
    height, width = told["size"]
    console.print(
        f"{told['model']}, {told['window']} frames of {height}x{width}, motion of {told['motion']}: "
        f"{told['flops'] / 1e9:.1f} GFLOP, {told['bytes'] / 1e9:.1f} GB moved in fp32, "
        f"{told['operations']} operations, "
        f"{told['parameters'] / 1e6:.1f} M parameters, {told['working_bytes'] / 2**30:.2f} GiB beside them",
        soft_wrap=True,
        highlight=False,
    )
    table = Table(
        caption="eager, by the makers' figures: real kernels may do better (fused) or worse (small, launches)"
    )
    for heading in ("computer", "memory fp32", "bf16", "ms fp32", "ms bf16", "a second, bf16"):
        table.add_column(heading, justify="left" if heading == "computer" else "right")
    for device in devices:
        shares = [_share(device.memory_share[precision]) for precision in ("fp32", "bf16")]
        milliseconds = [f"{1e3 * device.seconds[precision]:.0f}" for precision in ("fp32", "bf16")]
        table.add_row(device.device, *shares, *milliseconds, f"{1 / device.seconds['bf16']:.1f}")
    console.print(table)
    if checked is not None:
        console.print(
            f"here, one thread: {1e3 * checked.measured_seconds:.0f} ms measured, "
            f"{1e3 * checked.estimated_seconds:.0f} ms estimated, ratio {checked.ratio:.2f}",
            highlight=False,
        )


def _share(share: float) -> str:
    return f"{share:.0%}" if share <= 1 else f"[red]{share:.0%}[/]"
