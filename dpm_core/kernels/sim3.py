# SPDX-License-Identifier: Apache-2.0
"""The sums that a similarity transform is computed from, and what it leaves unexplained."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ._camera import matrix
from ._checked import Arrays, one_of, positive
from ._native import call, native


class Sim3Moments(NamedTuple):
    """Weighted moments of pairs of points, float64, on their device. Each is a view of one row of numbers.

    Attributes:
        row: [19] all of them, in the order below.
    """

    row: Tensor

    @property
    def weight(self) -> Tensor:
        """[] sum of the weights."""
        return self.row[0]

    @property
    def source_mean(self) -> Tensor:
        """[3], NaN where the weight is zero, as the others."""
        return self.row[1:4]

    @property
    def target_mean(self) -> Tensor:
        """[3]."""
        return self.row[4:7]

    @property
    def covariance(self) -> Tensor:
        """[3, 3], mean of (target - target_mean) (source - source_mean)ᵀ."""
        return self.row[7:16].view(3, 3)

    @property
    def source_variance(self) -> Tensor:
        """[] mean of ‖source - source_mean‖²."""
        return self.row[16]

    @property
    def target_variance(self) -> Tensor:
        """[] mean of ‖target - target_mean‖²."""
        return self.row[17]

    @property
    def pairs(self) -> Tensor:
        """[] how many pairs counted."""
        return self.row[18]


def sim3_moments(
    source: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    estimate: Tensor | None = None,
    radius: float | None = None,
    loss: Literal["huber", "cauchy"] = "huber",
) -> Sim3Moments:
    """Weighted moments from which the best target_from_source similarity follows in closed form (Umeyama 1991).

    With an `estimate` and a `radius`, weights are multiplied by what a robust loss leaves of them, which is one step
    of iteratively reweighted least squares: min(1, radius / residual) for Huber's, 1 / (1 + (residual / radius)²) for
    Cauchy's (Holland and Welsch 1977). Sums are in float64 over fixed blocks, so that the same input gives
    the same bytes on one kind of device, whatever the number of threads.

    Args:
        source: [N, 3] float32.
        target: [N, 3] float32; pairs with a point that is not finite do not count.
        weight: [N] float32; pairs without a finite weight > 0 do not count.
        estimate: [4, 4] float32 or float64 target_from_source similarity of the step before, on the CPU.
        radius: the loss's scale, in the unit of `target`, > 0; with `estimate`.
        loss: "huber" or "cauchy"; with `estimate`.

    Returns:
        Sim3Moments.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    _check_pairs(source, target, weight)
    one_of("loss", loss, ("huber", "cauchy"))
    if (estimate is None) != (radius is None):
        raise ValueError("estimate and radius must be given together")
    if radius is not None:
        positive("radius", radius)
    if estimate is not None:
        matrix("estimate", estimate, 4)
    applied = native.Loss.square if estimate is None else getattr(native.Loss, loss)
    partial = source.new_empty((native.SIM3_BLOCKS, native.SIM3_SUMS), dtype=torch.float64)
    moments = source.new_empty(native.SIM3_SUMS, dtype=torch.float64)
    call(native.sim3_moments, source, target, weight, applied, estimate, radius or 0.0, partial, moments)
    return Sim3Moments(moments)


def sim3_residuals(source: Tensor, target: Tensor, weight: Tensor, *, estimate: Tensor) -> Tensor:
    """What a similarity leaves unexplained: ‖target - estimate · source‖ of each pair.

    Args:
        source, target, weight: as of `sim3_moments`.
        estimate: [4, 4] float32 or float64 target_from_source similarity, on the CPU.

    Returns:
        [N] float32, in the unit of `target`; NaN where a pair does not count.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    _check_pairs(source, target, weight)
    matrix("estimate", estimate, 4)
    residuals = torch.empty_like(weight)
    call(native.sim3_residuals, source, target, weight, estimate, residuals)
    return residuals


def _check_pairs(source: Tensor, target: Tensor, weight: Tensor) -> None:
    check = Arrays()
    check("source", source, torch.float32, "N 3")
    check("target", target, torch.float32, "N 3")
    check("weight", weight, torch.float32, "N")
