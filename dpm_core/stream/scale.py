# SPDX-License-Identifier: Apache-2.0
"""Metres in place of the network's unit: measured by what other sensors see, robust, and steady over windows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..geometry.fit import Fit
from ..geometry.sim3 import Sim3
from ..types import Float32, Float64, Frame, MetricScale, Prediction
from .config import ScaleConfig
from .scale_sources import Measurement, Odometer, from_depth, from_height

_FEWEST_STEPS = 3  # of the odometry: one may have slipped
_BEST_SIGMA = 0.01  # of any look: a network is not better, however well its pixels agree


@dataclass(frozen=True)
class Sight:
    """The newest frame as the chain of windows has it.

    Attributes:
        frame: what the camera and the other sensors gave, made straight.
        fit: how the image was brought to the network's size.
        prediction: of its window.
        chain_from_window: of its window.
    """

    frame: Frame
    fit: Fit
    prediction: Prediction
    chain_from_window: Sim3

    @property
    def pose(self) -> Float64:
        """[4, 4] float64, the camera in the chain's coordinates."""
        return self.chain_from_window.pose(self.prediction.world_from_camera[-1].double().cpu().numpy())

    @property
    def points(self) -> Float32:
        """[H, W, 3] in the camera, the chain's unit."""
        world_from_camera = self.prediction.world_from_camera[-1]
        points = (self.prediction.own_points[-1] - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
        return np.asarray((self.chain_from_window.scale * points).cpu().numpy(), np.float32)


class MetricMap:
    """Keeps map_from_chain, whose scale is metres per unit of the chain of windows as soon as that is known.

    The scale is the weighted median of the newest measurements: no single wrong one moves it, and as the chain's unit
    drifts the map's does not. Where it is corrected, the camera stays where it was last said to be, so that poses never
    jump: what comes next has the better scale, and what was said is not said again.
    """

    def __init__(self, config: ScaleConfig) -> None:
        self._config = config
        self._measured: deque[Measurement] = deque()
        self._odometer = Odometer()
        self._map_from_chain = Sim3.identity()
        self._metric = False
        self._last_centre = np.zeros(3)  # the chain begins in the first camera

    def configure(self, config: ScaleConfig) -> None:
        """Other knobs: what was measured by the old ones does not count any more."""
        if config != self._config:
            self._config = config
            self._forget()

    def place(self, sight: Sight, linked: bool) -> tuple[Sim3, MetricScale | None]:
        """map_from_chain at this frame, and the scale; None where it is not known, and lengths are the network's.

        Args:
            sight: the newest frame.
            linked: whether its window shares frames with the one before. Where not, the chain's unit is a new one.
        """
        if not linked:
            self._forget()
        self._measured.extend(self._looks(sight))
        while len(self._measured) > self._config.memory:
            self._measured.popleft()
        scale = self._known(len(sight.prediction.own_points))
        if scale is not None:
            self._rescale(scale.metres_per_unit)
        self._last_centre = sight.pose[:3, 3]
        return self._map_from_chain, scale

    def _forget(self) -> None:
        self._measured.clear()
        self._odometer.forget()

    def _looks(self, sight: Sight) -> Iterator[Measurement]:
        frame, config = sight.frame, self._config
        source = config.source
        found = []
        if source in ("auto", "depth") and frame.depth is not None:
            found.append(from_depth(sight.points[..., 2], frame.depth, sight.fit))
        if source in ("auto", "odometry") and frame.odom_from_camera is not None:
            found.append(self._odometer.measure(frame.odom_from_camera, sight.pose))
        if source in ("auto", "height") and config.camera_height > 0:
            found.append(from_height(sight.points, config.camera_height))
        return (look for look in found if look is not None)

    def _known(self, window: int) -> MetricScale | None:
        config = self._config
        if config.source == "fixed":
            return MetricScale(config.factor, 0.0, "fixed")
        if not self._measured or config.source == "none":
            return None
        if len(self._measured) < _FEWEST_STEPS and all(look.source == "odometry" for look in self._measured):
            return None
        scale = combined(self._measured, window)
        return scale if scale.relative_sigma <= config.max_sigma else None

    def _rescale(self, metres_per_unit: float) -> None:
        """x ↦ s′ x + t′ with s′ c + t′ = s c + t for the camera's last centre c; the first time, about the origin."""
        before, pivot = self._map_from_chain, self._last_centre
        if not self._metric:
            self._metric, pivot = True, np.zeros(3)
        translation = before.translation + (before.scale - metres_per_unit) * pivot
        self._map_from_chain = Sim3(metres_per_unit, before.rotation, translation)


def combined(looks: deque[Measurement], window: int) -> MetricScale:
    """The median of log scales, weighted by 1 / σ², and how sure it is.

    σ of a look is what it says of itself or how the looks scatter, whichever is larger; looks at frames of one window
    err together, and count as one.
    """
    logs, sigmas = np.array([(look.log_scale, look.sigma) for look in looks]).T
    sigmas = np.maximum(sigmas, _BEST_SIGMA)
    order = logs.argsort(kind="stable")
    weight = np.cumsum(sigmas[order] ** -2.0)
    middle = float(logs[order][np.searchsorted(weight, weight[-1] / 2)])
    scatter = 1.4826 * float(np.median(np.abs(logs - middle)))
    independent = max(1.0, len(looks) / window)
    sigma = max(scatter, float(np.median(sigmas))) * math.sqrt(math.pi / 2 / independent)
    sources = sorted({look.source for look in looks})
    return MetricScale(math.exp(middle), sigma, " and ".join(sources))
