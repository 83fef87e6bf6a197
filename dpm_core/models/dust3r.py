# SPDX-License-Identifier: Apache-2.0
"""DUSt3R, and MonST3R, which is the same network with other weights."""

from __future__ import annotations

from .pair_config import DUSt3RConfig
from .pairs import PairNetwork


class DUSt3RNetwork(PairNetwork):
    """Each view at its own time; nothing is said of other times. Source: reference sheet §4."""

    def __init__(self, config: DUSt3RConfig) -> None:
        super().__init__(config.croco, config.head, config.pairs_at_once)
        self.config = config
