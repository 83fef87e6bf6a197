# SPDX-License-Identifier: Apache-2.0
"""What training changes: weights, their average, and the optimiser's moments."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from dpm_core.checkpoints.files import read_weights
from dpm_core.checkpoints.loading import filled, spec_of
from dpm_core.checkpoints.registry import FAMILIES, NetworkSpec, find_spec
from dpm_core.errors import DpmError
from dpm_core.models import initialise

from . import ema
from .adapters import called
from .checkpoints import part
from .config import RunConfig
from .distributed import BLOCKS, World, replicated, shard
from .optimisers import optimisers

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class TrainState:
    """A network in training on this device, alone or with others.

    Attributes:
        network: the network itself; `wrapped` is what is called.
        average: the averaged network, or None.
        optimisers: over what is not frozen.
    """

    def __init__(self, config: RunConfig, here: World) -> None:
        self.network = build(config).to(here.device)
        freeze(self.network, config.frozen)
        self.average: nn.Module | None = None
        if config.optimiser.ema > 0:
            self.average = copy.deepcopy(self.network).requires_grad_(False)
        if config.checkpointing:
            recompute(self.network)
        if here.size > 1 and config.parallel == "fsdp":
            self.wrapped = called(self.network)
            shard(self.wrapped)
            if self.average is not None:
                shard(self.average)
        else:
            self.wrapped = replicated(called(self.network), here)
        self.network.train()
        self.optimisers = optimisers(self.network, config, fused=here.device.type == "cuda")

    def clip(self, largest: float) -> Tensor:
        """Scale the gradient to at most a norm; returns what it was, on the device; 0 clips nothing."""
        trained = [p for p in self.network.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, largest if largest > 0 else torch.inf)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def update(self, rate: float, decay: float) -> None:
        """One step of the optimiser and of the average."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
        if self.average is not None:
            ema.update(self.average, self.network, decay)

    def forget_gradients(self) -> None:
        """After a step, taken or skipped."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)

    def validated(self) -> nn.Module:
        """What is called to judge: the averaged network where there is one."""
        return called(self.network if self.average is None else self.average)

    def parameters(self) -> tuple[int, int]:
        """How many numbers are trained, and how many there are."""
        sizes = [(p.numel(), p.requires_grad) for p in self.network.parameters()]
        return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)

    def require_gradients(self) -> None:
        """Refuse parameters that the loss does not reach: they would never learn, and DDP would wait for them.

        Raises:
            DpmError: naming the first ones.
        """
        dead = [name for name, p in self.network.named_parameters() if p.requires_grad and p.grad is None]
        if dead:
            raise DpmError(
                f"{len(dead)} parameters take no part in the loss, such as {', '.join(dead[:3])}; add them to frozen"
            )

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, whole and on the CPU; every process must call it, and only the first gets it."""
        result: dict[str, Any] = {
            f"model.{k}": v for k, v in get_model_state_dict(self.network, options=_WHOLE).items()
        }
        if self.average is not None:
            result |= {f"average.{k}": v for k, v in get_model_state_dict(self.average, options=_WHOLE).items()}
        moments: dict[str, Any] = dict(get_optimizer_state_dict(self.network, self.optimisers, options=_WHOLE))
        self._groups = moments.get("param_groups", [])  # none on processes that get nothing
        for name, moment in moments.get("state", {}).items():
            result |= {f"moments.{key}.{name}": value for key, value in moment.items()}
        return result

    def plain(self) -> list[dict[str, Any]]:
        """The optimiser's groups as of the last `tensors()`, as plain values."""
        return [dict(group) for group in self._groups]

    def restore(self, tensors: dict[str, Tensor], plain: Sequence[dict[str, Any]]) -> None:
        """What `tensors()` and `plain()` gave.

        Raises:
            DpmError: the checkpoint is of another network.
        """
        state: dict[str, dict[str, Tensor]] = {}
        for key in ("step", "exp_avg", "exp_avg_sq", "momentum_buffer"):
            for name, value in part(tensors, f"moments.{key}.").items():
                state.setdefault(name, {})[key] = value
        moments: dict[str, Any] = {"state": state, "param_groups": [dict(group) for group in plain]}
        try:
            set_model_state_dict(self.network, dict(part(tensors, "model.")), options=_WHOLE)
            if self.average is not None:
                set_model_state_dict(self.average, dict(part(tensors, "average.")), options=_WHOLE)
            set_optimizer_state_dict(self.network, self.optimisers, moments, options=_WHOLE)
        except (RuntimeError, KeyError) as error:
            raise DpmError(
                f"checkpoint is not of this network or optimiser ({_line(error)}); start a new run with another out"
            ) from error


def spec_of_run(config: RunConfig) -> NetworkSpec:
    """The registry's line with the run's own sizes.

    Raises:
        DpmError: the sizes are of another family.
    """
    spec = find_spec(config.model)
    expected = FAMILIES[spec.family].config
    if not isinstance(config.network, expected):
        raise DpmError(
            f"network is a {type(config.network).__name__}; model={config.model} needs a {expected.__name__}"
        )
    return replace(spec, config=config.network)


def build(config: RunConfig) -> nn.Module:
    """The run's network with its first weights, float32 on the CPU.

    Raises:
        DpmError: the weights file is not of it.
    """
    spec = spec_of_run(config)
    if config.weights:
        file = read_weights(Path(config.weights))
        told = spec_of(file, spec)
        if told.config != spec.config:
            raise DpmError(f"{config.weights} is of other sizes than network; take its configuration or other weights")
        return filled(spec, file)
    with torch.device("meta"):
        network = spec.build()
    network.to_empty(device="cpu")
    initialise(network, config.seed)
    return network


def freeze(network: nn.Module, prefixes: Sequence[str]) -> None:
    """Keep parameters as they are whose name begins with a prefix; "*" in it stands for anything.

    Raises:
        DpmError: a prefix fits none.
    """
    for prefix in prefixes:
        found = [p for name, p in network.named_parameters() if fnmatchcase(name, prefix + "*")]
        if not found:
            known = sorted({name.split(".")[0] for name, _ in network.named_parameters()})
            raise DpmError(f"frozen '{prefix}' fits no parameter; they begin with {', '.join(known)}")
        for parameter in found:
            parameter.requires_grad_(False)


def recompute(network: nn.Module) -> None:
    """Run blocks again backwards in place of keeping what is inside them; the names of parameters stay."""
    for module in network.modules():
        if isinstance(module, BLOCKS):
            module.forward = partial(checkpoint, module.forward, use_reentrant=False)  # type: ignore[method-assign]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
