# SPDX-License-Identifier: Apache-2.0
"""Similarity transforms, and the one that best takes points to points in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..types import Float64


@dataclass(frozen=True)
class Sim3:
    """a_from_b: x_a = scale · rotation · x_b + translation.

    Attributes:
        scale: > 0, units of a per unit of b.
        rotation: [3, 3] float64.
        translation: [3] float64, units of a.
    """

    scale: float
    rotation: Float64
    translation: Float64

    @classmethod
    def identity(cls) -> Sim3:
        """The transform that changes nothing."""
        return cls(1.0, np.eye(3), np.zeros(3))

    @classmethod
    def from_pose(cls, a_from_b: Float64) -> Sim3:
        """A rigid transform as a similarity of scale 1. a_from_b: [4, 4]."""
        return cls(1.0, a_from_b[:3, :3], a_from_b[:3, 3])

    def __matmul__(self, other: Sim3) -> Sim3:
        """a_from_c = a_from_b @ b_from_c."""
        return Sim3(
            self.scale * other.scale,
            self.rotation @ other.rotation,
            self.scale * (self.rotation @ other.translation) + self.translation,
        )

    def inverse(self) -> Sim3:
        """b_from_a."""
        return Sim3(1 / self.scale, self.rotation.T, -(self.rotation.T @ self.translation) / self.scale)

    def points(self, points: Tensor) -> Tensor:
        """points: [..., 3] in b -> [..., 3] in a, same dtype and device."""
        return self.vectors(points) + points.new_tensor(self.translation)

    def vectors(self, vectors: Tensor) -> Tensor:
        """Differences of points, which know no origin. vectors: [..., 3] in b -> [..., 3] in a."""
        return vectors @ vectors.new_tensor(self.scale * self.rotation).T

    def pose(self, b_from_camera: Float64) -> Float64:
        """A camera's pose in a, still rigid. b_from_camera: [4, 4] -> a_from_camera: [4, 4] float64."""
        a_from_camera = np.eye(4)
        a_from_camera[:3, :3] = self.rotation @ b_from_camera[:3, :3]
        a_from_camera[:3, 3] = self.scale * (self.rotation @ b_from_camera[:3, 3]) + self.translation
        return a_from_camera


class DegenerateError(ValueError):
    """The points do not determine a similarity: fewer than three, no spread, or none with weight."""


def weighted_sim3(source: Tensor, target: Tensor, weights: Tensor) -> Sim3:
    """The target_from_source that minimises Σ wᵢ ‖targetᵢ − (s R sourceᵢ + t)‖² (Umeyama 1991, eq. 40-42, weighted).

    Args:
        source: [N, 3] finite.
        target: [N, 3] finite.
        weights: [N] >= 0.

    Raises:
        DegenerateError: the points do not determine a similarity.
    """
    source, target, weights = source.double(), target.double(), weights.double()
    total = weights.sum()
    if not total > 0:
        raise DegenerateError("no point has weight")
    weights = (weights / total)[:, None]
    source_mean, target_mean = (weights * source).sum(0), (weights * target).sum(0)
    source_centred, target_centred = source - source_mean, target - target_mean
    covariance = (weights * target_centred).T @ source_centred
    variance = (weights * source_centred.square()).sum()

    U, singular, Vt = np.linalg.svd(covariance.cpu().numpy())
    spread = float(variance)
    if not (np.isfinite(singular).all() and spread > 0 and singular[1] > 1e-12 * max(singular[0], 1e-300)):
        raise DegenerateError("the points have no spread in two directions")
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    rotation = U @ np.diag(signs) @ Vt
    scale = float(singular @ signs) / spread
    if not scale > 0:
        raise DegenerateError("the best scale is not positive")
    translation = target_mean.cpu().numpy() - scale * (rotation @ source_mean.cpu().numpy())
    return Sim3(scale, rotation, translation)


def robust_sim3(source: Tensor, target: Tensor, weights: Tensor, rounds: int = 4) -> Sim3:
    """`weighted_sim3`, reweighted `rounds` times by Cauchy's w / (1 + (r / c)²) with c twice the median residual r.

    Args, raises: as `weighted_sim3`; rows with a non-finite number or no weight are left out.
    """
    keep = torch.isfinite(source).all(-1) & torch.isfinite(target).all(-1) & (weights > 0)
    source, target, weights = source[keep].double(), target[keep].double(), weights[keep].double()
    target_from_source = weighted_sim3(source, target, weights)
    for _ in range(rounds):
        residual = (target - target_from_source.points(source)).norm(dim=-1)
        width = 2 * residual.median()
        if width == 0:
            break
        target_from_source = weighted_sim3(source, target, weights / (1 + (residual / width).square()))
    return target_from_source
