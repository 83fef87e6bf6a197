# SPDX-License-Identifier: Apache-2.0
"""Where frames come from offline: a video, a folder of images or a bag, behind one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from ..errors import DpmError
from ..types import Frame
from .sensors import Sensors

Undecoded: TypeAlias = Callable[[], Frame]


class Source(ABC):
    """Frames in the order they were recorded. A context manager; each iteration starts from the beginning.

    Iterating raises DpmError where a frame cannot be read: frames are never left out in silence.

    Attributes:
        path: what was opened.
        name: it and, where there is a choice, which part of it, in a few words.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._every = 1
        self._limit: int | None = None
        self._skipped = 0

    def thin(self, every: int, limit: int | None) -> None:
        """Keep one frame of `every`, beginning with the first, and no more than `limit`."""
        if every < 1:
            raise DpmError(f"--every is {every}; it must be 1 or more")
        if limit is not None and limit < 1:
            raise DpmError(f"--limit is {limit}; it must be 1 or more")
        self._every, self._limit = every, limit

    def skip(self, count: int) -> None:
        """Leave out the first `count` of the frames that would come; they are not decoded."""
        self._skipped = count

    @property
    def length(self) -> int | None:
        """How many frames will come; None where the recording does not tell."""
        total = self._total()
        if total is None:
            return None
        kept = -(-total // self._every)
        return max(0, (kept if self._limit is None else min(kept, self._limit)) - self._skipped)

    def __iter__(self) -> Iterator[Frame]:
        start = self._skipped * self._every
        stop = None if self._limit is None else max(start, (self._limit - 1) * self._every + 1)
        for decode in islice(self._undecoded(), start, stop, self._every):
            yield decode()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _total(self) -> int | None:
        """Frames in the whole recording, None where it does not tell."""

    @abstractmethod
    def _undecoded(self) -> Iterator[Undecoded]:
        """A function a frame; frames that are left out are not decoded. Call one before taking the next."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the files."""


def open_source(
    path: str | Path,
    topic: str | None = None,
    every: int = 1,
    limit: int | None = None,
    fps: float = 30.0,
    sensors: Sensors | None = None,
) -> Source:
    """Open a recording, whatever it is.

    Args:
        path: a video file, a folder of images, or a rosbag2 (folder, .mcap or .db3 file; a ROS 1 .bag too).
        topic: of a bag, the image topic; needed where it has several.
        every: keep one frame of so many.
        limit: keep no more than so many.
        fps: of a folder, images a second where the file names tell no stamps.
        sensors: of a bag, what is read beside the images; None for the calibration alone.

    Raises:
        DpmError: the path is not there, is none of these, is damaged, or has no images.
    """
    path = Path(path)
    source = _open(path, topic, fps, sensors or Sensors())
    try:
        source.thin(every, limit)
    except DpmError:
        source.close()
        raise
    return source


def _open(path: Path, topic: str | None, fps: float, sensors: Sensors) -> Source:
    # Each reader brings a library of its own; only the one that is needed is imported.
    if not path.exists():
        raise DpmError(f"{path} is not there; give a video file, a folder of images or a rosbag2")
    if _is_bag(path):
        from .bag import BagSource

        return BagSource(path, topic, sensors)
    if topic is not None:
        raise DpmError(f"{path} is not a bag and has no topics; leave --topic out")
    if sensors.depth_topic is not None or sensors.odom_topic is not None:
        raise DpmError(f"{path} is not a bag and has no topics; leave --depth-topic and --odom-topic out")
    if path.is_dir():
        from .folder import FolderSource

        return FolderSource(path, fps)
    from .video import VideoSource

    return VideoSource(path)


_BAG_FILES = (".mcap", ".db3", ".bag")


def _is_bag(path: Path) -> bool:
    if not path.is_dir():
        return path.suffix in _BAG_FILES
    return (path / "metadata.yaml").exists() or any(inside.suffix in _BAG_FILES for inside in path.iterdir())
