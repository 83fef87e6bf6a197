# SPDX-License-Identifier: Apache-2.0
"""What a data set's reader gives: clips of one camera, decoded view by view, with what is known of motion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpm_core.errors import DpmError
from dpm_core.geometry.fit import Fit
from dpm_core.types import Bool, Float32, Float64, UInt8


class UndecodableError(DpmError):
    """A file of a data set cannot be read. The window is replaced by another, and counted."""


@dataclass(frozen=True)
class View:
    """One decoded frame at its own resolution.

    Attributes:
        image: [H, W, 3] uint8, RGB.
        depth: [H, W] float32 along the optical axis; 0 where there is none.
        intrinsics: [3, 3] pixels of `image`, integer pixel centres.
        world_from_camera: [4, 4], OpenCV camera.
        seconds: from any origin.
        object_id: [H, W] int32, 0 what stands still, or None.
        dynamic: [H, W] bool, what moves, or None.
    """

    image: UInt8
    depth: Float32
    intrinsics: Float64
    world_from_camera: Float64
    seconds: float
    object_id: np.ndarray | None = None
    dynamic: Bool | None = None


@dataclass(frozen=True)
class Fitted:
    """A view at the size that is trained on. Depth and masks are of the nearest source pixel, never mixed.

    Attributes:
        image: [H, W, 3] uint8.
        depth: [H, W] float32.
        intrinsics: [3, 3] pixels of `image`.
        world_from_camera: [4, 4].
        seconds: from any origin.
        object_id, dynamic: [H, W], or None.
        rows, columns: [H], [W] source pixel of each pixel.
        fit: from the source to this size.
        points: [H, W, 3] float64 in the world, at the view's own time.
    """

    image: UInt8
    depth: Float32
    intrinsics: Float64
    world_from_camera: Float64
    seconds: float
    object_id: np.ndarray | None
    dynamic: Bool | None
    rows: np.ndarray
    columns: np.ndarray
    fit: Fit
    points: Float64

    @property
    def valid(self) -> Bool:
        """[H, W], where there is depth."""
        return self.depth > 0

    def from_source(self, pixels: Float64) -> Float64:
        """Pixels (u, v) [..., 2] of the source image as pixels of this one."""
        scale = np.array([new / old for new, old in zip(self.fit.resized, self.fit.source, strict=True)])[::-1]
        moved: Float64 = (pixels + 0.5) * scale - 0.5 - np.array(self.fit.origin)[::-1]
        return moved


Moved = tuple[Float64, Bool]
"""P[v, t]: [H, W, 3] in the world, and where it is known [H, W]."""


class Clip(ABC):
    """One video of one camera. Reading a view is the only slow thing."""

    metric = True

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def __len__(self) -> int:
        """Frames."""

    @abstractmethod
    def view(self, index: int) -> View:
        """Decode a frame.

        Raises:
            UndecodableError: one of its files cannot be read.
        """

    def moved(self, view: Fitted, index: int, time: int) -> Moved:
        """Where the content of frame `index` is at frame `time`; here: known at its own time only."""
        return view.points, view.valid & (time == index)

    def dynamic(self, view: Fitted, index: int, frames: Sequence[int]) -> Bool | None:
        """What moves within the window, [H, W]; None where it is not known."""
        return view.dynamic

    def choose(self, draw: np.random.Generator, length: int, strides: tuple[int, int]) -> list[int] | None:
        """Frames of a window: evenly spaced, at a stride that fits; None where the clip is too short."""
        spare = len(self) - 1
        most = strides[1] if length == 1 else min(strides[1], spare // (length - 1))
        if most < strides[0]:
            return None
        stride = int(draw.integers(strides[0], most + 1))
        first = int(draw.integers(spare - stride * (length - 1) + 1))
        return [first + stride * i for i in range(length)]


class StaticClip(Clip):
    """Nothing moves but the camera: every time sees the same points."""

    def moved(self, view: Fitted, index: int, time: int) -> Moved:
        """As at its own time."""
        return view.points, view.valid

    def dynamic(self, view: Fitted, index: int, frames: Sequence[int]) -> Bool | None:
        """Nothing."""
        return np.zeros_like(view.valid)


class PartlyKnownClip(Clip):
    """What moves is marked in the views, but not where it goes: the rest is known at all times."""

    def moved(self, view: Fitted, index: int, time: int) -> Moved:
        """As at its own time, where it stands still."""
        assert view.dynamic is not None
        return view.points, view.valid & (~view.dynamic | (time == index))


@dataclass(frozen=True)
class Dataset:
    """A data set that can be read.

    Attributes:
        name: of its folder, and in mixtures.
        origin: where it comes from and what must be done to it.
        layout: what is expected in the folder.
        clips: of the folder; raises DpmError where it is not as laid out.
    """

    name: str
    origin: str
    layout: str
    clips: Callable[[Path], list[Clip]]

    def open(self, folder: Path) -> list[Clip]:
        """Its clips, in a fixed order.

        Raises:
            DpmError: the folder is not there, or not as laid out: what is missing, and where it comes from.
        """
        if not folder.is_dir():
            raise DpmError(f"{self.name}: {folder} is not a folder; get the data set: {self.origin}")
        try:
            clips = self.clips(folder)
        except MissingError as missing:
            raise DpmError(f"{self.name}: {missing}; get the data set: {self.origin}") from missing
        if not clips:
            wanted = self.layout.strip().splitlines()[0].strip()
            raise DpmError(f"{self.name}: {folder} has no {wanted}; get the data set: {self.origin}")
        return clips


class MissingError(Exception):
    """Something that a layout promises is not there."""


def need(path: Path) -> Path:
    """The path, which must exist.

    Raises:
        MissingError: it does not.
    """
    if not path.exists():
        raise MissingError(f"{path} is missing")
    return path


def folders(folder: Path, pattern: str) -> list[Path]:
    """Folders that fit a pattern, sorted."""
    return sorted(path for path in folder.glob(pattern) if path.is_dir())
