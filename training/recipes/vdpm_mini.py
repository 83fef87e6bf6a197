# SPDX-License-Identifier: Apache-2.0
"""`python -m training.recipes.vdpm_mini OUT`: from a seed to weights of vdpm-mini on a CPU; goes on where it was."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.progress import Progress

from dpm_core.checkpoints.convert import write_weights
from dpm_core.errors import DpmError
from dpm_core.io import open_source
from dpm_core.models import VDPMNetwork
from training import checkpoints
from training.config import RunConfig
from training.distributed import World
from training.export import export
from training.state import spec_of_run
from training.synthetic import SyntheticScenes
from training.trainer import Trainer

from .source import StoredSource
from .stages import SEED, STAGES, Stage
from .start import stand_still, start
from .stored import make, path_of

_AT_ONCE = 4


class Recipe:
    """The stages in one folder; every method leaves what it has done and may be called again.

    Args:
        out: the folder: scenes, a run a stage, and the weights.
        minutes: stop after about so many; 0 runs to the end.
    """

    def __init__(self, out: Path, minutes: float) -> None:
        self.out = out
        self._until = time.monotonic() + 60 * minutes if minutes > 0 else float("inf")

    def scenes(self) -> bool:
        """Make the scenes that stages are trained on. Returns whether all are there."""
        for stage in STAGES:
            folder = self._scenes_of(stage)
            missing = [index for index in range(stage.scenes()) if not path_of(folder, index).is_file()]
            maker = SyntheticScenes(stage.made, stage.stream)
            with Progress() as progress:
                task = progress.add_task(f"scenes of {stage.name}", total=len(missing))
                for place in range(0, len(missing), _AT_ONCE):
                    if self._over():
                        return False
                    make(maker, folder, missing[place : place + _AT_ONCE])
                    progress.update(task, advance=_AT_ONCE)
        return True

    def train(self) -> bool:
        """Train through the stages. Returns whether the last one has ended."""
        weights = self._first_weights()
        for stage in STAGES:
            config = stage.run(self.out, weights)
            if not self._trained(stage, config):
                return False
            weights = self._averaged(config)
        return True

    def export(self, frames: str) -> Path:
        """The last stage's weights as the runtime loads them, tried on real frames."""
        file = self.out / "vdpm-mini.safetensors"
        with open_source(frames, every=5, limit=4) as source:
            export(self.out / STAGES[-1].name, file, list(source))
        return file

    def _trained(self, stage: Stage, config: RunConfig) -> bool:
        if self._over():
            return False
        left = 0.0 if self._until == float("inf") else (self._until - time.monotonic()) / 60
        source = StoredSource(stage.pool(self._scenes_of(stage)), stage.variation())
        trainer = Trainer(replace(config, minutes=left), World(0, 1, torch.device("cpu")), source)
        return trainer.run()

    def _first_weights(self) -> Path:
        path = self.out / "start.safetensors"
        if not path.is_file():
            spec = spec_of_run(STAGES[0].run(self.out, path))
            network = spec.build()
            assert isinstance(network, VDPMNetwork)
            start(network, SEED)
            stand_still(network)
            write_weights(path, spec, network.state_dict(), "fp32")
        return path

    def _averaged(self, config: RunConfig) -> Path:
        """The averaged weights of a stage's end, for the next one to start from."""
        path = Path(config.out) / "averaged.safetensors"
        found = checkpoints.latest(Path(config.out) / "checkpoints", print)
        assert found is not None
        write_weights(path, spec_of_run(config), checkpoints.part(found.tensors, "average."), "fp32")
        return path

    def _scenes_of(self, stage: Stage) -> Path:
        return self.out / f"scenes-{stage.made.width}"

    def _over(self) -> bool:
        return time.monotonic() > self._until


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 at the end, 3 where there is more to do, 2 for bad input, said in one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.recipes.vdpm_mini", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for scenes, runs and weights")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after about so many; call again to go on")
    parser.add_argument("--only", choices=("scenes", "training"), help="one part; two processes may share the work")
    parser.add_argument("--frames", default="demo/walking", help="real frames that the weights are tried on")
    asked = parser.parse_args(argv)
    recipe = Recipe(asked.out, asked.minutes)
    try:
        done = (asked.only == "training" or recipe.scenes()) and (asked.only == "scenes" or recipe.train())
        if not done:
            print(f"to be continued: python -m training.recipes.vdpm_mini {asked.out}")
            return 3
        if asked.only != "scenes":
            print(f"weights: {recipe.export(asked.frames)}")
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
