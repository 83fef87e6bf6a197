# SPDX-License-Identifier: Apache-2.0
"""A bag's own messages and what was made of its images, as one bag in the order of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from . import bags
from .bag_camera import OUTPUTS, BagCamera


@dataclass(frozen=True)
class Results:
    """What was made of one camera.

    Attributes:
        topic: of its images.
        namespace: of the outputs that are relative, "" for none.
        camera: done.
    """

    topic: str
    namespace: str
    camera: BagCamera


def absolute(name: str, namespace: str) -> str:
    """The topic of an output, as the node has it in a namespace."""
    return name if name.startswith("/") else "/" + f"{namespace}/{name}".strip("/")


def merge(reader: Reader, writer: bags.BagWriter, results: Sequence[Results], advance: Callable[[], None]) -> list[str]:
    """Copy everything, each image followed by its results with the same log time.

    Args:
        reader: the bag whose images were processed.
        writer: the new bag.
        results: of every camera.
        advance: called once a message of the bag.

    Returns:
        Topics that were left out, since no definition of their type is known.
    """
    copies = {connection.id: writer.add_copy(connection) for connection in reader.connections}
    inserted = {each.topic: _Inserted(writer, each) for each in results}
    with bags.unreadable(reader.path):
        for connection, stamp_ns, raw in reader.messages(reader.connections):
            copy = copies[connection.id]
            if copy is not None:
                writer.write(copy, stamp_ns, bytes(raw))
            if connection.topic in inserted:
                inserted[connection.topic].after_image(stamp_ns)
            advance()
    return sorted({connection.topic for connection in reader.connections if copies[connection.id] is None})


class _Inserted:
    """Writes one camera's results, a frame at a time."""

    def __init__(self, writer: bags.BagWriter, results: Results) -> None:
        self._writer = writer
        self._rooms = _rooms(writer, results)
        self._frame = 0
        self._results = results.camera.results()
        self._next = next(self._results, None)

    def after_image(self, stamp_ns: int) -> None:
        """The results of the next frame. stamp_ns: the log time of its image."""
        while self._next is not None and self._next[0] == self._frame:
            _, name, raw = self._next
            self._writer.write(self._rooms[name], stamp_ns, raw)
            self._next = next(self._results, None)
        self._frame += 1


def _rooms(writer: bags.BagWriter, results: Results) -> dict[str, Connection]:
    """Where each output goes that has messages."""
    return {
        name: writer.add(absolute(name, results.namespace), bags.type_name(output.type), output.qos)
        for name, output in OUTPUTS.items()
        if results.camera.count.messages[name]
    }
