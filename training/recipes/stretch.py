# SPDX-License-Identifier: Apache-2.0
"""One stretch of a run in one call: go on from pieces, train for some minutes, leave pieces and a report.

`python -m training.recipes.stretch vdpm-mini --minutes 8 --before PIECES --after PIECES` trains with scenes made
on the device. The report says how fast it was and what held it up.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from dpm_core.cli.arguments import write_json
from dpm_core.errors import DpmError
from training import logbook
from training.config import RunConfig, changed
from training.distributed import world
from training.runs import find_run
from training.sampling import Sampler, mixture
from training.sources import source_of
from training.trainer import Trainer

from .pieces import join, split

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "4090": 165.0}
"""Dense bfloat16 matrix products a second, from the makers' data sheets, by a part of the device's name."""


def stretch(config: RunConfig, before: Path | None, after: Path) -> dict[str, Any]:
    """Train for `config.minutes` in a folder of its own, and leave the pieces.

    Args:
        config: the run; its `out` is replaced.
        before: pieces to go on from, or None for a new run.
        after: folder for the new pieces.

    Returns:
        The report: see `report`.
    """
    with tempfile.TemporaryDirectory() as temporary, world(config.device) as here:
        run = Path(temporary) / "run"
        if before is not None:
            join(before, run)
        config = replace(config, out=str(run))
        trainer = Trainer(config, here, source_of(config.data, here.device))
        begun = trainer.progress.step
        finished = trainer.run()
        split(run, after)
        lines = [
            line for line in logbook.read(run / "metrics.jsonl") if line["group"] == "train" and line["step"] > begun
        ]
        return report(trainer, lines, begun) | {"finished": finished}


def report(trainer: Trainer, lines: Sequence[dict[str, Any]], begun: int) -> dict[str, Any]:
    """Where a stretch got to and how fast.

    Args:
        trainer: after it.
        lines: what it logged of training.
        begun: its first step.

    Returns:
        "steps" from and to, "examples_per_second", "frames_per_second", "waiting" (share of the time that computing
        waited for windows), "tflops" (of forward and backward passes of the newest batch's kind), "share_of_peak" where
        the device's peak is known, "loss" first and last.
    """
    told: dict[str, Any] = {"steps": [begun, trainer.progress.step], "device": str(trainer.here.device)}
    if not lines:
        return told
    told |= {name: fmean(line[name] for line in lines) for name in ("examples_per_second", "frames_per_second")}
    told["waiting"] = fmean(line["waiting"] for line in lines)
    told["loss"] = [lines[0]["loss"], lines[-1]["loss"]]
    told["tflops"] = told["frames_per_second"] * operations_a_frame(trainer) / 1e12
    if trainer.here.device.type == "cuda":
        told["device"] = torch.cuda.get_device_name(trainer.here.device)
        peak = next((value for part, value in PEAK_TFLOPS.items() if part in told["device"]), None)
        told["share_of_peak"] = None if peak is None else told["tflops"] / peak
    return told


def operations_a_frame(trainer: Trainer) -> float:
    """Floating point operations of a training step for one frame, counted over the next batch."""
    request = Sampler(mixture(trainer.config.data.mixture), trainer.config.seed).at(trainer.progress.position)
    batch = trainer.source.batch(request, trainer.here.device)
    counter = FlopCounterMode(display=False)
    with counter:
        trainer.losses(batch)["loss"].backward()
    trainer.state.forget_gradients()
    return float(counter.get_total_flops()) / (len(request.examples) * request.length)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 2 for bad input, said in one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.recipes.stretch", description=__doc__.splitlines()[0])
    parser.add_argument("config", help="a name that dpm-train knows, or a config.json")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="changes to it")
    parser.add_argument("--minutes", type=float, default=8.0, help="of training (default 8)")
    parser.add_argument("--before", type=Path, help="pieces to go on from")
    parser.add_argument("--after", type=Path, required=True, help="folder for the new pieces and report.json")
    asked = parser.parse_intermixed_args(argv)
    try:
        config = replace(changed(find_run(asked.config), asked.settings), minutes=asked.minutes)
        told = stretch(config, asked.before, asked.after)
        write_json(asked.after / "report.json", told)
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2
    print(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
