# SPDX-License-Identifier: Apache-2.0
"""How the learning rate goes over a run."""

from __future__ import annotations

import math

from .config import OptimiserConfig


def learning_rate(config: OptimiserConfig, progress: float) -> float:
    """The rate where `progress` of the run, 0 to 1, is done: linear to `lr`, then half a cosine to `least_lr`."""
    if progress < config.warmup:
        return config.lr * progress / config.warmup
    done = min(1.0, (progress - config.warmup) / max(1e-9, 1 - config.warmup))
    return config.least_lr + (config.lr - config.least_lr) * (1 + math.cos(math.pi * done)) / 2
