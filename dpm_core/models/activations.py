# SPDX-License-Identifier: Apache-2.0
"""From a head's raw numbers to points, depths and confidences."""

from __future__ import annotations

import torch
from torch import Tensor


def inv_log(x: Tensor) -> Tensor:
    """sign(x) (e^|x| − 1): the inverse of a signed log(1 + |y|), so that far and near are learned alike."""
    return x.sign() * torch.expm1(x.abs())


def expp1(x: Tensor) -> Tensor:
    """1 + e^x: a confidence, at least 1."""
    return 1 + x.exp()


def exp_norm(points: Tensor, smallest: float = 1e-8) -> Tensor:
    """DUSt3R's points: the vector's direction, its length d as e^d − 1. points: [..., 3]."""
    length: Tensor = torch.linalg.vector_norm(points, dim=-1, keepdim=True).clamp_min(smallest)
    return points / length * torch.expm1(length)
