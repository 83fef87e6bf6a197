# SPDX-License-Identifier: Apache-2.0
"""Windows into one map: the Sim(3) between two windows from the frames they share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..geometry.sim3 import DegenerateError, Sim3, robust_sim3
from ..types import Prediction

_MOST_PIXELS_A_FRAME = 4096  # the closed form gains nothing from more, and the chain must cost next to nothing


class MapChain:
    """Keeps map_from_window. The first window's reference camera and unit are the map's.

    A frame in two windows has the same pixels in both, and each pixel at its own time is the same point of the
    world, moving or not: corresponding points, from which the similarity follows in closed form.

    Attributes:
        linked: whether the newest window's similarity was measured; where not, its unit may be any.
    """

    def __init__(self) -> None:
        self.linked = True
        self._shared: dict[int, tuple[Tensor, Tensor]] = {}
        self._newest_stamp: int | None = None
        self._map_from_newest = Sim3.identity()

    def add(self, stamps: Sequence[int], prediction: Prediction) -> Sim3:
        """map_from_window of this window. stamps: of its S frames, nanoseconds.

        A window that shares no frame with the one before goes on from the last known camera, with its unit; one whose
        shared points determine no similarity (a network gone flat) goes on from that camera as it sees it now.
        """
        poses = prediction.world_from_camera.double().cpu().numpy()
        try:
            map_from_window = self._from_shared_points(stamps, prediction)
            self.linked = True
        except DegenerateError:
            self.linked = self._newest_stamp is None  # the first window's unit is the chain's own
            seen_now = stamps.index(self._newest_stamp) if self._newest_stamp in stamps else 0
            map_from_window = self._map_from_newest @ Sim3.from_pose(poses[seen_now]).inverse()

        self._newest_stamp = stamps[-1]
        self._map_from_newest = map_from_window @ Sim3.from_pose(poses[-1])
        self._shared = {
            stamp: (map_from_window.points(_thin(points).double()), _thin(conf))
            for stamp, points, conf in zip(stamps, prediction.own_points, prediction.own_conf, strict=True)
        }
        return map_from_window

    def _from_shared_points(self, stamps: Sequence[int], prediction: Prediction) -> Sim3:
        both = [(index, *self._shared[stamp]) for index, stamp in enumerate(stamps) if stamp in self._shared]
        if not both:
            raise DegenerateError("no frame is shared")
        in_window = torch.cat([_thin(prediction.own_points[index]).double() for index, _, _ in both])
        in_map = torch.cat([points for _, points, _ in both])
        conf_now = torch.cat([_thin(prediction.own_conf[index]) for index, _, _ in both])
        conf_before = torch.cat([conf for _, _, conf in both])
        return robust_sim3(in_window, in_map, (conf_now * conf_before).sqrt())


def _thin(pixels: Tensor) -> Tensor:
    """[H, W, ...] -> [N, ...]: every k-th row and column, the same ones in every window."""
    height, width = pixels.shape[:2]
    step = max(1, round((height * width / _MOST_PIXELS_A_FRAME) ** 0.5))
    return pixels[::step, ::step].reshape(-1, *pixels.shape[2:])
