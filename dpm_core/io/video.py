# SPDX-License-Identifier: Apache-2.0
"""Frames of a video file; stamps are its own presentation times, as exact integers."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import DpmError
from ..types import Frame, UInt8
from .source import Source, Undecoded

_USE = "give a video such as .mp4, .mkv or .webm, a folder of images or a rosbag2"


class VideoSource(Source):
    """The first video stream of a file, turned upright where the file says how it was held."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, path.name)
        self._frames = self._count()

    def close(self) -> None:
        """Nothing stays open between iterations."""

    def _total(self) -> int | None:
        return self._frames

    def _count(self) -> int | None:
        with self._container() as container:
            # ffmpeg takes one image for a film of one frame, and reads text files as subtitles or ASCII art.
            if not container.streams.video or container.format.name in _NO_FILMS:
                raise DpmError(f"{self.path} is not a video; {_USE}")
            frames: int = container.streams.video[0].frames
            return frames or None  # 0 is ffmpeg's word for unknown

    def _container(self) -> Any:
        try:
            return av.open(str(self.path))
        except (av.FFmpegError, UnicodeDecodeError) as error:
            what = "is empty" if self.path.stat().st_size == 0 else "is not a video, or is cut short"
            raise DpmError(f"{self.path} {what} ({_reason(error)}); {_USE}") from error

    def _undecoded(self) -> Iterator[Undecoded]:
        with self._container() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            period = 1 / stream.average_rate if stream.average_rate else None
            decoded = container.decode(stream)
            index = 0
            while (picture := self._next(decoded, index)) is not None:
                yield partial(self._frame, picture, index, period)
                index += 1
            if index == 0:
                raise DpmError(f"{self.path} is a video with no frame; {_USE}")

    def _next(self, decoded: Iterator[Any], index: int) -> Any:
        try:
            return next(decoded, None)
        except (av.FFmpegError, UnicodeDecodeError) as error:
            raise DpmError(
                f"{self.path} is damaged after {index} frames ({_reason(error)}); "
                f"repair it, or take what comes before with --limit {index}"
            ) from error

    def _frame(self, picture: Any, index: int, period: Fraction | None) -> Frame:
        return Frame(self._stamp(picture, index, period), _upright(picture))

    def _stamp(self, picture: Any, index: int, period: Fraction | None) -> int:
        if picture.pts is not None:
            return int(picture.pts * picture.time_base * 1_000_000_000)
        if period is None:
            raise DpmError(f"{self.path} tells neither stamps nor a frame rate; rewrite it as .mp4 or .mkv")
        return int(index * period * 1_000_000_000)


_NO_FILMS = ("image2", "png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe", "svg_pipe", "tty")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or "its names are no text")


def _upright(picture: Any) -> UInt8:
    quarter_turns = round(getattr(picture, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(picture.to_ndarray(format="rgb24"), quarter_turns))
