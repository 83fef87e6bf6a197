# SPDX-License-Identifier: Apache-2.0
"""3-D point tracks against the truth: the metrics of TAPVid-3D, every point a query point or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dpm_core.errors import DpmError
from dpm_core.types import Bool, Float64

PIXELS = (1.0, 2.0, 4.0, 8.0, 16.0)
METRES = (0.01, 0.04, 0.16, 0.64, 2.56)


@dataclass(frozen=True)
class Tracks:
    """N points over T times, each in the camera frame of its time.

    Attributes:
        points: [N, T, 3].
        visible: [N, T].
    """

    points: Float64
    visible: Bool


@dataclass(frozen=True)
class TrackMetrics:
    """Shares in 0…1.

    Attributes:
        points_within: "APD", of the visible points those within a threshold; mean over the thresholds.
        jaccard: "AJ", correct visible points to all that are or are said to be visible; mean over the thresholds.
        occlusion_accuracy: points whose visibility is said rightly.
        points_within_each: the first, by thresholds.
        jaccard_each: the second, by thresholds.
    """

    points_within: float
    jaccard: float
    occlusion_accuracy: float
    points_within_each: tuple[float, ...]
    jaccard_each: tuple[float, ...]


def track_metrics(
    predicted: Tracks,
    truth: Tracks,
    scaling: str = "median",
    focal: tuple[float, float] | None = None,
    query_times: Float64 | None = None,
) -> TrackMetrics:
    """Judge tracks.

    Args:
        predicted: of any scale.
        truth: the same points.
        scaling: key of SCALINGS, how the prediction's scale is found.
        focal: (fx, fy) pixels: a threshold is then 1, 2, 4, 8 or 16 pixels at the true depth; None for the fixed
            0.01, 0.04, 0.16, 0.64, 2.56 m.
        query_times: [N] the time at which each track was asked for; needed by some scalings.

    Raises:
        DpmError: the scaling is not known or needs query times, or the shapes differ.
    """
    if scaling not in SCALINGS:
        raise DpmError(f"scaling '{scaling}' is not known; choose one of: {', '.join(SCALINGS)}")
    if predicted.points.shape != truth.points.shape:
        raise DpmError(f"predicted tracks are {predicted.points.shape}, the true ones {truth.points.shape}")
    if scaling in _NEED_QUERIES and query_times is None:
        raise DpmError(f"scaling '{scaling}' needs the tracks' query times; give query_times")
    queries = np.zeros(len(truth.points)) if query_times is None else query_times
    scaled = predicted.points * SCALINGS[scaling](predicted, truth, np.round(queries).astype(np.int64))
    distance = np.linalg.norm(scaled - truth.points, axis=-1)
    if focal is None:
        thresholds = [np.full_like(distance, metres) for metres in METRES]
    else:
        thresholds = [pixels * truth.points[..., 2] / np.sqrt(focal[0] * focal[1]) for pixels in PIXELS]
    shares = [_at(distance < threshold, predicted.visible, truth.visible) for threshold in thresholds]
    within, jaccard = (tuple(column) for column in zip(*shares, strict=True))
    accuracy = float((predicted.visible == truth.visible).mean())
    return TrackMetrics(float(np.mean(within)), float(np.mean(jaccard)), accuracy, within, jaccard)


def _at(near: Bool, predicted_visible: Bool, visible: Bool) -> tuple[float, float]:
    """(share of the visible points that are near, Jaccard) at one threshold."""
    correct = near & visible
    true_positives = (correct & predicted_visible).sum()
    false_positives = (predicted_visible & ~correct).sum()
    return float(correct.sum() / visible.sum()), float(true_positives / (visible.sum() + false_positives))


Scaling = Callable[[Tracks, Tracks, np.ndarray], float | Float64]


def _ratio_of(mean: Callable[[Float64], float]) -> Scaling:
    """Ratio of the distances' means over the points that both sides call visible."""

    def scale(predicted: Tracks, truth: Tracks, queries: np.ndarray) -> float:
        both = predicted.visible & truth.visible
        return mean(_distance(truth)[both]) / mean(_distance(predicted)[both])

    return scale


def _median_on_queries(predicted: Tracks, truth: Tracks, queries: np.ndarray) -> float:
    """The same, of the points at their query times alone."""
    at = np.arange(len(queries)), queries
    both = (predicted.visible & truth.visible)[at]
    return float(np.median(_distance(truth)[at][both]) / np.median(_distance(predicted)[at][both]))


def _per_trajectory(predicted: Tracks, truth: Tracks, queries: np.ndarray) -> Float64:
    """Every track is right in depth at its query time."""
    at = np.arange(len(queries)), queries, 2
    return np.asarray(truth.points[at] / predicted.points[at])[:, None, None]


def _reproduce_2d(predicted: Tracks, truth: Tracks, queries: np.ndarray) -> Float64:
    """Every point is right in depth: what is left is the error across the line of sight."""
    return np.asarray(truth.points[..., 2:] / predicted.points[..., 2:])


def _distance(tracks: Tracks) -> Float64:
    return np.asarray(np.linalg.norm(tracks.points, axis=-1))


SCALINGS: dict[str, Scaling] = {
    "median": _ratio_of(lambda x: float(np.median(x))),
    "mean": _ratio_of(lambda x: float(np.mean(x))),
    "none": lambda predicted, truth, queries: 1.0,
    "per_trajectory": _per_trajectory,
    "median_on_queries": _median_on_queries,
    "reproduce_2d": _reproduce_2d,
}
_NEED_QUERIES = ("per_trajectory", "median_on_queries")
