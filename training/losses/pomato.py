# SPDX-License-Identifier: Apache-2.0
"""POMATO's losses: point maps and their matching, of pairs and of clips.

Its training code is not published. What is known (reference sheet §7.4): confidence losses with alpha 0.2 on all three
maps of a pair; temporal training adds them on all three outputs of a clip. The norm is Euclidean here, as DUSt3R's is.
The weights between the terms are unknown and 1 here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .pointmaps import confidence_weighted, distance, example_means, mean_distance, scaled


@dataclass(frozen=True)
class PomatoTruth:
    """Truth of a pair, all in the first camera.

    Attributes:
        points_1, points_2: [B, H, W, 3], each view at its own time.
        valid_1, valid_2: [B, H, W] bool.
        matching: [B, H, W, 3], X̄_m^{2,1}: the first view's point that each pixel of view 2 shows, at the first's time.
        matching_valid: [B, H, W] bool.
    """

    points_1: Tensor
    valid_1: Tensor
    points_2: Tensor
    valid_2: Tensor
    matching: Tensor
    matching_valid: Tensor


@dataclass(frozen=True)
class PomatoPairLoss:
    """Confidence losses on the two point maps and the matching map; one scale for the pair (eq. 2 of D²USt3R).

    Attributes:
        alpha: of - alpha log conf.
    """

    alpha: float = 0.2

    def __call__(
        self, points: tuple[Tensor, Tensor, Tensor], confs: tuple[Tensor, Tensor, Tensor], truth: PomatoTruth
    ) -> dict[str, Tensor]:
        """points: heads 1, 2, 3 (matching), [B, H, W, 3]; confs: [B, H, W]. Returns "loss" and its parts."""
        own = [(truth.points_1, truth.valid_1), (truth.points_2, truth.valid_2)]
        true_scale = mean_distance(own)
        predicted_scale = mean_distance([(points[0], truth.valid_1), (points[1], truth.valid_2)])
        targets = [*own, (truth.matching, truth.matching_valid)]
        parts = [
            _part(predicted, conf, target, valid, predicted_scale, true_scale, self.alpha)
            for predicted, conf, (target, valid) in zip(points, confs, targets, strict=True)
        ]
        return _named(parts, ("points_1", "points_2", "matching"))


@dataclass(frozen=True)
class PomatoTemporalTruth:
    """Truth of a clip of T frames.

    Attributes:
        depth_points: [B, T, H, W, 3], each frame in its own camera.
        depth_valid: [B, T, H, W] bool.
        recon_points: [B, T, H, W, 3], each frame at its own time in the keyframe's camera.
        recon_valid: [B, T, H, W] bool.
        tracking: [B, T, H, W, 3], where the keyframe's pixels are at each time, in that frame's camera.
        tracking_valid: [B, T, H, W] bool.
    """

    depth_points: Tensor
    depth_valid: Tensor
    recon_points: Tensor
    recon_valid: Tensor
    tracking: Tensor
    tracking_valid: Tensor


@dataclass(frozen=True)
class PomatoTemporalLoss:
    """The three outputs of a clip, each with one scale for the whole clip: that is what makes the scale steady.

    Attributes:
        alpha: of - alpha log conf.
    """

    alpha: float = 0.2

    def __call__(
        self,
        points: tuple[Tensor, Tensor, Tensor],
        confs: tuple[Tensor, Tensor, Tensor],
        truth: PomatoTemporalTruth,
    ) -> dict[str, Tensor]:
        """points: depth, recon, tracking, [B, T, H, W, 3]; confs: [B, T, H, W]. Returns "loss" and its parts."""
        targets = [
            (truth.depth_points, truth.depth_valid),
            (truth.recon_points, truth.recon_valid),
            (truth.tracking, truth.tracking_valid),
        ]
        parts = [
            _part(
                predicted, conf, *target, mean_distance([(predicted, target[1])]), mean_distance([target]), self.alpha
            )
            for predicted, conf, target in zip(points, confs, targets, strict=True)
        ]
        return _named(parts, ("depth", "recon", "tracking"))


def _part(
    points: Tensor,
    conf: Tensor,
    truth: Tensor,
    valid: Tensor,
    predicted_scale: Tensor,
    true_scale: Tensor,
    alpha: float,
) -> Tensor:
    error = distance(scaled(points, predicted_scale), scaled(truth, true_scale), valid)
    return example_means(confidence_weighted(error, conf, alpha), valid).mean()


def _named(parts: list[Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    named = {name: part.detach() for name, part in zip(names, parts, strict=True)}
    return {"loss": torch.stack(parts).sum(), **named}
