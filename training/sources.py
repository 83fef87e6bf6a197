# SPDX-License-Identifier: Apache-2.0
"""Where the windows of a run come from: scenes made on the device, or data sets read from disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch.utils.data import Dataset

from dpm_core.errors import DpmError

from .batches import Batch, Source
from .config import DataConfig
from .readahead import check_workers, read_ahead
from .sampling import BatchRequest, mixture
from .synthetic import SyntheticConfig, SyntheticScenes

SYNTHETIC = "synthetic"


class SyntheticSource(Dataset[Batch]):
    """Scenes of the generator; the seed of an example is its place in one endless stream.

    They are made on the training device, or on the CPU by `data.workers` processes while the network learns: there,
    processes of one thread make more of them than threads of one process.
    """

    def __init__(self, config: DataConfig, device: torch.device) -> None:
        """Prepare.

        Raises:
            DpmError: there are more workers than cores, or the folder of photographs is not what it should be.
        """
        check_workers(config.workers)
        self._workers = config.workers
        photographs = Path(config.photographs) if config.photographs else None
        made_on = device if config.workers == 0 else torch.device("cpu")
        self._scenes = SyntheticScenes(SyntheticConfig(config.height, config.width), 0, made_on, photographs)
        # Pair losses must know what is hidden; finding it costs another ray a pixel, so only where it is asked.
        self._visible = any(mixture(name).times == "all" for name in (config.mixture, config.validation))

    def __getitem__(self, request: BatchRequest) -> Batch:
        """Made now, where scenes are made."""
        indices = [example.seed for example in request.examples]
        window = self._scenes.window(indices, request.times, self._visible, frames=request.length)
        return Batch(window, request)

    def batch(self, request: BatchRequest, device: torch.device) -> Batch:
        """Made now."""
        return self[request].to(device)

    def stream(self, requests: Iterable[BatchRequest], device: torch.device) -> Iterator[Batch]:
        """One after the other, or ahead by workers."""
        if self._workers == 0:
            return (self.batch(request, device) for request in requests)
        return read_ahead(self, requests, self._workers, device)


def source_of(config: DataConfig, device: torch.device) -> Source:
    """What makes the windows of a configuration.

    Raises:
        DpmError: made and recorded data are mixed, or a data set's folder is not what it should be.
    """
    names = {name for used in (config.mixture, config.validation) for name in mixture(used).datasets()}
    if names == {SYNTHETIC}:
        return SyntheticSource(config, device)
    if SYNTHETIC in names:
        raise DpmError("data.mixture and data.validation must both be synthetic or both of data sets")
    from .datasets import DatasetSource

    return DatasetSource(config, sorted(names))
