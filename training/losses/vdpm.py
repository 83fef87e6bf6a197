# SPDX-License-Identifier: Apache-2.0
"""V-DPM's loss (supplement §6, reference sheet §3.5)."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from dpm_core.models.vdpm import WindowMaps

from ..records import Window
from .camera import CameraLoss
from .matching import MatchingLoss
from .pointmaps import confidence_weighted, distance, example_means, mean_distance, scaled


@dataclass(frozen=True)
class VDPMLoss:
    """Confidence-weighted distance of all point maps, averaged within each example first, and the camera loss.

    The truth is brought to the reference camera and to a mean distance of 1 over the views' own points; the prediction
    is taken as it is, so that the network learns that scale. The own-time maps and the maps at the asked times are
    averaged apart: where a data set tracks a few points only, its own-time maps have thousands of times more pixels,
    which is the imbalance that averaging by example is for.

    Attributes:
        alpha: of - alpha log conf.
        camera_weight: of the camera loss.
        camera: its parts.
        matching: of attention between frames; not in the paper, and left out by default.
    """

    alpha: float = 0.2
    camera_weight: float = 5.0
    camera: CameraLoss = field(default_factory=CameraLoss)
    matching: MatchingLoss = field(default_factory=MatchingLoss)

    def __call__(self, maps: WindowMaps, truth: Window) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            maps: the network's, the maps at targets in the order of `truth.times`.
            truth: the windows, in the coordinates of the reference camera (`Window.in_camera`).

        Returns:
            Scalars: "loss", and its parts "own", "moved" and "camera" before weighting, and the plain mean distances
            "own_error" and "moved_error", in units of the mean distance, without gradient.
        """
        own_points, own_valid = truth.own_points()
        scale = mean_distance([(own_points, own_valid)])
        own_error = distance(maps.own.points, scaled(own_points, scale), own_valid)
        moved_error = distance(maps.at_targets.points, scaled(truth.points, scale), truth.valid)
        own = example_means(confidence_weighted(own_error, maps.own.conf, self.alpha), own_valid)
        moved = example_means(confidence_weighted(moved_error, maps.at_targets.conf, self.alpha), truth.valid)
        camera = self.camera(maps.pose_encodings, truth.world_from_camera, truth.intrinsics, truth.size, scale)
        return {
            "loss": (own + moved + self.camera_weight * camera).mean(),
            "own": own.detach().mean(),
            "moved": moved.detach().mean(),
            "camera": camera.detach().mean(),
            "own_error": example_means(own_error.detach(), own_valid).mean(),
            "moved_error": example_means(moved_error.detach(), truth.valid).mean(),
        }
