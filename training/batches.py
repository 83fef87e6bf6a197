# SPDX-License-Identifier: Apache-2.0
"""Requests to windows on the training device, wherever they come from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from dpm_core.errors import DpmError

from .config import DataConfig
from .records import Window
from .sampling import BatchRequest, Sampler

ENOUGH_TO_JUDGE = 100
"""Windows before the share of bad ones counts: one bad frame among the first three is no verdict."""


@dataclass(frozen=True)
class Batch:
    """What a step works on.

    Attributes:
        window: the windows, one row an example of the request.
        request: what was asked.
        undecodable: windows that could not be read and were replaced by others.
    """

    window: Window
    request: BatchRequest
    undecodable: int = 0

    def to(self, device: torch.device) -> Batch:
        """On a device."""
        return replace(self, window=self.window.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """In memory that a GPU copies from by itself."""
        return replace(self, window=self.window.map(torch.Tensor.pin_memory))


class Source(Protocol):
    """Makes windows of requests. The same request gives the same windows, here and in any other process."""

    def batch(self, request: BatchRequest, device: torch.device) -> Batch:
        """One batch, now."""

    def stream(self, requests: Iterable[BatchRequest], device: torch.device) -> Iterator[Batch]:
        """Batches in the order of the requests, read ahead where that helps."""


class Batches:
    """The batches of a sampler: an iterator, and a context manager that lets go of readers."""

    def __init__(self, source: Source, sampler: Sampler, device: torch.device, config: DataConfig) -> None:
        self._stream = source.stream(sampler, device)
        self._bad_share = config.bad_share
        self._ahead: Batch | None = None
        self._windows = self._bad = 0
        self._waited = 0.0

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *error: object) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        self.look_ahead()
        batch, self._ahead = self._ahead, None
        assert batch is not None
        return batch

    def look_ahead(self) -> None:
        """Fetch the next batch, so that `next` has it at hand.

        Raises:
            DpmError: more windows than the stated share could not be read.
        """
        if self._ahead is not None:
            return
        began = time.monotonic()
        self._ahead = next(self._stream)
        self._waited += time.monotonic() - began
        self._bad += self._ahead.undecodable
        self._windows += len(self._ahead.request.examples) + self._ahead.undecodable
        if self._windows >= ENOUGH_TO_JUDGE and self._bad > self._bad_share * self._windows:
            raise DpmError(
                f"{self._bad} of {self._windows} windows could not be decoded, more than data.bad_share="
                f"{self._bad_share:g}; check the data sets' folders, or allow more"
            )

    def waited(self) -> float:
        """Seconds spent fetching since the last call."""
        seconds, self._waited = self._waited, 0.0
        return seconds
