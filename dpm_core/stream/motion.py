# SPDX-License-Identifier: Apache-2.0
"""What moves, and how: the difference of a point map between two times."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..kernels import pointmap_dynamic_mask, scene_flow
from ..types import Prediction
from .config import SessionConfig


@dataclass(frozen=True)
class Motion:
    """Every pixel's motion within the window, reference camera, network units.

    Attributes:
        velocity: [S, H, W, 3] units per second; NaN where a point is missing at one of the times.
        dynamic: [S, H, W] bool.
        known: whether the window spans time; where not, velocity is zero and nothing is dynamic.
    """

    velocity: Tensor
    dynamic: Tensor
    known: bool


def motion_between(now: Tensor, past: Tensor, seconds: float, depth: float, config: SessionConfig) -> Motion:
    """P[v, now] − P[v, past]: the same pixels at two times, both decoded, so that the decoder's bias cancels.

    Args:
        now: [S, H, W, 3] point maps at the newest time.
        past: [S, H, W, 3] the same at the window's oldest time.
        seconds: between the two, > 0.
        depth: the scene's median depth, the measure of the smallest motion that counts.
        config: the mask's thresholds (POMATO eq. 9: k × median).
    """
    dynamic = pointmap_dynamic_mask(now, past, factor=config.dynamic_factor, floor=config.dynamic_floor * depth)
    velocity = scene_flow(past, now, seconds=now.new_full((len(now),), seconds))
    return Motion(velocity, dynamic, known=True)


def no_motion(prediction: Prediction) -> Motion:
    """What one frame alone can say of motion: nothing."""
    points = prediction.own_points
    return Motion(torch.zeros_like(points), torch.zeros_like(points[..., 0], dtype=torch.bool), known=False)
