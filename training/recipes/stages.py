# SPDX-License-Identifier: Apache-2.0
"""What the CPU's recipe of vdpm-mini consists of: one stream of stored scenes, and stages of training on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from training.config import DataConfig, RunConfig
from training.runs import find_run
from training.synthetic import SyntheticConfig

from .source import HELD_OUT, Pool
from .vary import VaryConfig

SEED = 0
"""Of first weights and of the order of windows."""
HELD_OUT_SCENES = 64


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: of its folder.
        size: (H, W) of its windows.
        made: its stored scenes; a little larger than its windows, so that cameras can turn inside.
        stream: seed of the scenes.
        examples: windows until its end.
        lr: the highest rate; the cosine ends at a hundredth.
        ema: decay of the averaged weights a step.
        first, uses, most: see `known_scenes`.
    """

    name: str
    size: tuple[int, int]
    made: SyntheticConfig
    stream: int
    examples: int
    lr: float
    ema: float
    first: int
    uses: float
    most: int

    def scenes(self) -> int:
        """How many stored scenes it needs."""
        return HELD_OUT_SCENES + self.most

    def pool(self, folder: Path) -> Pool:
        """Its scenes in a folder."""
        return Pool(folder, HELD_OUT_SCENES, self.first, self.uses, self.most)

    def variation(self) -> VaryConfig:
        """Windows that show about nine to six tenths of a stored scene's width."""
        share = self.size[1] / self.made.width
        return VaryConfig(*self.size, zoom=(share / 0.92, share / 0.6))

    def run(self, out: Path, weights: Path) -> RunConfig:
        """Its run, starting from weights."""
        config = find_run("vdpm-mini")
        optimiser = replace(
            config.optimiser, lr=self.lr, least_lr=self.lr / 100, ema=self.ema, warmup=0.03, weight_decay=0.02
        )
        return replace(
            config,
            weights=str(weights),
            data=DataConfig("stored", HELD_OUT, height=self.size[0], width=self.size[1]),
            optimiser=optimiser,
            examples=self.examples,
            precision="fp32",
            device="cpu",
            out=str(out / self.name),
            log_every=25,
            validate_every=250,
            save_every=100,
            validation_batches=16,
        )


_GAPS = (0.05, 0.5)
_VIEW = (45.0, 105.0)
STAGES = (
    Stage(
        name="coarse",
        size=(84, 112),
        made=SyntheticConfig(height=108, width=144, frames=4, period=_GAPS, field_of_view=_VIEW),
        stream=6,
        examples=12_000,
        lr=1.5e-3,
        ema=0.995,
        first=400,
        uses=3.0,
        most=960,
    ),
    Stage(
        name="fine",
        size=(168, 224),
        made=SyntheticConfig(height=168, width=224, frames=4, period=_GAPS, field_of_view=_VIEW),
        stream=7,
        examples=1_200,
        lr=7e-4,
        ema=0.98,
        first=96,
        uses=3.0,
        most=96,
    ),
)
"""A quarter of the pixels teaches most at a quarter of the cost; the rest is taught at the size that is used."""
