# SPDX-License-Identifier: Apache-2.0
"""The Mixture-of-Laplace loss of SEA-RAFT (Wang et al., ECCV 2024, eq. 3-5), which trains D²USt3R's flow head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .pointmaps import example_means


def mixture_of_laplace_loss(
    flow: Tensor, mixture: Tensor, truth: Tensor, valid: Tensor, largest_log_scale: float = 10.0
) -> Tensor:
    """- mean log( a · Laplace(x; 1) + (1 - a) · Laplace(x; e^β) ), x the error of one coordinate.

    The first component has the fixed scale 1 (its β is 0), so that it keeps the ordinary L1 loss; the second takes what
    cannot be known, with β in [0, largest_log_scale]. Weight and scale are shared by both coordinates.

    Args:
        flow: [B, H, W, 2] predicted, pixels.
        mixture: [B, H, W, 2]: logit of a, and β before it is clamped.
        truth: [B, H, W, 2].
        valid: [B, H, W] bool.
        largest_log_scale: upper bound of β.

    Returns:
        Scalar: mean over the examples of their means over valid pixels and both coordinates.
    """
    error = torch.where(valid[..., None], flow - truth, 0.0).abs()
    logit, beta = mixture[..., :1], mixture[..., 1:].clamp(0, largest_log_scale)
    ordinary = F.logsigmoid(logit) - math.log(2) - error
    ambiguous = F.logsigmoid(-logit) - math.log(2) - beta - error * torch.exp(-beta)
    return example_means(-torch.logaddexp(ordinary, ambiguous).mean(-1), valid).mean()


def flow_sequence_loss(
    flows: Sequence[Tensor], mixtures: Sequence[Tensor], truth: Tensor, valid: Tensor, decay: float = 0.85
) -> Tensor:
    """Σ decay^(n - i) of the loss of refinement i of n: later ones count more."""
    losses = [mixture_of_laplace_loss(*pair, truth, valid) for pair in zip(flows, mixtures, strict=True)]
    weights = [decay ** (len(losses) - 1 - i) for i in range(len(losses))]
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()
