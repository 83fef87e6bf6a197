# SPDX-License-Identifier: Apache-2.0
"""Frames of a rosbag2, read with no ROS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, TopicInfo
from rosbags.typesys import Stores, get_typestore

from ..errors import DpmError
from ..types import Float64, Frame, UInt8
from .images import decode_compressed, decode_image
from .source import Source, Undecoded

_IMAGE = "sensor_msgs/msg/Image"
_IMAGES = (_IMAGE, "sensor_msgs/msg/CompressedImage")
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_DEPTH_ENCODINGS = ("16UC1", "32FC1", "64FC1")


class BagSource(Source):
    """One image topic of a bag, with the calibration of its camera.

    A frame's stamp is its header's (its arrival in the bag where the header has none), its intrinsics are those of the
    first CameraInfo beside the topic, where that is of the images' size.

    Attributes:
        topic: its name.
    """

    def __init__(self, path: Path, topic: str | None) -> None:
        self._reader = _open(path)
        self._standard = get_typestore(Stores.LATEST)
        super().__init__(path, path.name)
        try:
            with self._damage_named():
                self.topic, self._topic = self._choose(topic)
                self._calibration = self._first_calibration()
        except BaseException:
            self.close()
            raise
        self.name = f"{path.name} {self.topic}"

    def close(self) -> None:
        """Let go of the files."""
        self._reader.close()

    def _total(self) -> int:
        return self._topic.msgcount

    def _undecoded(self) -> Iterator[Undecoded]:
        with self._damage_named():
            for connection, arrival_ns, raw in self._reader.messages(self._topic.connections):
                yield partial(self._frame, connection, arrival_ns, raw)

    def _frame(self, connection: Connection, arrival_ns: int, raw: bytes) -> Frame:
        with self._damage_named():
            message = self._message(connection, raw)
        stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        try:
            image = _pixels(message)
        except DpmError as error:
            where = f"{self.path}, topic {self.topic}, stamp {stamp_ns} ns"
            raise DpmError(f"{where}: {error}") from error
        return Frame(stamp_ns or arrival_ns, image, message.header.frame_id or "camera", self._intrinsics(image))

    def _intrinsics(self, image: UInt8) -> Float64 | None:
        if self._calibration is None:
            return None
        size, intrinsics = self._calibration
        return intrinsics if size == image.shape[:2] else None

    def _choose(self, wanted: str | None) -> tuple[str, TopicInfo]:
        topics = self._reader.topics
        images = {name: each for name, each in topics.items() if each.msgtype in _IMAGES and each.msgcount}
        colour = {name: each for name, each in images.items() if not self._is_depth(each)}
        if wanted is not None and wanted not in colour:
            raise DpmError(f"{self.path} has no camera images on {wanted}; {self._choices(list(colour))}")
        if wanted is None and len(colour) != 1:
            problem = "several camera image topics" if colour else "no camera images"
            raise DpmError(f"{self.path} has {problem}; {self._choices(list(colour))}")
        name = wanted or next(iter(colour))
        return name, colour[name]

    def _choices(self, colour: list[str]) -> str:
        if colour:
            return "choose with " + " or ".join(f"--topic {topic}" for topic in sorted(colour))
        topics = self._reader.topics.items()
        return "its topics are: " + ", ".join(f"{name} ({each.msgtype}, {each.msgcount})" for name, each in topics)

    def _is_depth(self, topic: TopicInfo) -> bool:
        """By the first message; a topic without one is out already."""
        message = self._first(topic)
        words = message.encoding if topic.msgtype == _IMAGE else message.format
        return words.startswith(_DEPTH_ENCODINGS) or "compressedDepth" in words

    def _first_calibration(self) -> tuple[tuple[int, int], Float64] | None:
        """((height, width), [3, 3]) of the camera, None where it is not calibrated."""
        topics = self._reader.topics
        infos = {name: each for name, each in topics.items() if each.msgtype == _CAMERA_INFO and each.msgcount}
        above = PurePosixPath(self.topic).parents
        found = next((infos[name] for parent in above[:2] if (name := str(parent / "camera_info")) in infos), None)
        if found is None:
            return None
        info = self._first(found)
        intrinsics = np.asarray(info.K if hasattr(info, "K") else info.k, np.float64).reshape(3, 3)
        # Zeros are a driver's word for "not calibrated".
        return ((info.height, info.width), intrinsics) if intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0 else None

    def _first(self, topic: TopicInfo) -> Any:
        for connection, _, raw in self._reader.messages(topic.connections):
            return self._message(connection, raw)
        raise DpmError(f"{self.path} promises {topic.msgcount} messages of {topic.msgtype} and has none; {_REPAIR}")

    def _message(self, connection: Connection, raw: bytes) -> Any:
        # A bag may carry definitions of some types only.
        if connection.msgtype in self._reader.typestore.fielddefs:
            return self._reader.deserialize(raw, connection.msgtype)
        return self._standard.deserialize_cdr(raw, connection.msgtype)

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except DpmError:
            raise
        except Exception as error:  # the storage libraries answer damage with whatever they stumble over
            raise _damaged(self.path, error) from error


_REPAIR = "if it was cut short, repair it with `mcap recover` or `ros2 bag reindex`"


def _open(path: Path) -> AnyReader:
    storage = _storage(path)
    try:
        reader = AnyReader([storage], default_typestore=get_typestore(Stores.LATEST))
        reader.open()
    except Exception as error:  # the storage libraries answer damage with whatever they stumble over
        raise _damaged(path, error) from error
    if reader.message_count:
        return reader
    reader.close()
    raise DpmError(f"{path} is a bag with no message; record it anew or {_REPAIR}")


def _storage(path: Path) -> Path:
    """The bag itself: a recorder that was killed leaves a folder without metadata, and often one file in it."""
    if path.is_dir() and not (path / "metadata.yaml").exists():
        files = sorted(file for file in path.iterdir() if file.suffix in (".mcap", ".db3", ".bag"))
        if len(files) > 1:
            raise DpmError(f"{path} has {len(files)} bag files and no metadata.yaml; write it with `ros2 bag reindex`")
        path = files[0]
    if path.is_file() and path.stat().st_size == 0:
        raise DpmError(f"{path} is empty; record it anew")
    return path


def _damaged(path: Path, error: Exception) -> DpmError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DpmError(f"{path} cannot be read as a bag ({reason}); {_REPAIR}")


def _pixels(message: Any) -> UInt8:
    if hasattr(message, "format"):
        return decode_compressed(message.format, message.data)
    return decode_image(
        message.encoding, message.height, message.width, message.step, bool(message.is_bigendian), message.data
    )
