# SPDX-License-Identifier: Apache-2.0
"""Windows into one map: the Sim(3) between two windows from the frames they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry.sim3 import DegenerateError, Sim3, robust_sim3
from ..types import Prediction

# Errors of a point map are smooth: where they are 2 %, correlated over a twelfth of the image, a similarity is off by
# 2 mrad and 0.27 % of the depth, of all 37632 pixels of each frame, of 4200 and of 1064 alike.
_MOST_PIXELS_A_FRAME = 1200


class MapChain:
    """Keeps map_from_window. The first window's reference camera and unit are the map's.

    A frame in two windows has the same pixels in both, and each pixel at its own time is the same point of the
    world, moving or not: corresponding points, from which the similarity follows in closed form.

    Attributes:
        linked: whether the newest window's similarity was measured; where not, its unit may be any.
    """

    def __init__(self) -> None:
        self.linked = True
        self._before = _Thinned((), torch.empty(0, 0, 3), torch.empty(0, 0))
        self._map_from_before = Sim3.identity()
        self._newest_stamp: int | None = None
        self._map_from_newest = Sim3.identity()

    def add(self, stamps: Sequence[int], prediction: Prediction) -> Sim3:
        """map_from_window of this window. stamps: of its S frames, nanoseconds.

        A window that shares no frame with the one before goes on from the last known camera, with its unit; one whose
        shared points determine no similarity (a network gone flat) goes on from that camera as it sees it now.
        """
        poses = prediction.world_from_camera.double().cpu().numpy()
        now = _thinned(stamps, prediction)
        try:
            map_from_window = self._map_from_before @ self._before_from(now)
            self.linked = True
        except DegenerateError:
            self.linked = self._newest_stamp is None  # the first window's unit is the chain's own
            seen_now = stamps.index(self._newest_stamp) if self._newest_stamp in stamps else 0
            map_from_window = self._map_from_newest @ Sim3.from_pose(poses[seen_now]).inverse()

        self._newest_stamp = stamps[-1]
        self._map_from_newest = map_from_window @ Sim3.from_pose(poses[-1])
        self._before, self._map_from_before = now, map_from_window
        return map_from_window

    def _before_from(self, now: _Thinned) -> Sim3:
        """before_from_now. In the windows' own coordinates, so that float32 tells as much far from the map's origin."""
        before = self._before
        shared = [stamp for stamp in now.stamps if stamp in before.stamps]
        if not shared:
            raise DegenerateError("no frame is shared")
        in_window, conf_now = now.of(shared)
        in_before, conf_before = before.of(shared)
        return robust_sim3(in_window, in_before, (conf_now * conf_before).sqrt())


class _Thinned(NamedTuple):
    """Some pixels of each view of a window at its own time.

    Attributes:
        stamps: of its S frames, nanoseconds.
        points: [S, N, 3] float32.
        conf: [S, N] float32.
    """

    stamps: tuple[int, ...]
    points: Tensor
    conf: Tensor

    def of(self, stamps: Sequence[int]) -> tuple[Tensor, Tensor]:
        """[M, 3] points and [M] confidences of the views with these stamps, in their order."""
        rows = [self.stamps.index(stamp) for stamp in stamps]
        return self.points[rows].flatten(0, 1), self.conf[rows].flatten()


def _thinned(stamps: Sequence[int], prediction: Prediction) -> _Thinned:
    """Every k-th row and column, the same ones in every window."""
    height, width = prediction.own_conf.shape[1:]
    step = max(1, round((height * width / _MOST_PIXELS_A_FRAME) ** 0.5))
    points, conf = (maps[:, ::step, ::step].flatten(1, 2) for maps in (prediction.own_points, prediction.own_conf))
    return _Thinned(tuple(stamps), points, conf)
