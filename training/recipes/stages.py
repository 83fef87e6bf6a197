# SPDX-License-Identifier: Apache-2.0
"""What the CPU's recipe of vdpm-mini consists of: one stream of stored scenes, and stages of training on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from training.config import DataConfig, OptimiserConfig, RunConfig
from training.losses import MatchingLoss, VDPMLoss
from training.runs import find_run
from training.synthetic import SyntheticConfig

from .source import HELD_OUT, Pool
from .vary import VaryConfig

SEED = 0
"""Of first weights and of the order of windows."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: of its folder.
        mixture: a name in `training.sampling.MIXTURES`.
        size: (H, W) of its windows.
        made: its stored scenes; a little larger than its windows, so that cameras can turn inside.
        stream: seed of the scenes.
        held_out: how many of them are for validation alone.
        examples: windows until its end.
        lr: the highest rate; the cosine ends at a hundredth.
        ema: decay of the averaged weights a step.
        matching: weight of `MatchingLoss`.
        shown: largest and least share of a stored scene's width that a window shows.
        first, uses, most: see `known_scenes`.
    """

    name: str
    mixture: str
    size: tuple[int, int]
    made: SyntheticConfig
    stream: int
    held_out: int
    examples: int
    lr: float
    ema: float
    matching: float
    shown: tuple[float, float]
    first: int
    uses: float
    most: int

    def scenes(self) -> int:
        """How many stored scenes it needs."""
        return self.held_out + self.most

    def pool(self, folder: Path) -> Pool:
        """Its scenes in a folder."""
        return Pool(folder, self.held_out, self.first, self.uses, self.most)

    def variation(self) -> VaryConfig:
        """How its windows differ from the stored scenes."""
        share = self.size[1] / self.made.width
        return VaryConfig(*self.size, zoom=(share / self.shown[0], share / self.shown[1]))

    def run(self, out: Path, weights: Path) -> RunConfig:
        """Its run, starting from weights."""
        config = find_run("vdpm-mini")
        optimiser = OptimiserConfig(
            matrices="muon", lr=self.lr, least_lr=self.lr / 100, warmup=0.03, weight_decay=0.02, ema=self.ema
        )
        return replace(
            config,
            weights=str(weights),
            loss=VDPMLoss(matching=MatchingLoss(weight=self.matching)),
            frozen=(*config.frozen, "decoder."),
            data=DataConfig(self.mixture, HELD_OUT, height=self.size[0], width=self.size[1]),
            optimiser=optimiser,
            examples=self.examples,
            precision="fp32",
            device="cpu",
            out=str(out / self.name),
            log_every=50,
            validate_every=500,
            save_every=200,
        )


_GAPS = (0.05, 0.5)
_VIEW = (45.0, 105.0)
_SMALL = SyntheticConfig(height=108, width=144, frames=4, period=_GAPS, field_of_view=_VIEW)
_LARGE = SyntheticConfig(height=168, width=224, frames=4, period=_GAPS, field_of_view=_VIEW)
STAGES = (
    Stage(
        name="own",
        mixture="stored-own",
        size=(84, 112),
        made=_SMALL,
        stream=6,
        held_out=64,
        examples=28350,
        lr=2e-3,
        ema=0.998,
        matching=0.2,
        shown=(0.92, 0.6),
        first=1690,
        uses=20.0,
        most=2030,
    ),
    Stage(
        name="fine",
        mixture="stored-fine",
        size=(168, 224),
        made=_LARGE,
        stream=7,
        held_out=16,
        examples=4600,
        lr=1e-3,
        ema=0.99,
        matching=0.1,
        shown=(1.0, 0.714),
        first=1016,
        uses=1.0,
        most=1016,
    ),
)
"""A quarter of the pixels teaches most at a quarter of the cost; the rest is taught at the size that is used. Half of a
step's arithmetic would be the decoder's, and motion comes after matching: it is left saying that nothing moves."""
