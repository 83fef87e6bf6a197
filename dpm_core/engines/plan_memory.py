# SPDX-License-Identifier: Apache-2.0
"""Device memory that was not enough: what was needed, and which window would fit."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DpmError

GIB = 2**30


class OutOfDeviceMemoryError(DpmError):
    """The device has not enough memory; the message says what would fit."""


@dataclass(frozen=True)
class Need:
    """What a network needs on a device, bytes.

    Attributes:
        weights: whatever the window.
        window: for a window of `frames`: activations and buffers, which grow in proportion to its length.
        frames: its length.
    """

    weights: int
    window: int
    frames: int

    @property
    def total(self) -> int:
        """Weights and window."""
        return self.weights + self.window

    def longest_window(self, free: int) -> int:
        """The longest window, shorter than this one, that fits into so many bytes; 0 where none does."""
        share = (free - self.weights) * self.frames // max(self.window, 1)
        return max(0, min(share, self.frames - 1))


def shortage(what: str, need: Need, free: int) -> str:
    """One line: what does not fit, and what would."""
    said = (
        f"{what} needs about {need.total / GIB:.1f} GiB of device memory ({need.weights / GIB:.1f} for weights, "
        f"{need.window / GIB:.1f} for a window of {need.frames}), {free / GIB:.1f} are free"
    )
    longest = need.longest_window(free)
    if longest:
        return f"{said}; a window of {longest} would fit (--window {longest})"
    if need.weights < free:
        return f"{said}; smaller images would fit (--size)"
    return f"{said}; its weights alone do not fit: use --precision bf16, a smaller model, or the CPU"
