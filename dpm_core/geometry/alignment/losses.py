# SPDX-License-Identifier: Apache-2.0
"""The terms of a global alignment. Sources: reference sheet §4.2 (DUSt3R), §5 (MonST3R), §7.3 (POMATO)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cameras import inverse_rigid, transform
from ..pairs import PairMaps
from .scene import Scene

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": lambda a, b: (a - b).norm(dim=-1),
    "l2": lambda a, b: (a - b).square().sum(-1),
}

CONFIDENCE_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "log": torch.log,
    "sqrt": torch.sqrt,
    "m1": lambda conf: conf - 1,
    "id": lambda conf: conf,
}


def pairwise_loss(scene: Scene, pairs: PairMaps, distance: str = "l1", confidence: str = "log") -> Tensor:
    """Σ w · |X_world − s P X_pair| over all pairs and both images, as a mean over the pixels of each side.

    Args:
        scene: the unknowns.
        pairs: what the network said.
        distance: key of DISTANCES.
        confidence: key of CONFIDENCE_WEIGHTS, the weight that a confidence becomes.
    """
    away, weight = DISTANCES[distance], CONFIDENCE_WEIGHTS[confidence]
    world_points, world_from_pair = scene.world_points(), scene.world_from_pair()
    i, j = pairs.ends()
    at_i = weight(pairs.conf_i) * away(world_points[i], transform(world_from_pair, pairs.points_i))
    at_j = weight(pairs.conf_j) * away(world_points[j], transform(world_from_pair, pairs.points_j))
    return at_i.mean() + at_j.mean()


def smoothing_terms(scene: Scene, translation_weight: float = 1.0) -> Tensor:
    """[N - 1] how far every camera is from the one before: |R_rel − I|_F + translation_weight · |t_rel|."""
    poses = scene.world_from_camera()
    step = inverse_rigid(poses[:-1]) @ poses[1:]
    turn = step[:, :3, :3] - torch.eye(3, dtype=step.dtype, device=step.device)
    terms: Tensor = turn.flatten(1).norm(dim=1) + translation_weight * step[:, :3, 3].norm(dim=1)
    return terms


def flow_loss(predicted: Tensor, target: Tensor, use: Tensor, outlier: float = 50.0) -> Tensor:
    """Smooth L1 (β 1) over the numbers whose loss is below `outlier`, a mean.

    Args:
        predicted: [..., H, W, 2] pixels.
        target: [..., H, W, 2] pixels.
        use: [..., H, W] bool, pixels that are static.
        outlier: numbers that lose more are left out.

    Returns:
        scalar, 0 where nothing is left.
    """
    loss = F.smooth_l1_loss(predicted, target, reduction="none")
    kept = use[..., None] & (loss < outlier)
    return torch.where(kept, loss, 0).sum() / kept.sum().clamp(min=1)


def depth_prior_loss(depths: Tensor, initial: Tensor, weight: Tensor) -> Tensor:
    """Mean weighted square by which the log depths left the initial ones, one common factor an image set aside.

    All three: [N, H, W], depths > 0.
    """
    change = depths.log() - initial.log()
    return (weight * (change - change.mean((1, 2), keepdim=True)).square()).mean()
