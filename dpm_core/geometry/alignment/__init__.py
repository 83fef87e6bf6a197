# SPDX-License-Identifier: Apache-2.0
"""Global alignment of pairwise point maps."""

from .optimise import (
    DUST3R_ALIGNMENT,
    MONST3R_ALIGNMENT,
    POMATO_ALIGNMENT,
    Alignment,
    AlignmentConfig,
    align,
    matched_flow,
    measured_flow,
)

__all__ = [
    "DUST3R_ALIGNMENT",
    "MONST3R_ALIGNMENT",
    "POMATO_ALIGNMENT",
    "Alignment",
    "AlignmentConfig",
    "align",
    "matched_flow",
    "measured_flow",
]
