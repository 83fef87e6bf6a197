# SPDX-License-Identifier: Apache-2.0
"""Procedural 4-D scenes with exact truth, rendered in batches on the training device."""

from .config import SyntheticConfig
from .generator import SyntheticScenes

__all__ = ["SyntheticConfig", "SyntheticScenes"]
