# SPDX-License-Identifier: Apache-2.0
"""Bags as raw messages: read and written with no ROS, published and received with their bytes as they are."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dpm_core.errors import DpmError

_FOREVER = QosTime(2147483647, 4294967295)


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """A rosbag2 folder, or one .mcap or .db3 file of one.

    Raises:
        DpmError: it is not there or is none.
    """
    if not path.exists():
        raise DpmError(f"bag {path} does not exist; give a rosbag2 folder, an .mcap or a .db3 file")
    with unreadable(path):
        reader = Reader(path)
        reader.open()
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Whatever the reader trips over within is the bag's fault, and said so in one line."""
    try:
        yield
    except Exception as error:  # a broken file can break the reader in any way
        said = " ".join(str(error).split()) or type(error).__name__
        raise DpmError(f"bag {path} cannot be read ({said}); it may be cut short, or no rosbag2") from error


def messages(reader: Reader, connections: Sequence[Connection], start_ns: int) -> Iterator[tuple[str, int, bytes]]:
    """(topic, log time, CDR bytes) in order of time."""
    with unreadable(Path(str(reader.path))):
        for connection, stamp_ns, raw in reader.messages(connections, start=start_ns):
            yield connection.topic, stamp_ns, bytes(raw)


def message_class(name: str) -> type | None:
    """The class of "package/msg/Name", None where the package is not installed."""
    package, *kind, short = name.split("/")
    try:
        return getattr(importlib.import_module(".".join([package, *(kind or ["msg"])])), short, None)
    except ImportError:
        return None


def latched(connection: Connection) -> bool:
    """Whether the recorded publisher kept its last message for late subscribers, as /tf_static does."""
    offered = getattr(connection.ext, "offered_qos_profiles", [])
    return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in offered)


class BagWriter:
    """Writes CDR messages into `path`: one .mcap file where it ends so, else a rosbag2 folder.

    What is not finished is not there: all goes into a hidden sibling that takes the name at the end.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        if path.exists() and not overwrite:
            raise DpmError(f"{path} exists; choose another name or add --overwrite")
        self.path = path
        self.count = 0
        self._part = path.with_name(f".{path.name}.part")
        shutil.rmtree(self._part, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._types = get_typestore(Stores.LATEST)
        self._connections: dict[str, Connection] = {}
        self._writer = Writer(self._part, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()

    def add(self, topic: str, type_name: str, qos: QoSProfile) -> None:
        """Make room for a topic.

        Raises:
            DpmError: the type's definition is not known, so that nobody could read it back.
        """
        if type_name not in self._types.fielddefs:
            raise DpmError(f"{topic} is of type {type_name}, which is no standard type; leave it out")
        self._connections[topic] = self._writer.add_connection(
            topic, type_name, typestore=self._types, offered_qos_profiles=[_recorded(qos)]
        )

    def write(self, topic: str, stamp_ns: int, raw: bytes) -> None:
        """Add one message of a topic that was added. stamp_ns: its log time."""
        self._writer.write(self._connections[topic], stamp_ns, raw)
        self.count += 1

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None:
            self._writer.abort()
            shutil.rmtree(self._part, ignore_errors=True)
            return
        self._writer.close()
        self._take_name()

    def _take_name(self) -> None:
        finished = self._part
        if self.path.suffix == ".mcap":
            finished = next(self._part.glob("*.mcap"))
        if self.path.is_dir():
            shutil.rmtree(self.path)
        finished.replace(self.path)
        shutil.rmtree(self._part, ignore_errors=True)


def _recorded(qos: QoSProfile) -> Qos:
    reliable = qos.reliability == ReliabilityPolicy.RELIABLE
    kept = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=max(1, qos.depth),
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if kept else QosDurability.VOLATILE,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )


def common_qos(publishers: Sequence[Any], depth: int) -> QoSProfile:
    """The most that all publishers of a topic offer. publishers: TopicEndpointInfo."""
    reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers)
    kept = all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers)
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
    )
