# SPDX-License-Identifier: Apache-2.0
"""Frames of a rosbag2, read with no ROS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, TopicInfo
from rosbags.typesys import Stores, get_typestore

from ..errors import DpmError
from .bag_frames import BagFrames
from .camera_info import Calibration, read_calibration
from .sensors import Sensors
from .source import Source, Undecoded

_IMAGE = "sensor_msgs/msg/Image"
_IMAGES = (_IMAGE, "sensor_msgs/msg/CompressedImage")
_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_ODOMETRY = "nav_msgs/msg/Odometry"
_TRANSFORMS = "tf2_msgs/msg/TFMessage"
_STATIC = "/tf_static"
_DEPTH_ENCODINGS = ("16UC1", "32FC1", "64FC1")


class BagSource(Source):
    """One image topic of a bag, with the calibration of its camera.

    A frame's stamp is its header's (its arrival in the bag where the header has none). Its calibration is that of the
    newest CameraInfo beside the topic, of the first one before any came, where that is of the images' size. Depth and
    odometry are those of its stamp.

    Attributes:
        topic: its name.
    """

    def __init__(self, path: Path, topic: str | None, sensors: Sensors | None = None) -> None:
        self._sensors = sensors or Sensors()
        self._reader = _open(path)
        self._standard = get_typestore(Stores.LATEST)
        super().__init__(path, path.name)
        try:
            with self._damage_named():
                self.topic, self._topic = self._choose(topic)
                self._roles = self._roles_of_topics()
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
        frames = BagFrames(f"{self.path}, topic {self.topic}", self._sensors, self._calibration)
        connections = [each for each in self._reader.connections if each.topic in self._roles]
        with self._damage_named():
            for connection, arrival_ns, raw in self._reader.messages(connections):
                message = self._message(connection, raw)
                yield from frames.put(self._roles[connection.topic], message, arrival_ns)
        yield from frames.rest()

    def _choose(self, wanted: str | None) -> tuple[str, TopicInfo]:
        topics = self._reader.topics
        images = {
            name: each
            for name, each in topics.items()
            if each.msgtype in _IMAGES and each.msgcount and name != self._sensors.depth_topic
        }
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

    def _roles_of_topics(self) -> dict[str, str]:
        """What is read, and as what."""
        sensors = self._sensors
        roles = {self.topic: "image"}
        info = self._calibration_topic()
        if sensors.calibration and info is not None:
            roles[info] = "calibration"
        if sensors.depth_topic is not None:
            roles[self._existing(sensors.depth_topic, "--depth-topic", _IMAGES)] = "depth"
        if sensors.odom_topic is not None:
            topic = self._existing(sensors.odom_topic, "--odom-topic", (_ODOMETRY, _TRANSFORMS))
            roles[topic] = "odometry" if self._reader.topics[topic].msgtype == _ODOMETRY else "transform"
            if _STATIC in self._reader.topics:
                roles[_STATIC] = "static transform"
        return roles

    def _existing(self, topic: str, option: str, kinds: tuple[str, ...]) -> str:
        found = self._reader.topics.get(topic)
        if found is None or found.msgtype not in kinds or not found.msgcount:
            fitting = [name for name, each in self._reader.topics.items() if each.msgtype in kinds and each.msgcount]
            has = "it has: " + ", ".join(sorted(fitting)) if fitting else "it has none"
            raise DpmError(f"{self.path} has nothing for {option} on {topic} ({' or '.join(kinds)}); {has}")
        return topic

    def _calibration_topic(self) -> str | None:
        """Of the CameraInfo beside the images."""
        topics = self._reader.topics
        infos = {name for name, each in topics.items() if each.msgtype == _CAMERA_INFO and each.msgcount}
        above = PurePosixPath(self.topic).parents
        return next((name for parent in above[:2] if (name := str(parent / "camera_info")) in infos), None)

    def _first_calibration(self) -> Calibration | None:
        """Of the camera; None where it is not calibrated, or that is not asked."""
        for topic, role in self._roles.items():
            if role == "calibration":
                try:
                    return read_calibration(self._first(self._reader.topics[topic]))
                except DpmError as error:
                    raise DpmError(
                        f"{self.path}, topic {topic}: {error}; leave it out with --no-calibration"
                    ) from error
        return None

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
