# SPDX-License-Identifier: Apache-2.0
"""The last S frames, each with what was computed of it once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np
from torch import Tensor

from ..types import Frame


@dataclass(frozen=True)
class Seen:
    """A frame in the window: its stamp and what the encoder made of it.

    Attributes:
        stamp_ns: the frame's own stamp.
        colors: [H, W, 3] uint8, RGB, at the network's size.
        tokens: [P, C], the encoder's.
    """

    stamp_ns: int
    colors: Tensor
    tokens: Tensor


class Break(Enum):
    """Why a frame cannot follow the ones before it."""

    REPEATED = "a stamp came twice"
    BACKWARDS = "time went back"
    GAP = "a gap in time"
    RESOLUTION = "another image size"
    CAMERA = "another camera frame"
    CALIBRATION = "another calibration"


class Window:
    """The newest `length` frames, oldest first. All of one size, one camera, with growing stamps."""

    def __init__(self, length: int, max_gap_s: float) -> None:
        self.length = length
        self.max_gap_s = max_gap_s
        self._seen: deque[Seen] = deque(maxlen=length)
        self._last: Frame | None = None

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def seen(self) -> list[Seen]:
        """The frames, oldest first."""
        return list(self._seen)

    @property
    def stamps(self) -> list[int]:
        """Their stamps, nanoseconds."""
        return [seen.stamp_ns for seen in self._seen]

    def break_before(self, frame: Frame) -> Break | None:
        """What separates `frame` from the window, if anything does."""
        last = self._last
        if last is None:
            return None
        if frame.stamp_ns == last.stamp_ns:
            return Break.REPEATED
        if frame.stamp_ns < last.stamp_ns:
            return Break.BACKWARDS
        if frame.stamp_ns - last.stamp_ns > self.max_gap_s * 1e9:
            return Break.GAP
        if frame.image.shape != last.image.shape:
            return Break.RESOLUTION
        if frame.frame_id != last.frame_id:
            return Break.CAMERA
        if not _same_calibration(frame, last):
            return Break.CALIBRATION
        return None

    def push(self, frame: Frame, colors: Tensor, tokens: Tensor) -> None:
        """Let the newest frame in and the oldest out. colors: [H, W, 3], tokens: [P, C]."""
        self._seen.append(Seen(frame.stamp_ns, colors, tokens))
        self._last = frame

    def clear(self) -> None:
        """Forget all frames."""
        self._seen.clear()
        self._last = None


def _same_calibration(one: Frame, other: Frame) -> bool:
    if one.intrinsics is None or other.intrinsics is None:
        return one.intrinsics is other.intrinsics
    return one.lens == other.lens and np.array_equal(one.intrinsics, other.intrinsics)
