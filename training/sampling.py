# SPDX-License-Identifier: Apache-2.0
"""Which windows are trained on, and in what order: the papers' mixtures, and a sampler that can go on from anywhere."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dpm_core.errors import DpmError

# Streams of random numbers that must not meet, whatever the seed.
_ORDER, _WINDOW = range(2)


@dataclass(frozen=True)
class Part:
    """How many examples of a data set an epoch has."""

    dataset: str
    examples: int


@dataclass(frozen=True)
class Mixture:
    """A training set, as a paper states it.

    Attributes:
        parts: examples of each data set in an epoch.
        batches: (frames of a window, windows of a batch on one device); each batch draws one of these.
        strides: least and largest step between neighbouring frames, in frames of the recording.
        reference: which camera is the origin.
        times: "one" time that is common to all views, drawn for each batch, "all" of the window's, or "none": each
            view is asked at its own time alone.
        source: where the figures stand, and what of them is not stated there.
    """

    parts: tuple[Part, ...]
    batches: tuple[tuple[int, int], ...]
    strides: tuple[int, int]
    reference: Literal["central", "first"]
    times: Literal["one", "all", "none"]
    source: str

    @property
    def epoch(self) -> int:
        """Examples of an epoch."""
        return sum(part.examples for part in self.parts)

    def datasets(self) -> tuple[str, ...]:
        """Names of its data sets."""
        return tuple(part.dataset for part in self.parts)


def _parts(**examples: int) -> tuple[Part, ...]:
    return tuple(Part(name.replace("_", "-"), count) for name, count in examples.items())


MIXTURES: dict[str, Mixture] = {
    "vdpm": Mixture(
        _parts(kubric_g=5000, kubric_f=5000, pointodyssey=15000, waymo=2500, scannetpp=2500, blendedmvs=2500),
        # The supplement gives batch 4 at 5 frames and 1 at 19; between them, what 20 frames a batch allow.
        batches=((5, 4), (9, 2), (13, 1), (19, 1)),
        strides=(1, 1),
        reference="central",
        times="one",
        source="V-DPM supplement §6; frame strides are not stated",
    ),
    "d2ust3r": Mixture(
        _parts(blinkvision_outdoor=7750, blinkvision_indoor=4750, pointodyssey=2500, tartanair=2500, spring=2500),
        batches=((2, 4),),
        strides=(1, 9),
        reference="first",
        times="all",
        source="D²USt3R §5.1 and Table 2: 20,000 pairs an epoch, batch 4 a GPU",
    ),
    "monst3r": Mixture(
        _parts(pointodyssey=10000, tartanair=5000, spring=1000, waymo=4000),
        batches=((2, 4),),
        strides=(1, 9),
        reference="first",
        times="all",
        source="reference sheet §5",
    ),
    "pomato-pairs": Mixture(
        _parts(pointodyssey=20000, tartanair=5000, dynamicreplica=5000, paralleldomain4d=3000, carla=2000),
        batches=((2, 4),),
        strides=(1, 9),
        reference="first",
        times="all",
        source="POMATO supplement Table 6 (57.1, 14.3, 14.3, 8.6, 5.7 %); examples an epoch and strides are not stated",
    ),
    "pomato-temporal": Mixture(
        _parts(pointodyssey=20000, tartanair=5000, dynamicreplica=5000, paralleldomain4d=3000, carla=2000),
        batches=((12, 1),),
        strides=(1, 9),
        reference="first",
        times="all",
        source="as pomato-pairs, in windows of 12 frames",
    ),
    "synthetic": Mixture(
        _parts(synthetic=20000),
        batches=((4, 6), (5, 5), (6, 4), (8, 3)),
        strides=(1, 1),
        reference="first",
        times="one",
        source="this project's own scenes; the generator chooses frame gaps itself",
    ),
    "stored": Mixture(
        _parts(stored=20000),
        batches=((2, 8), (3, 5), (4, 4)),
        strides=(1, 1),
        reference="first",
        times="one",
        source="scenes of the generator kept on disk, see training.recipes; for a CPU, where making them costs most",
    ),
    "stored-own": Mixture(
        _parts(stored=20000),
        batches=((2, 8), (3, 5), (4, 4)),
        strides=(1, 1),
        reference="first",
        times="none",
        source="the same, as VGGT is trained before V-DPM goes on from it: cameras and each view's own time",
    ),
    "stored-fine": Mixture(
        _parts(stored=20000),
        batches=((2, 4), (3, 3), (4, 2)),
        strides=(1, 1),
        reference="first",
        times="none",
        source="the same in smaller batches, for windows of four times as many pixels",
    ),
    "stored-held-out": Mixture(
        _parts(stored_held_out=20000),
        batches=((2, 8), (3, 5), (4, 4)),
        strides=(1, 1),
        reference="first",
        times="one",
        source="the same, of scenes that are never trained on",
    ),
    "synthetic-tiny": Mixture(
        _parts(synthetic=1000),
        batches=((2, 8), (3, 5)),
        strides=(1, 1),
        reference="first",
        times="one",
        source="the same, for a look on a CPU",
    ),
    "synthetic-pairs": Mixture(
        _parts(synthetic=20000),
        batches=((2, 4),),
        strides=(1, 1),
        reference="first",
        times="all",
        source="the same, for pair networks",
    ),
}


def mixture(name: str) -> Mixture:
    """The mixture of that name.

    Raises:
        DpmError: there is none.
    """
    if name not in MIXTURES:
        nearest = difflib.get_close_matches(name, MIXTURES, 1, 0.0)[0]
        raise DpmError(f"no mixture is called '{name}'; did you mean '{nearest}'? There are {', '.join(MIXTURES)}")
    return MIXTURES[name]


@dataclass(frozen=True)
class Position:
    """Where a sampler is: all that must be kept to go on from there.

    Attributes:
        step: batches drawn.
        examples: examples drawn, on all devices together.
    """

    step: int = 0
    examples: int = 0


@dataclass(frozen=True)
class Example:
    """One window to be made.

    Attributes:
        dataset: its name.
        seed: 63 bits that decide the scene, the frames and the stride.
    """

    dataset: str
    seed: int


@dataclass(frozen=True)
class BatchRequest:
    """One batch for one device.

    Attributes:
        examples: its windows.
        length: frames of a window.
        strides: least and largest step between frames.
        times: asked window positions.
        reference: window position of the camera that is the origin.
        after: where the sampler is when this batch is done.
    """

    examples: tuple[Example, ...]
    length: int
    strides: tuple[int, int]
    times: tuple[int, ...]
    reference: int
    after: Position


class Sampler:
    """Endless batches of a mixture for one of `world` devices; the same for the same seed, wherever it starts.

    Every epoch holds exactly the mixture's counts, in a new order. Batches run on across the epochs' borders, so that
    none is cut short. All devices draw the same length at a step, since the slowest sets the pace.
    """

    def __init__(
        self, mixture: Mixture, seed: int, rank: int = 0, world: int = 1, start: Position | None = None
    ) -> None:
        """Start at a position: the first, or one that a batch of an earlier sampler ended at.

        Args:
            mixture: what is sampled.
            seed: of everything drawn.
            rank, world: which device of how many.
            start: default: the beginning.
        """
        self.mixture, self.seed, self.rank, self.world = mixture, seed, rank, world
        self.start = start or Position()
        self._order: tuple[int, list[str]] = (-1, [])

    def __iter__(self) -> Iterator[BatchRequest]:
        """Batches from `start` on."""
        position = self.start
        while True:
            request = self.at(position)
            yield request
            position = request.after

    def at(self, position: Position) -> BatchRequest:
        """The batch of this device that begins at a position."""
        draw = np.random.default_rng([self.seed, _WINDOW, position.step])
        length, windows = self.mixture.batches[draw.integers(len(self.mixture.batches))]
        times = {"one": (int(draw.integers(length)),), "all": tuple(range(length)), "none": ()}
        first = position.examples + self.rank * windows
        return BatchRequest(
            examples=tuple(self._example(index) for index in range(first, first + windows)),
            length=length,
            strides=self.mixture.strides,
            times=times[self.mixture.times],
            reference=length // 2 if self.mixture.reference == "central" else 0,
            after=Position(position.step + 1, position.examples + windows * self.world),
        )

    def _example(self, index: int) -> Example:
        epoch, place = divmod(index, self.mixture.epoch)
        if self._order[0] != epoch:
            names = [part.dataset for part in self.mixture.parts for _ in range(part.examples)]
            order = np.random.default_rng([self.seed, _ORDER, epoch]).permutation(len(names))
            self._order = (epoch, [names[i] for i in order])
        digest = hashlib.blake2b(f"{self.seed} {index}".encode(), digest_size=8).digest()
        return Example(self._order[1][place], int.from_bytes(digest, "big") >> 1)
