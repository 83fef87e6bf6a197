# SPDX-License-Identifier: Apache-2.0
"""Several devices as one: started by torchrun, or alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from dpm_core.errors import DpmError
from dpm_core.models.decoder import ConditionalBlock, Modulation
from dpm_core.models.layers import Block

BLOCKS = (Block, ConditionalBlock)
"""What is sharded, and run again backwards, as a unit."""


@dataclass(frozen=True)
class World:
    """This process among all.

    Attributes:
        rank, size: which of how many.
        device: what it computes on.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0


@contextmanager
def world(device: str) -> Iterator[World]:
    """The processes that torchrun started, or this one alone. device: "auto", "cpu" or "cuda".

    Raises:
        DpmError: a GPU is asked for and there is none.
    """
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind.startswith("cuda") and not torch.cuda.is_available():
        raise DpmError(f"device={device} needs a GPU and none is found; see `dpm doctor`, or take device=cpu")
    if "RANK" not in os.environ:
        yield World(0, 1, torch.device(kind))
        return
    here = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if kind == "cuda" else torch.device(kind)
    if here.type == "cuda":
        torch.cuda.set_device(here)
    dist.init_process_group("nccl" if here.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), here)
    finally:
        dist.destroy_process_group()


def shard(network: nn.Module) -> None:
    """Split weights over the devices, block by block (FSDP2), in place."""
    # Insides first. The decoder asks all its blocks' modulations before it runs the first block.
    for module in reversed(list(network.modules())):
        if isinstance(module, BLOCKS):
            fully_shard(module)
        elif isinstance(module, Modulation):
            fully_shard(module.lin)
    fully_shard(network)


def replicated(network: nn.Module, here: World) -> nn.Module:
    """The network with its gradients averaged over the devices (DDP)."""
    if here.size == 1:
        return network
    devices = [here.device] if here.device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=devices, gradient_as_bucket_view=True)


def gradients_stay_here(network: nn.Module) -> AbstractContextManager[object]:
    """Inside, backward does not talk to the other devices: all but the last batch of a step."""
    if isinstance(network, DistributedDataParallel):
        return network.no_sync()
    return _sharded_no_sync(network) if isinstance(network, FSDPModule) else nullcontext()


@contextmanager
def _sharded_no_sync(network: FSDPModule) -> Iterator[None]:
    network.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        network.set_requires_gradient_sync(True)


def mean(values: Mapping[str, Tensor], here: World) -> dict[str, float]:
    """Means over the devices of scalars, as plain numbers; waits for the device."""
    names = sorted(values)
    packed = torch.stack([values[name].detach().double() for name in names])
    if here.size > 1:
        dist.all_reduce(packed)
        packed /= here.size
    return dict(zip(names, packed.tolist(), strict=True))


def anywhere(flag: bool, here: World) -> bool:
    """Whether it is so in any process: all stop together or none."""
    if here.size == 1:
        return flag
    packed = torch.tensor(float(flag), device=here.device)
    dist.all_reduce(packed, dist.ReduceOp.MAX)
    return bool(packed.item())


def wait_for_all(here: World) -> None:
    """Return when every process is here."""
    if here.size > 1:
        dist.barrier()
