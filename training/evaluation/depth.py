# SPDX-License-Identifier: Apache-2.0
"""Depth metrics after one alignment a sequence. Source: reference sheet §5.1 (MonST3R's protocol)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import minimize
from torch import Tensor

from dpm_core.errors import DpmError

# Adam's share of a step, its number of steps, and the change of the loss below which it stops.
ADAM_RATE, ADAM_STEPS, ADAM_STILL = 1e-3, 500, 1e-6


@dataclass(frozen=True)
class DepthProtocol:
    """How a sequence is judged.

    Attributes:
        align: key of ALIGNMENTS.
        max_depth: ground truth at or beyond it does not count; None for no limit.
        before: (least, largest) prediction before the alignment; None for no limit.
        after: the same after it.
        disparity: the prediction is 1 / depth, and is aligned as such.
    """

    align: str = "median"
    max_depth: float | None = 80.0
    before: tuple[float | None, float | None] = (None, None)
    after: tuple[float | None, float | None] = (None, None)
    disparity: bool = False


@dataclass(frozen=True)
class DepthMetrics:
    """Means over the valid pixels of a sequence.

    Attributes:
        abs_rel: |p − g| / g.
        sq_rel: (p − g)² / g, unit of depth.
        rmse: root mean square of p − g, unit of depth.
        log_rmse: of log p − log g.
        delta_1, delta_2, delta_3: share of pixels with max(p / g, g / p) < 1.25, 1.25², 1.25³.
        valid_pixels: how many they were.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    log_rmse: float
    delta_1: float
    delta_2: float
    delta_3: float
    valid_pixels: int


def depth_metrics(
    predicted: Tensor, truth: Tensor, protocol: DepthProtocol = DepthProtocol(), mask: Tensor | None = None
) -> DepthMetrics:
    """Judge a whole sequence, aligned as one.

    Args:
        predicted: [N, H, W] depth, or disparity where the protocol says so.
        truth: [N, H, W] depth; 0 where it is not known.
        protocol: alignment and limits.
        mask: [N, H, W] bool, the pixels to judge, where not all (moving ones, say); None for all.

    Raises:
        DpmError: the alignment is not known, the shapes differ, or no pixel is valid.
    """
    if predicted.shape != truth.shape:
        raise DpmError(f"predicted depth is {list(predicted.shape)}, the truth {list(truth.shape)}; make them equal")
    if protocol.align not in ALIGNMENTS:
        raise DpmError(f"alignment '{protocol.align}' is not known; choose one of: {', '.join(ALIGNMENTS)}")
    valid = truth > 0
    if protocol.max_depth is not None:
        valid &= truth < protocol.max_depth
    judged = valid if mask is None else valid & mask
    if not judged.any():
        raise DpmError("no pixel has a true depth within the limit; check the truth's unit and max_depth")
    given = _clipped(predicted, protocol.before)
    # The mask says what is judged; the alignment may see everything that is valid.
    aligned = _aligned(given[judged], _alignment(given[valid], truth[valid], protocol), protocol)
    return _compare(_clipped(aligned, protocol.after), truth[judged])


def _alignment(p: Tensor, g: Tensor, protocol: DepthProtocol) -> tuple[float, float]:
    return ALIGNMENTS[protocol.align](p, 1 / g if protocol.disparity else g)


def _aligned(p: Tensor, fit: tuple[float, float], protocol: DepthProtocol) -> Tensor:
    scale, shift = fit
    aligned = scale * p + shift
    return 1 / aligned if protocol.disparity else aligned


def _compare(p: Tensor, g: Tensor) -> DepthMetrics:
    ratio = torch.maximum(p / g, g / p)
    return DepthMetrics(
        abs_rel=float(((p - g).abs() / g).mean()),
        sq_rel=float(((p - g).square() / g).mean()),
        rmse=float((p - g).square().mean().sqrt()),
        log_rmse=float((p.log() - g.log()).square().mean().sqrt()),
        delta_1=float((ratio < 1.25).float().mean()),
        delta_2=float((ratio < 1.25**2).float().mean()),
        delta_3=float((ratio < 1.25**3).float().mean()),
        valid_pixels=p.numel(),
    )


def _clipped(depth: Tensor, limits: tuple[float | None, float | None]) -> Tensor:
    return depth if limits == (None, None) else depth.clamp(*limits)


def _median(p: Tensor, g: Tensor) -> tuple[float, float]:
    """Ratio of the lower medians."""
    return float(g.median() / p.median()), 0.0


def _least_squares(p: Tensor, g: Tensor) -> tuple[float, float]:
    solution = torch.linalg.lstsq(torch.stack([p, torch.ones_like(p)], 1), g[:, None]).solution
    return float(solution[0]), float(solution[1])


def _least_absolute(p: Tensor, g: Tensor) -> tuple[float, float]:
    """Σ |s p + t − g| by BFGS from the median's scale."""
    p64, g64 = p.double().numpy(), g.double().numpy()
    found = minimize(lambda st: abs(st[0] * p64 + st[1] - g64).sum(), [*_median(p, g)])
    return float(found.x[0]), float(found.x[1])


def _least_absolute_by_adam(p: Tensor, g: Tensor) -> tuple[float, float]:
    """The same by Adam, which the published Sintel numbers were made with: it has not quite arrived when it stops."""
    fit = torch.tensor(_median(p, g)).requires_grad_()
    adam = torch.optim.Adam([fit], lr=ADAM_RATE)
    before = float("inf")
    for _ in range(ADAM_STEPS):
        loss = (fit[0] * p + fit[1] - g).abs().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        now = float(loss.detach())
        if abs(before - now) < ADAM_STILL:
            break
        before = now
    scale, shift = fit.tolist()
    return scale, shift


def _scale_only(p: Tensor, g: Tensor) -> tuple[float, float]:
    """Σ |s p − g| by ten rounds of Weiszfeld's reweighting from the ratio of the means."""
    scale = g.mean() / p.mean()
    for _ in range(10):
        weights = 1 / ((scale * p - g).abs() + 1e-8)
        scale = (weights * g * p).sum() / (weights * p * p).sum()
    return float(scale), 0.0


Alignment = Callable[[Tensor, Tensor], tuple[float, float]]

ALIGNMENTS: dict[str, Alignment] = {
    "none": lambda p, g: (1.0, 0.0),
    "median": _median,
    "least_squares": _least_squares,
    "least_absolute": _least_absolute,
    "least_absolute_adam": _least_absolute_by_adam,
    "scale": _scale_only,
}
"""prediction, truth of the valid pixels -> scale, shift."""
