# SPDX-License-Identifier: Apache-2.0
"""The session's few knobs."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import DpmError


@dataclass(frozen=True)
class SessionConfig:
    """How frames become estimates. Lengths are fractions of the scene's median depth, so no unit is needed.

    Attributes:
        window: frames that the network sees at once (structural: a change needs a new session).
        max_gap_s: a longer time between two frames breaks their context, and the window starts anew; seconds.
        min_confidence: points the network trusts less stay out of the cloud.
        dynamic_factor: k of POMATO eq. 9: a pixel moves that moved more than k times the median.
        dynamic_floor: nothing moves that moved less than this fraction of the median depth within the window.
        voxel: points nearer to each other than about this fraction of the median depth are fused into one.
    """

    window: int = 5
    max_gap_s: float = 1.0
    min_confidence: float = 1.5
    dynamic_factor: float = 3.0
    dynamic_floor: float = 0.03
    voxel: float = 0.005

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.window < 1:
            raise DpmError(f"window is {self.window}; it must be 1 or more frames")
        for field in fields(self):
            value = getattr(self, field.name)
            if not value >= 0 or value == float("inf"):
                raise DpmError(f"{field.name} is {value}; it must be a finite number, 0 or more")
        if self.voxel == 0:
            raise DpmError("voxel is 0; it must be more, such as 0.005 of the median depth")
