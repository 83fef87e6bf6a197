# SPDX-License-Identifier: Apache-2.0
"""`dpm-train CONFIG key=value…`: train, or go on with a run."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax

from dpm_core.errors import DpmError

from ..config import RunConfig, changed, to_json
from ..distributed import World, world
from ..runs import RUNS, find_run
from ..sources import source_of
from ..trainer import Trainer


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 2 for bad input, said in one line on stderr; 130 where it was stopped and can go on."""
    arguments = _parser().parse_intermixed_args(argv)
    try:
        config = chosen(arguments.config, arguments.settings)
        if arguments.show:
            print(to_json(config), end="")
            return 0
        with world(config.device) as here:
            return _train(config, here)
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2


def chosen(name: str, settings: Sequence[str]) -> RunConfig:
    """The run that is meant: a new one under a name, or one to go on with.

    Raises:
        DpmError: neither, or a new run would go into the folder of another.
    """
    config = changed(find_run(name), settings)
    if Path(name).is_dir():
        return replace(config, out=name)
    begun = Path(config.out) / "config.json"
    if begun.is_file() and begun.read_text() != to_json(config):
        raise DpmError(
            f"{config.out} holds another run; go on with it by `dpm-train {config.out}`, or set another out="
        )
    return config


def _train(config: RunConfig, here: World) -> int:
    console = Console(stderr=True, highlight=False)
    if here.first:
        console.print(Syntax(to_json(config), "json", background_color="default"))
    trainer = Trainer(config, here, source_of(config.data, here.device), say=console.print)
    if here.first:
        trained, all_ = trainer.state.parameters()
        console.print(
            f"{trained / 1e6:.2f} of {all_ / 1e6:.2f} million parameters are trained, on {here.size} × {here.device}"
        )

    def end(*_: object) -> None:
        trainer.stop = True
        console.print("ending with a checkpoint after this step")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    finished = trainer.run()
    if here.first:
        how = "finished" if finished else f"to be continued: dpm-train {config.out}"
        console.print(f"{how}; weights: python -m training.export {config.out} weights.safetensors")
    return 130 if trainer.stop and not finished else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dpm-train",
        description="Train a network. On several devices: torchrun --nproc_per_node=8 -m training.cli.train …",
        epilog="example: dpm-train vdpm-mini optimiser.lr=2e-4 network.aggregator.depth=6 out=runs/wider",
    )
    parser.add_argument("config", help=f"a name ({', '.join(RUNS)}), a run's folder to go on with, or a config.json")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="changes to it; --show lists the keys")
    parser.add_argument("--show", action="store_true", help="print the configuration and stop")
    return parser


if __name__ == "__main__":
    sys.exit(main())
