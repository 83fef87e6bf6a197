# SPDX-License-Identifier: Apache-2.0
"""What turns gradients into steps: AdamW, and Muon for the matrices where a run asks for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dpm_core.errors import DpmError

from .config import OptimiserConfig, RunConfig

_SMALLEST = 16
"""Matrices with a shorter side than this are left to AdamW: little is there to be made orthogonal."""


def optimisers(network: nn.Module, run: RunConfig, fused: bool) -> list[torch.optim.Optimizer]:
    """What updates the trained parameters of a network; every parameter belongs to one of them.

    Muon (Jordan et al. 2024) takes the nearest orthogonal matrix to the momentum of a matrix as its step, scaled to the
    size that a step of AdamW has (Liu et al. 2025, eq. 4), so that one rate serves both.

    Raises:
        DpmError: Muon is asked for and cannot be had.
    """
    config = run.optimiser
    matrices = _matrices(network) if config.matrices == "muon" else []
    adamw = torch.optim.AdamW(
        _groups(network, {id(p) for p in matrices}, config.weight_decay), lr=config.lr, betas=config.betas, fused=fused
    )
    if not matrices:
        return [adamw]
    return [adamw, _muon(matrices, config, run.parallel)]


def _muon(matrices: list[nn.Parameter], config: OptimiserConfig, parallel: str) -> torch.optim.Optimizer:
    muon: Any = getattr(torch.optim, "Muon", None)
    if muon is None:
        raise DpmError(
            f"optimiser.matrices=muon needs PyTorch 2.9 or newer, this is {torch.__version__}; take adamw or update"
        )
    if parallel == "fsdp":
        raise DpmError("optimiser.matrices=muon needs whole matrices, fsdp keeps shards; take parallel=ddp or adamw")
    made: torch.optim.Optimizer = muon(
        matrices, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return made


def _matrices(network: nn.Module) -> list[nn.Parameter]:
    trained = [p for p in network.parameters() if p.requires_grad and p.ndim == 2]
    return [p for p in trained if min(p.shape) >= _SMALLEST]


def _groups(network: nn.Module, elsewhere: set[int], weight_decay: float) -> list[dict[str, Any]]:
    """In two groups: matrices decay, vectors and scalars (biases, norms, scales) do not."""
    trained = [p for p in network.parameters() if p.requires_grad and id(p) not in elsewhere]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
