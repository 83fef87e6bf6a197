# SPDX-License-Identifier: Apache-2.0
"""Averaged weights: what is validated and exported."""

from __future__ import annotations

import torch
from torch import nn


def averaging(decay: float, step: int) -> float:
    """The decay at a step: small at first, so that the first weights are soon forgotten."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average ← decay · average + (1 - decay) · network, for every parameter; buffers are copied."""
    ours, theirs = list(average.parameters()), list(network.parameters())
    torch._foreach_lerp_([p.data for p in ours], [p.data for p in theirs], 1 - decay)
    for mine, other in zip(average.buffers(), network.buffers(), strict=True):
        mine.copy_(other)
