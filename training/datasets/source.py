# SPDX-License-Identifier: Apache-2.0
"""Windows of data sets on disk, read ahead by worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from dpm_core.errors import DpmError

from ..batches import Batch
from ..config import DataConfig
from ..readahead import check_workers, read_ahead
from ..records import Window, collate
from ..sampling import BatchRequest, Example
from .assemble import window
from .clip import Clip, UndecodableError

ATTEMPTS = 20
"""Windows tried in place of one that cannot be read, before the data set is given up."""


class DatasetSource(Dataset[Batch]):
    """The windows of data sets, each in its folder: `<folder>/<name>`."""

    def __init__(self, config: DataConfig, names: Sequence[str]) -> None:
        """Open the data sets.

        Raises:
            DpmError: a folder is not what it should be, or there are more workers than cores.
        """
        from . import find_dataset

        check_workers(config.workers)
        self._size = (config.height, config.width)
        self._workers = config.workers
        self._clips = {name: find_dataset(name).open(Path(config.folder) / name) for name in names}

    def batch(self, request: BatchRequest, device: torch.device) -> Batch:
        """Read now."""
        return self[request].to(device)

    def stream(self, requests: Iterable[BatchRequest], device: torch.device) -> Iterator[Batch]:
        """Read ahead."""
        return read_ahead(self, requests, self._workers, device)

    def __getitem__(self, request: BatchRequest) -> Batch:
        """One batch on the CPU; windows that cannot be read are replaced by others, and counted."""
        windows, undecodable = [], 0
        for example in request.examples:
            found, failed = self._window(example, request)
            windows.append(found)
            undecodable += failed
        return Batch(collate(windows), request, undecodable)

    def _window(self, example: Example, request: BatchRequest) -> tuple[Window, int]:
        last: UndecodableError | None = None
        for attempt in range(ATTEMPTS):
            draw = np.random.default_rng([example.seed, attempt])
            clip, frames = self._choose(example.dataset, request, draw)
            try:
                return window(clip, frames, request.times, self._size), attempt
            except UndecodableError as error:
                last = error
        raise DpmError(f"{example.dataset}: {ATTEMPTS} windows in a row cannot be read, the last because {last}")

    def _choose(self, dataset: str, request: BatchRequest, draw: np.random.Generator) -> tuple[Clip, list[int]]:
        """A clip that is long enough, and frames of it."""
        clips = self._clips[dataset]
        for index in draw.permutation(len(clips)):
            frames = clips[index].choose(draw, request.length, request.strides)
            if frames is not None:
                return clips[index], frames
        raise DpmError(
            f"{dataset}: no clip is long enough for {request.length} frames at stride {request.strides[0]}; "
            "leave the data set out of the mixture, or get its longer clips"
        )
