# SPDX-License-Identifier: Apache-2.0
"""Colours by which a track is known in every viewer."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

import numpy as np

from ..types import UInt8

HUES = 24
_GOLDEN = 0.618033988749895  # hues of neighbours lie far apart, and none comes twice in a row


def hue_of(track: int) -> tuple[int, int, int]:
    """Red, green, blue of a track: one of `HUES`, by its id."""
    red, green, blue = colorsys.hsv_to_rgb(track % HUES * _GOLDEN % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def track_colors(ids: Iterable[int]) -> UInt8:
    """[N, 3] uint8, RGB, of N tracks."""
    return np.array([hue_of(int(each)) for each in ids], np.uint8).reshape(-1, 3)
