# SPDX-License-Identifier: Apache-2.0
"""Similarity transforms, and the one that best takes points to points in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..kernels import Sim3Moments, sim3_moments, sim3_residuals
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

    def matrix(self) -> Float64:
        """[4, 4] float64 that takes homogeneous coordinates of b to those of a."""
        a_from_b = np.eye(4)
        a_from_b[:3, :3], a_from_b[:3, 3] = self.scale * self.rotation, self.translation
        return a_from_b

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
    covariance = ((weights * target_centred).T @ source_centred).numpy(force=True)
    variance = (weights * source_centred.square()).sum()
    return _closed_form(source_mean.numpy(force=True), target_mean.numpy(force=True), covariance, float(variance))


def robust_sim3(source: Tensor, target: Tensor, weights: Tensor, rounds: int = 4) -> Sim3:
    """`weighted_sim3`, reweighted `rounds` times by Cauchy's w / (1 + (r / c)²) with c twice the median residual r.

    Points and weights are taken in float32, residuals and sums in float64.

    Args, raises: as `weighted_sim3`; rows with a non-finite number or no weight are left out. Points whose spread is
    less than a millionth of their distance from the origin, which float32 cannot tell, have none.
    """
    pairs = [array.float().contiguous() for array in (source, target, weights)]
    target_from_source = _from_moments(sim3_moments(*pairs))
    for _ in range(rounds):
        estimate = torch.from_numpy(target_from_source.matrix())
        width = 2 * float(sim3_residuals(*pairs, estimate=estimate).nanmedian())
        if width == 0:
            break
        target_from_source = _from_moments(sim3_moments(*pairs, estimate=estimate, radius=width, loss="cauchy"))
    return target_from_source


def _from_moments(moments: Sim3Moments) -> Sim3:
    numbers = Sim3Moments(moments.row.cpu())
    if not numbers.weight > 0:
        raise DegenerateError("no point has weight")
    source_mean, target_mean = numbers.source_mean.numpy(), numbers.target_mean.numpy()
    # Moments about the origin have lost what is this small beside it.
    least = 1e-12 * float(np.linalg.norm(source_mean) * np.linalg.norm(target_mean))
    return _closed_form(source_mean, target_mean, numbers.covariance.numpy(), float(numbers.source_variance), least)


def _closed_form(
    source_mean: Float64, target_mean: Float64, covariance: Float64, source_variance: float, least: float = 0.0
) -> Sim3:
    """target_from_source of the moments (Umeyama 1991, eq. 40-42). least: covariance that counts as none."""
    U, singular, Vt = np.linalg.svd(covariance)
    least = max(least, 1e-12 * singular[0], 1e-300)
    if not (np.isfinite(singular).all() and source_variance > 0 and singular[1] > least):
        raise DegenerateError("the points have no spread in two directions")
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    rotation = U @ np.diag(signs) @ Vt
    scale = float(singular @ signs) / source_variance
    if not scale > 0:
        raise DegenerateError("the best scale is not positive")
    return Sim3(scale, rotation, target_mean - scale * (rotation @ source_mean))
