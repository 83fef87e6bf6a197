# SPDX-License-Identifier: Apache-2.0
"""Bags as raw messages: read and written with no ROS, published and received with their bytes as they are."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import (
    Connection,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from dpm_core.errors import DpmError

_TYPES = get_typestore(Stores.LATEST)
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
    """Whatever the reader trips over within is the bag's fault, and said so in one line. A DpmError passes."""
    try:
        yield
    except DpmError:
        raise
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


def type_name(kind: type) -> str:
    """ "package/msg/Name" of a message class."""
    package, folder = kind.__module__.split(".")[:2]
    return f"{package}/{folder}/{kind.__name__}"


def repeatable(raw: bytes, kind: type) -> bytes:
    """The same message with zeros between its fields, where rclpy leaves whatever was in memory. raw: CDR bytes."""
    name = type_name(kind)
    return bytes(_TYPES.serialize_cdr(_TYPES.deserialize_cdr(raw, name), name))


def latched(connection: Connection) -> bool:
    """Whether the recorded publisher kept its last message for late subscribers, as /tf_static does."""
    offered = getattr(connection.ext, "offered_qos_profiles", [])
    return any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in offered)


class BagWriter:
    """Writes CDR messages into `path`: one .mcap file where it ends so, else a rosbag2 folder.

    What is not finished is not there: all goes into a hidden sibling that takes the name at the end. What is in the
    file depends on what was added and written, not on its name.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        """Begin a bag.

        Raises:
            DpmError: something of that name is there and may not be replaced, or nothing can be written there.
        """
        if path.exists() and not overwrite:
            raise DpmError(f"{path} exists; choose another name or add --overwrite")
        self.path = path
        self.count = 0
        self._part = path.with_name(f".{path.name}.part")
        with unwritable(path):
            shutil.rmtree(self._part, ignore_errors=True)
            self._part.mkdir(parents=True)
            self._writer = Writer(self._part / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()

    def add(self, topic: str, type_name: str, qos: QoSProfile) -> Connection:
        """Make room for a topic; where its messages go.

        Raises:
            DpmError: the type's definition is not known, so that nobody could read it back.
        """
        offered = [_recorded(qos)]
        room = self._known(topic, type_name, offered)
        if room is not None:
            return room
        if type_name not in _TYPES.fielddefs:
            raise DpmError(f"{topic} is of type {type_name}, which is no standard type; leave it out")
        return self._room(topic, type_name, Definition.standard(type_name), offered)

    def add_copy(self, connection: Connection) -> Connection | None:
        """Make room for what another bag has; None where its type's definition is in neither of the two.

        connection: of the other bag.
        """
        offered = list(getattr(connection.ext, "offered_qos_profiles", []))
        room = self._known(connection.topic, connection.msgtype, offered)
        definition = None if room else Definition.of(connection)
        if definition is None:
            return room
        return self._room(connection.topic, connection.msgtype, definition, offered)

    def _known(self, topic: str, type_name: str, offered: list[Qos]) -> Connection | None:
        same = (
            (room, room.ext) for room in self._writer.connections if (room.topic, room.msgtype) == (topic, type_name)
        )
        return next((room for room, ext in same if getattr(ext, "offered_qos_profiles", None) == offered), None)

    def _room(self, topic: str, type_name: str, definition: Definition, offered: list[Qos]) -> Connection:
        return self._writer.add_connection(
            topic, type_name, msgdef=definition.text, rihs01=definition.digest, offered_qos_profiles=offered
        )

    def write(self, room: Connection, stamp_ns: int, raw: bytes) -> None:
        """Add one message. room: as `add` gave it; stamp_ns: its log time.

        Raises:
            DpmError: the disk does not take it.
        """
        with unwritable(self.path):
            self._writer.write(room, stamp_ns, raw)
        self.count += 1

    def finish(self) -> None:
        """Complete the bag and give it its name."""
        with unwritable(self.path):
            self._writer.close()
            self._take_name()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._writer.abort()
        shutil.rmtree(self._part, ignore_errors=True)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.finish()
        else:
            self.abandon()

    def _take_name(self) -> None:
        finished = self._part / "bag"
        if self.path.suffix == ".mcap":
            finished = finished / "bag.mcap"
        if self.path.is_dir():
            shutil.rmtree(self.path)
        finished.replace(self.path)
        shutil.rmtree(self._part, ignore_errors=True)


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """What the disk refuses within is said in one line."""
    try:
        yield
    except OSError as error:
        raise DpmError(f"{path} cannot be written ({error.strerror or error}); make room, or choose another") from error


@dataclass(frozen=True)
class Definition:
    """What a bag tells of a message type, so that others can read it.

    Attributes:
        text: the definition with all it refers to, as .msg or IDL files.
        digest: its hash, RIHS01 of REP-2016.
    """

    text: str
    digest: str

    @classmethod
    def standard(cls, type_name: str) -> Definition:
        """Of a standard type."""
        return cls(_TYPES.generate_msgdef(type_name, ros_version=2)[0], _TYPES.hash_rihs01(type_name))

    @classmethod
    def of(cls, connection: Connection) -> Definition | None:
        """As a bag brings it, else that of the standard types; None where there is neither."""
        name, text = connection.msgtype, connection.msgdef.data
        if text:
            digest = connection.digest or _digest(connection)
            return cls(text, digest) if digest else None
        return cls.standard(name) if name in _TYPES.fielddefs else None


def _digest(connection: Connection) -> str | None:
    """The hash of an embedded definition; None where it cannot be understood."""
    types = get_typestore(Stores.EMPTY)
    try:
        for text in _parts(connection.msgdef.data):
            idl = connection.msgdef.format == MessageDefinitionFormat.IDL
            types.register(get_types_from_idl(text) if idl else get_types_from_msg(text, connection.msgtype))
        return types.hash_rihs01(connection.msgtype)
    except Exception:  # whatever the parser of somebody's definition stumbles over
        return None


def _parts(text: str) -> list[str]:
    """The IDL files within an embedded definition; one of .msg files is parsed as a whole."""
    line = "=" * 80 + "\n"
    if not text.startswith(f"{line}IDL: "):
        return [text]
    return [file.split("\n", 1)[1] for file in text.split(line)[1:]]


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
