# SPDX-License-Identifier: Apache-2.0
"""One camera of a bag through the session and the messages of the node, in pieces that outlive the process.

Its folder holds what is done: pieces, bags of the messages of some frames each, and what the session remembers after
the last of them. What comes after that, an unfinished piece, is made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message

from dpm_core.engines import Engine
from dpm_core.io.source import Source
from dpm_core.stream import Break, Outcome, PredictionError, Reader, RepeatedStampError, Session
from dpm_core.stream.snapshot import read_snapshot, write_snapshot
from dpm_core.types import Estimate, Frame

from . import bags, interface, parameters
from .publishing import EstimatePublisher, Frames

OUTPUTS = {output.name: output for output in interface.OUTPUTS if output is not interface.DIAGNOSTICS}

_SNAPSHOT = "memory.safetensors"
_MAP_EVERY_NS = 1_000_000_000
_A_FRAME = 1000  # log times in a piece are frame · 1000 + number of the message
_NO_MEMORY = (*Session.NO_MEMORY, "_publishers", "_frames")
_TRUSTED = ("dpm_core", "dpm_ros", "builtin_interfaces", "geometry_msgs", "nav_msgs", "std_msgs")


@dataclass
class Count:
    """What was done of a camera so far."""

    frames: int = 0
    estimates: int = 0
    pieces: int = 0
    finished: bool = False
    map_ns: int | None = None
    unit: str = "network"
    dropped: Counter[str] = field(default_factory=Counter)
    breaks: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)


class BagCamera:
    """A camera's frames to messages.

    Attributes:
        count: what is done.
        begun_at: how many frames were done before this process.
    """

    def __init__(self, folder: Path, engine: Engine, values: Mapping[str, Any], chosen: set[str]) -> None:
        """Begin, or go on where an earlier process ended.

        Args:
            folder: of this camera alone.
            engine: the network.
            values: the node's parameters.
            chosen: names of the outputs that are wanted.

        Raises:
            DpmError: what the earlier process left cannot be used.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.count = Count()
        self._folder = folder
        self._session = Session(engine, parameters.session_config(values))
        self._sent: list[tuple[str, bytes]] = []
        self._publishing = EstimatePublisher(self._publishers(chosen), Frames.of(values))
        self._piece: bags.BagWriter | None = None
        if (folder / _SNAPSHOT).exists():
            read_snapshot(folder / _SNAPSHOT, self._memory, _TRUSTED)
        self.begun_at = self.count.frames

    @property
    def _memory(self) -> dict[str, Any]:
        return {"session": self._session, "publishing": self._publishing, "count": self.count}

    def _publishers(self, chosen: set[str]) -> dict[str, Any]:
        return {name: _Kept(name, self._sent, name in chosen) for name in OUTPUTS}

    def run(self, source: Source, save_every: int, advance: Callable[[], None]) -> None:
        """Process what is not done yet. Interrupted at any moment, it loses no more than `save_every` frames.

        Args:
            source: the frames of the camera from the bag's beginning.
            save_every: frames of a piece.
            advance: called once a frame.

        Raises:
            DpmError: a frame cannot be read, or the disk does not take the results.
        """
        if self.count.finished:
            return
        source.skip(self.count.frames)
        try:
            with Reader(self._session, self._publishing.wanted()) as reader:
                for number, (frame, last) in enumerate(_with_last(source), self.count.frames + 1):
                    reader.add(frame, partial(self._take, last, advance))
                    if number % save_every == 0:
                        reader.drain()
                        self._save()
            self.count.finished = True
            self._save()
        finally:
            if self._piece is not None:
                self._piece.abandon()

    def _take(self, last: bool, advance: Callable[[], None], outcome: Outcome) -> None:
        count, broken = self.count, outcome.broken
        if broken is not None and broken is not Break.REPEATED:
            count.breaks[broken.value] += 1
        if broken is Break.BACKWARDS:
            self._publishing.forget()
        if count.frames == 0:
            self._publishing.publish_world(outcome.frame.stamp_ns)
        try:
            estimate = outcome.result()
        except RepeatedStampError:
            count.dropped["repeated stamp"] += 1
        except PredictionError:
            count.dropped["camera not finite"] += 1
            self._publishing.forget()
        else:
            self._publishing.publish(estimate)
            self._publish_map(estimate, last)
            count.estimates += 1
            count.unit = estimate.unit
        self._write()
        count.frames += 1
        advance()

    def _publish_map(self, estimate: Estimate, last: bool) -> None:
        """As often as the node does, by the images' time, and at the end."""
        since = None if self.count.map_ns is None else abs(estimate.stamp_ns - self.count.map_ns)
        if last or since is None or since >= _MAP_EVERY_NS:
            self._publishing.publish_map(estimate)
            self.count.map_ns = estimate.stamp_ns

    def _write(self) -> None:
        if self._sent and self._piece is None:
            self._piece = bags.BagWriter(self._piece_path(self.count.pieces), overwrite=True)
        for number, (name, raw) in enumerate(self._sent):
            assert self._piece is not None
            room = self._piece.add(name, bags.type_name(OUTPUTS[name].type), OUTPUTS[name].qos)
            self._piece.write(room, self.count.frames * _A_FRAME + number, raw)
            self.count.messages[name] += 1
        self._sent.clear()

    def _save(self) -> None:
        """The piece first: a snapshot that is there speaks of pieces that are there."""
        if self._piece is not None:
            self._piece.finish()
            self._piece = None
            self.count.pieces += 1
        with bags.unwritable(self._folder):
            write_snapshot(self._folder / _SNAPSHOT, self._memory, _NO_MEMORY)

    def _piece_path(self, number: int) -> Path:
        return self._folder / f"{number:06}.mcap"

    def results(self) -> Iterator[tuple[int, str, bytes]]:
        """(number of the frame, name of the output, CDR bytes), all that was written, in order."""
        for number in range(self.count.pieces):
            with bags.open_bag(self._piece_path(number)) as reader:
                for name, position, raw in bags.messages(reader, reader.connections, 0):
                    yield position // _A_FRAME, name, raw


def _with_last(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Each frame, and whether it is the last."""
    coming = iter(frames)
    frame = next(coming, None)
    while frame is not None:
        following = next(coming, None)
        yield frame, following is None
        frame = following


class _Kept:
    """Stands for a publisher of the node: subscribed to where it is wanted; what is sent is kept as bytes."""

    def __init__(self, name: str, sent: list[tuple[str, bytes]], wanted: bool) -> None:
        self._name = name
        self._sent = sent
        self._wanted = wanted

    def get_subscription_count(self) -> int:
        return int(self._wanted)

    def publish(self, message: Any) -> None:
        if self._wanted:
            raw = message if isinstance(message, bytes) else serialize_message(message)
            self._sent.append((self._name, bags.repeatable(raw, OUTPUTS[self._name].type)))
