# SPDX-License-Identifier: Apache-2.0
"""D²USt3R's losses (eq. 1-10): static pixels by the cameras, moving pixels by their correspondence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .pointmaps import confidence_weighted, distance, example_means, mean_distance, scaled


@dataclass(frozen=True)
class PairMaps:
    """What a pair network says of one order of two views, in the first view's camera.

    Attributes:
        points_1, points_2: [B, H, W, 3], X^{1,1} and X^{2,1}.
        conf_1, conf_2: [B, H, W], C^{1,1} and C^{2,1}.
    """

    points_1: Tensor
    conf_1: Tensor
    points_2: Tensor
    conf_2: Tensor


@dataclass(frozen=True)
class PairTruth:
    """What is true of it.

    Attributes:
        points_1, points_2: [B, H, W, 3], each view at its own time, in the first camera.
        valid_1, valid_2: [B, H, W] bool, D¹ and D²: pixels that a term of the loss supervises. Moving pixels of view 2
            without a correspondence have no truth and belong in neither set: their confidence would grow unopposed.
        dynamic_2: [B, H, W] bool, M_dyn of view 2.
        aligned_2: [B, H, W, 3], X̄^{1,1}_{i+b(i)}: where view 1 sees the content of each pixel of view 2.
        aligned_valid_2: [B, H, W] bool, 1 - M_occ of view 2, and known.
    """

    points_1: Tensor
    valid_1: Tensor
    points_2: Tensor
    valid_2: Tensor
    dynamic_2: Tensor
    aligned_2: Tensor
    aligned_valid_2: Tensor


@dataclass(frozen=True)
class D2USt3RLoss:
    """L_total = L_static + L_dyn (eq. 9) over both orders of a pair.

    The sums over D¹ and D² are divided by the number of their pixels, as DUSt3R's training does, and then averaged over
    the batch: the loss keeps its size when the image does not.

    Attributes:
        alpha: of - alpha log conf.
    """

    alpha: float = 0.2

    def __call__(self, orders: tuple[PairMaps, PairMaps], truths: tuple[PairTruth, PairTruth]) -> dict[str, Tensor]:
        """orders, truths: of (view 1, view 2) and of (view 2, view 1). Returns "loss", "static" and "dynamic"."""
        parts = [self.one_order(maps, truth) for maps, truth in zip(orders, truths, strict=True)]
        static = sum(part[0] for part in parts)
        dynamic = sum(part[1] for part in parts)
        assert isinstance(static, Tensor)
        assert isinstance(dynamic, Tensor)
        return {
            "loss": (static + dynamic).mean(),
            "static": static.detach().mean(),
            "dynamic": dynamic.detach().mean(),
        }

    def one_order(self, maps: PairMaps, truth: PairTruth) -> tuple[Tensor, Tensor]:
        """L_static (eq. 6, 7) and one sum of L_dyn (eq. 8), of each example: [B], [B]."""
        predicted_scale = mean_distance([(maps.points_1, truth.valid_1), (maps.points_2, truth.valid_2)])
        true_scale = mean_distance([(truth.points_1, truth.valid_1), (truth.points_2, truth.valid_2)])
        points_1, points_2 = scaled(maps.points_1, predicted_scale), scaled(maps.points_2, predicted_scale)
        error_1 = distance(points_1, scaled(truth.points_1, true_scale), truth.valid_1)
        error_2 = distance(points_2, scaled(truth.points_2, true_scale), truth.valid_2 & ~truth.dynamic_2)
        static = example_means(confidence_weighted(error_1, maps.conf_1, self.alpha), truth.valid_1)
        static = static + example_means(confidence_weighted(error_2, maps.conf_2, self.alpha), truth.valid_2)
        moving = truth.valid_2 & truth.dynamic_2 & truth.aligned_valid_2
        aligned = maps.conf_2 * distance(points_2, scaled(truth.aligned_2, true_scale), moving)
        return static, example_means(aligned, truth.valid_2)


def dynamic_mask_loss(logit: Tensor, dynamic: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy of the mask head (eq. 10). logit: [B, ...]; dynamic, known: [B, ...] bool -> scalar."""
    entropy = F.binary_cross_entropy_with_logits(logit, dynamic.to(logit.dtype), reduction="none")
    return example_means(torch.where(known, entropy, 0.0), known).mean()
