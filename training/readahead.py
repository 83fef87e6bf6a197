# SPDX-License-Identifier: Apache-2.0
"""Batches made or read ahead by worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from dpm_core.errors import DpmError

from .batches import Batch
from .sampling import BatchRequest


def check_workers(workers: int) -> None:
    """Every worker needs a core.

    Raises:
        DpmError: `data.workers` is negative or more than the cores that this process may use.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers > cores:
        raise DpmError(f"data.workers={workers} is more than this machine's {cores} cores; take {max(cores - 1, 1)}")
    if workers < 0:
        raise DpmError(f"data.workers={workers} is not possible; it must be 0 or more")


def read_ahead(
    batches: Dataset[Batch], requests: Iterable[BatchRequest], workers: int, device: torch.device
) -> Iterator[Batch]:
    """Batches in the order of the requests, made by `workers` processes of one thread each; by this one where 0.

    Args:
        batches: gives the batch of a request by `[request]`, on the CPU.
        requests: may be endless.
        workers: processes.
        device: where batches are wanted.
    """
    loader: DataLoader[Batch] = DataLoader(
        batches,
        batch_size=None,
        sampler=_Requests(requests),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
    return (batch.to(device) for batch in loader)


class _Requests(Sampler[BatchRequest]):
    """Requests as the sampler of a loader; endless."""

    def __init__(self, requests: Iterable[BatchRequest]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[BatchRequest]:
        return iter(self._requests)
