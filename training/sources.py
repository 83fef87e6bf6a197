# SPDX-License-Identifier: Apache-2.0
"""Where the windows of a run come from: scenes made on the device, or data sets read from disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from dpm_core.errors import DpmError

from .batches import Batch, Source
from .config import DataConfig
from .sampling import BatchRequest, mixture
from .synthetic import SyntheticConfig, SyntheticScenes

SYNTHETIC = "synthetic"


class SyntheticSource:
    """Scenes of the generator; the seed of an example is its place in one endless stream."""

    def __init__(self, config: DataConfig, device: torch.device) -> None:
        photographs = Path(config.photographs) if config.photographs else None
        self._scenes = SyntheticScenes(SyntheticConfig(config.height, config.width), 0, device, photographs)
        # Pair losses must know what is hidden; finding it costs another ray a pixel, so only where it is asked.
        self._visible = any(mixture(name).times == "all" for name in (config.mixture, config.validation))

    def batch(self, request: BatchRequest, device: torch.device) -> Batch:
        """Made now."""
        indices = [example.seed for example in request.examples]
        window = self._scenes.window(indices, request.times, self._visible, frames=request.length)
        return Batch(window.to(device), request)

    def stream(self, requests: Iterable[BatchRequest], device: torch.device) -> Iterator[Batch]:
        """One after the other."""
        return (self.batch(request, device) for request in requests)


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
