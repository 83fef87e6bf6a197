# SPDX-License-Identifier: Apache-2.0
"""Estimates as pictures: input | depth | moving, and below the cloud seen from the side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from ..types import Bool, Cloud, Estimate, Float32, Float64, UInt8

_MOVING = (255, 60, 40)
_CAMERA = (40, 120, 255)
_PAPER = 255
_INK = (90, 90, 90)


def picture(estimate: Estimate, path: Sequence[Float64]) -> UInt8:
    """The whole picture of one estimate.

    Args:
        estimate: of a frame.
        path: camera centres so far, [3] each, map coordinates.

    Returns:
        [H', W', 3] uint8, RGB.
    """
    top = panel(estimate)
    width = top.shape[1]
    below = side_view(estimate.cloud, estimate.unit, path, (round(0.4 * width), width))
    return np.concatenate([top, below])


def panel(estimate: Estimate) -> UInt8:
    """Input | depth | what moves, side by side: [H, 3 W, 3] uint8, RGB."""
    moving = "moving" if estimate.motion_known else "moving: not known yet"
    unit = "m" if estimate.unit == "m" else "units"
    near, far = depth_range(estimate.depth)
    parts = [
        _labelled(estimate.image, "input"),
        _labelled(depth_colors(estimate.depth), f"depth {near:.3g} to {far:.3g} {unit}"),
        _labelled(tinted(estimate.image, estimate.dynamic), moving),
    ]
    return np.concatenate(parts, axis=1)


def depth_range(depth: Float32) -> tuple[float, float]:
    """The depths between which colours run: the 2nd and 98th percentile; (0, 0) where there is no depth."""
    known = depth[np.isfinite(depth)]
    if not known.size:
        return 0.0, 0.0
    near, far = np.percentile(known, [2, 98])
    return float(near), float(far)


def depth_colors(depth: Float32) -> UInt8:
    """[H, W], NaN where there is none -> [H, W, 3] uint8, RGB: near is red, far is blue, nothing is black."""
    near, far = depth_range(depth)
    known = np.isfinite(depth)
    nearness = 1 - (np.where(known, depth, far) - near) / max(far - near, 1e-9)
    levels = (255 * nearness.clip(0, 1)).round().astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    return np.where(known[..., None], colors, 0).astype(np.uint8)


def tinted(image: UInt8, mask: Bool) -> UInt8:
    """The image in grey, with what moves in red. image: [H, W, 3], mask: [H, W]."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    red = (0.4 * grey + 0.6 * np.array(_MOVING)).astype(np.uint8)
    return np.where(mask[..., None], red, grey).astype(np.uint8)


def side_view(cloud: Cloud, unit: str, path: Sequence[Float64], size: tuple[int, int]) -> UInt8:
    """The cloud from the side, in parallel projection: forward of the map's origin is right, its down is down.

    Moving points are red, cameras blue; the bar tells the scale. Points nearer to the viewer hide those behind.

    Args:
        cloud: map coordinates.
        unit: "m" or "network".
        path: camera centres, [3] each.
        size: (height, width) of the picture.

    Returns:
        [height, width, 3] uint8, RGB.
    """
    canvas = np.full((*size, 3), _PAPER, np.uint8)
    centres = np.array(path, np.float64).reshape(-1, 3)
    corner, scale = _frame(cloud.points, centres, size)

    # The viewer stands to the right of the first camera and looks to its left: large x is near.
    order = np.argsort(cloud.points[:, 0])
    pixels = _project(cloud.points[order], corner, scale)
    colors = np.where(cloud.dynamic[order, None], np.array(_MOVING, np.uint8), cloud.colors[order])
    inside = ((pixels >= 0) & (pixels < (size[1], size[0]))).all(1)
    canvas[pixels[inside, 1], pixels[inside, 0]] = colors[inside]

    for x, y in _project(centres, corner, scale):
        cv2.circle(canvas, (int(x), int(y)), 2, _CAMERA, -1, cv2.LINE_AA)
    _axes(canvas)
    _scale_bar(canvas, scale, unit)
    return canvas


def _frame(points: Float32, centres: Float64, size: tuple[int, int]) -> tuple[Float64, float]:
    """What the picture shows: (z, y) of its first pixel, and pixels a unit. Far outliers do not count."""
    shown = [each[:, [2, 1]] for each in (points, centres) if len(each)]
    if not shown:
        return np.zeros(2), 1.0
    bounds = [np.percentile(each, [1, 99], axis=0) for each in shown]
    low = np.min([lower for lower, _ in bounds], 0)
    high = np.max([upper for _, upper in bounds], 0)
    room = np.array([size[1], size[0]])
    scale = float(0.86 * (room / np.maximum(high - low, 1e-6)).min())
    return (low + high) / 2 - room / (2 * scale), scale


def _project(points: Float32 | Float64, corner: Float64, scale: float) -> np.ndarray:
    """[N, 3] -> [N, 2] int pixels (x, y)."""
    pixels = (points[:, [2, 1]] - corner) * scale
    return np.clip(pixels, -1, 1 << 20).astype(np.int64)


def _axes(canvas: UInt8) -> None:
    origin, length = (14, 14), 28
    for name, tip in (("z", (origin[0] + length, origin[1])), ("y", (origin[0], origin[1] + length))):
        cv2.arrowedLine(canvas, origin, tip, _INK, 1, cv2.LINE_AA, tipLength=0.2)
        _write(canvas, name, (tip[0] + 4, tip[1] + 4), _INK)


def _scale_bar(canvas: UInt8, scale: float, unit: str) -> None:
    length = round_length(0.25 * canvas.shape[1] / scale)
    right, bottom = canvas.shape[1] - 14, canvas.shape[0] - 14
    left = right - round(length * scale)
    cv2.line(canvas, (left, bottom), (right, bottom), _INK, 2)
    _write(canvas, f"{length:g} {'m' if unit == 'm' else 'units'}", (left, bottom - 7), _INK)


def round_length(longest: float) -> float:
    """The longest of 1, 2, 5, 10, 20, … and their tenths that is no longer than `longest`."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= longest * (1 + 1e-9))


def _labelled(image: UInt8, text: str) -> UInt8:
    labelled = np.array(image, order="C")
    _write(labelled, text, (6, 15), (0, 0, 0), thickness=3)
    _write(labelled, text, (6, 15), (255, 255, 255))
    return labelled


def _write(image: UInt8, text: str, at: tuple[int, int], color: tuple[int, int, int], thickness: int = 1) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color, thickness, cv2.LINE_AA)
