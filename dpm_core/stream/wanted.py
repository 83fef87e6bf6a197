# SPDX-License-Identifier: Apache-2.0
"""What somebody listens to, and what the network must be asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..types import Request


@dataclass(frozen=True)
class Wanted:
    """The parts of an estimate that somebody listens to, beside camera, depth and confidence. The others stay empty.

    Attributes:
        cloud: every view of the window fused at the newest instant.
        motion: whose motion: of the "newest" frame (`dynamic`, `scene_flow`, the map and the tracks, which are made
            of it), of "all" views (velocities and flags of the cloud's points too), or of "none".
    """

    cloud: bool = True
    motion: Literal["none", "newest", "all"] = "all"

    def request(self, frames: int) -> Request:
        """What the network must be asked about a window of S = `frames`.

        Every view at its own time, by which windows are chained; every view now, for the cloud and the tracks; and
        the views whose motion is wanted at the window's oldest time.
        """
        everything = tuple(range(frames))
        now, past = everything[-1], everything[0]
        asked = {}
        if self.cloud or self.motion != "none":
            asked[now] = everything
        if self.motion != "none" and past != now:
            asked[past] = everything if self.motion == "all" else (now,)
        return Request(everything, tuple(asked), tuple(asked.values()))


EVERYTHING = Wanted()
