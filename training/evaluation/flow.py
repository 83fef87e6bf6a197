# SPDX-License-Identifier: Apache-2.0
"""Optical flow against the truth: endpoint error and KITTI's share of outliers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dpm_core.errors import DpmError


@dataclass(frozen=True)
class FlowMetrics:
    """Of a set of images.

    Attributes:
        epe: endpoint error, pixels: the mean of the images' means.
        outliers: "Fl-all", percent of valid pixels, those wrong by over 3 pixels and over 5 % of the true motion.
        per_image: [N] mean endpoint error of every image, pixels.
    """

    epe: float
    outliers: float
    per_image: Tensor


def flow_metrics(predicted: Tensor, truth: Tensor, valid: Tensor) -> FlowMetrics:
    """Judge flows.

    Args:
        predicted: [N, 2, H, W] pixels (u, v).
        truth: [N, 2, H, W].
        valid: [N, H, W] bool.

    Raises:
        DpmError: an image has no valid pixel.
    """
    empty = (~valid).flatten(1).all(1).nonzero().flatten().tolist()
    if empty:
        raise DpmError(f"image {empty[0]} has no pixel with a true flow; leave it out")
    error, motion = (predicted - truth).norm(dim=1), truth.norm(dim=1)
    per_image = (error * valid).sum((1, 2)) / valid.sum((1, 2))
    wrong = (error > 3) & (error > 0.05 * motion)
    return FlowMetrics(float(per_image.mean()), 100 * float(wrong[valid].float().mean()), per_image)
