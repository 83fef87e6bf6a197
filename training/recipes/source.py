# SPDX-License-Identifier: Apache-2.0
"""Stored scenes as a source of a run's batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from dpm_core.errors import DpmError
from training.batches import Batch
from training.records import collate
from training.sampling import BatchRequest, Example

from .stored import known_scenes, path_of, read
from .vary import VaryConfig, vary

HELD_OUT = "stored-held-out"
"""The data set of validation examples; all others are trained on."""


@dataclass(frozen=True)
class Pool:
    """Which stored scenes a run draws from.

    Attributes:
        folder: of the files.
        held_out: the first so many scenes are for validation alone.
        first, uses, most: see `known_scenes`; of the others.
        patience: seconds that a scene being made is waited for.
    """

    folder: Path
    held_out: int
    first: int
    uses: float
    most: int
    patience: float = 600.0


class StoredSource:
    """Windows varied from stored scenes; which, and how, follows from the example's seed and place alone."""

    def __init__(self, pool: Pool, config: VaryConfig, say: Callable[[str], None] = print) -> None:
        self._pool, self._config, self._say = pool, config, say

    def batch(self, request: BatchRequest, device: torch.device) -> Batch:
        """Read and varied now.

        Raises:
            DpmError: a scene is not there and does not come.
        """
        windows = []
        for example in request.examples:
            scene = read(self._waited_for(self.scene_of(example, request.after.examples)))
            windows.append(vary(scene, request.length, request.times, self._config, example.seed))
        return Batch(collate(windows).to(device), request)

    def stream(self, requests: Iterable[BatchRequest], device: torch.device) -> Iterator[Batch]:
        """One after the other."""
        return (self.batch(request, device) for request in requests)

    def scene_of(self, example: Example, examples: int) -> int:
        """Which stored scene an example is of, once so many examples are trained on."""
        pool = self._pool
        if example.dataset == HELD_OUT:
            return example.seed % pool.held_out
        return pool.held_out + example.seed % known_scenes(examples, pool.first, pool.uses, pool.most)

    def _waited_for(self, index: int) -> Path:
        path = path_of(self._pool.folder, index)
        since = time.monotonic()
        while not path.is_file():
            if time.monotonic() - since > self._pool.patience:
                raise DpmError(f"{path} is not there; run with --only scenes first, or beside")
            time.sleep(1)
        return path
