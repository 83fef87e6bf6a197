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


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: of its folder.
        mixture: a name in `training.sampling.MIXTURES`.
        decoder: whether it learns of motion; where not, the decoder is set to say that nothing moves, and stays.
        size: (H, W) of its windows.
        made: its stored scenes; a little larger than its windows, so that cameras can turn inside.
        stream: seed of the scenes.
        held_out: how many of them are for validation alone.
        examples: windows until its end.
        lr: the highest rate; the cosine ends at a hundredth.
        ema: decay of the averaged weights a step.
        first, uses, most: see `known_scenes`.
    """

    name: str
    mixture: str
    decoder: bool
    size: tuple[int, int]
    made: SyntheticConfig
    stream: int
    held_out: int
    examples: int
    lr: float
    ema: float
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
            frozen=config.frozen if self.decoder else (*config.frozen, "decoder."),
            data=DataConfig(self.mixture, HELD_OUT, height=self.size[0], width=self.size[1]),
            optimiser=optimiser,
            examples=self.examples,
            precision="fp32",
            device="cpu",
            out=str(out / self.name),
            log_every=25,
            validate_every=250,
            save_every=100,
        )


_GAPS = (0.05, 0.5)
_VIEW = (45.0, 105.0)
_SMALL = SyntheticConfig(height=108, width=144, frames=4, period=_GAPS, field_of_view=_VIEW)
_LARGE = SyntheticConfig(height=168, width=224, frames=4, period=_GAPS, field_of_view=_VIEW)
STAGES = (
    Stage(
        name="all",
        mixture="stored",
        decoder=True,
        size=(84, 112),
        made=_SMALL,
        stream=6,
        held_out=64,
        examples=2502,
        lr=1.5e-3,
        ema=0.995,
        first=400,
        uses=3.0,
        most=960,
    ),
    Stage(
        name="own",
        mixture="stored-own",
        decoder=False,
        size=(84, 112),
        made=_SMALL,
        stream=6,
        held_out=64,
        examples=1399,
        lr=1.2e-3,
        ema=0.99,
        first=960,
        uses=3.0,
        most=960,
    ),
    Stage(
        name="fine",
        mixture="stored-fine",
        decoder=False,
        size=(168, 224),
        made=_LARGE,
        stream=7,
        held_out=4,
        examples=300,
        lr=6e-4,
        ema=0.97,
        first=20,
        uses=3.0,
        most=20,
    ),
)
"""A quarter of the pixels teaches most at a quarter of the cost; the rest is taught at the size that is used. Half of a
step's arithmetic is the decoder's, which learns last: the second and third stages go without."""
