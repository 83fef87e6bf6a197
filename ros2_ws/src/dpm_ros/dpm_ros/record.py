# SPDX-License-Identifier: Apache-2.0
"""`dpm record`: topics into a bag that opens in Foxglove, in RViz by way of `ros2 bag play`, and in `dpm replay`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
import tyro
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.utilities import remove_ros_args

from dpm_core.cli.arguments import parse
from dpm_core.errors import DpmError

from . import bags

_DEPTH = 100
_QUIET_LOOKS = 6
_DRAIN_S = 10.0


@dataclass(frozen=True)
class RecordConfig:
    """Record topics into a bag until interrupted. What follows --ros-args is ROS's own, such as use_sim_time."""

    topics: tyro.conf.Positional[tuple[str, ...]]
    """Names of topics; each is recorded from when it is first published."""
    out: Path
    """The bag: one file where it ends in .mcap, else a rosbag2 folder."""
    duration: float | None = None
    """End by itself after so many seconds."""
    overwrite: bool = False
    """Replace a bag of that name."""


class Recorder(Node):
    """Writes what it hears, bytes as they came, at the node's own time."""

    def __init__(self, topics: tuple[str, ...], writer: bags.BagWriter) -> None:
        super().__init__("dpm_record")
        self._writer = writer
        self._missing = {self.resolve_topic_name(topic) for topic in topics}
        self._ears: list[Subscription[Any]] = []
        self.create_timer(0.1, self._subscribe_to_new)

    def _subscribe_to_new(self) -> None:
        types = dict(self.get_topic_names_and_types())
        for topic in sorted(self._missing & types.keys()):
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._missing.remove(topic)
                self._subscribe(topic, types[topic][0], bags.common_qos(publishers, _DEPTH))

    def _subscribe(self, topic: str, type_name: str, qos: QoSProfile) -> None:
        kind = bags.message_class(type_name)
        if kind is None:
            raise DpmError(f"{topic} is of type {type_name}, which is not installed here; leave it out")
        room = self._writer.add(topic, type_name, qos)

        def write(raw: bytes) -> None:
            self._writer.write(room, self.get_clock().now().nanoseconds, raw)

        self._ears.append(self.create_subscription(kind, topic, write, qos, raw=True))
        print(f"recording {topic}", flush=True)


def main(argv: list[str]) -> int:
    """Run the command; 0 where a bag was written, 2 for bad input or where nothing came."""
    try:
        arguments = remove_ros_args(["dpm record", *argv])[1:]
        config = parse(RecordConfig, "dpm record", arguments)
        if not config.topics:
            raise DpmError("no topic is named; name one or more, such as /points /pose /tf")
        with bags.BagWriter(config.out, config.overwrite) as writer:
            rclpy.init(args=["dpm", *argv], signal_handler_options=SignalHandlerOptions.NO)
            try:
                _record(config, writer)
            finally:
                rclpy.try_shutdown()
            if not writer.count:
                raise DpmError(f"nothing came on {', '.join(config.topics)}; no bag is written")
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2
    print(f"recorded {writer.count} messages into {config.out}")
    return 0


def _record(config: RecordConfig, writer: bags.BagWriter) -> None:
    recorder = Recorder(config.topics, writer)
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    ends = float("inf") if config.duration is None else time.monotonic() + config.duration
    try:
        with _noticed_signals() as told:
            while not told and time.monotonic() < ends:
                executor.spin_once(timeout_sec=0.2)
            _drain(executor, writer)
    finally:
        executor.remove_node(recorder)
        recorder.destroy_node()


@contextmanager
def _noticed_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM within the block are noted in the list and do nothing else: what has come must be written."""
    told: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda number, _: told.append(number)) for kind in kinds]
    try:
        yield told
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def _drain(executor: SingleThreadedExecutor, writer: bags.BagWriter) -> None:
    """Write what the middleware still holds: until several looks in a row found nothing, or for long enough.

    Looks, not seconds: a process that got no processor for a while has looked at nothing meanwhile.
    """
    begun, quiet = time.monotonic(), 0
    while quiet < _QUIET_LOOKS and time.monotonic() - begun < _DRAIN_S:
        count = writer.count
        executor.spin_once(timeout_sec=0.05)
        quiet = 0 if writer.count > count else quiet + 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
