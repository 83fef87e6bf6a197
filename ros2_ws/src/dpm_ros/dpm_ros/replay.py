# SPDX-License-Identifier: Apache-2.0
"""`dpm replay`: a bag's topics and /clock, at a chosen rate or as fast as a node answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import rclpy
import tyro
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.utilities import remove_ros_args
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock

from dpm_core.cli.arguments import parse
from dpm_core.errors import DpmError

from . import bags, conversions
from .ending import told_to_end

_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_SETTLE_S = 0.5  # the other side of a match may learn of it a little later
_PATIENCE = Duration(seconds=0.2)


@dataclass(frozen=True)
class ReplayConfig:
    """Publish a bag's topics with /clock. What follows --ros-args is ROS's own, such as remappings."""

    bag: tyro.conf.Positional[Path]
    """A rosbag2 folder, an .mcap or a .db3 file."""
    rate: float = 1.0
    """How much faster than recorded."""
    topic: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Only these topics; all where none is named."""
    start_offset: float = 0.0
    """Leave out so many seconds at the start."""
    loop: bool = False
    """Begin again at the end, until interrupted. Time then goes back."""
    wait_for: int = 0
    """Begin once so many subscriptions are matched, counted over all replayed topics, and go on from a topic's first
    message when they have confirmed it."""
    answer: str | None = None
    """After each image, go on only when a message came on this topic: no image is lost, however slow the answer."""
    timeout: float = 60.0
    """How long to wait for subscriptions, for them to confirm what they got, or for an answer, seconds."""
    clock: float = 100.0
    """How often /clock is sent between messages, Hz of wall time."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name, low in (("rate", 1e-3), ("clock", 1.0), ("timeout", 0.0), ("start_offset", 0.0)):
            if not low <= getattr(self, name) < float("inf"):
                raise DpmError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be {low:g} or more")


def main(argv: list[str]) -> int:
    """Run the command; 0 at the bag's end, 2 for bad input, 130 where it was interrupted."""
    try:
        arguments = remove_ros_args(["dpm replay", *argv])[1:]
        config = parse(ReplayConfig, "dpm replay", arguments)
        rclpy.init(args=["dpm", *argv])
        try:
            reached = False
            with told_to_end():
                reached = _replay(config)
            return 0 if reached else 130
        finally:
            rclpy.try_shutdown()
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2


def _replay(config: ReplayConfig) -> bool:
    with bags.open_bag(config.bag) as reader:
        connections = choose(reader, config)
        with _node() as node:
            player = _Player(node, config, reader, connections)
            player.wait_for_subscriptions()
            return player.play()


@contextmanager
def _node() -> Iterator[Node]:
    node = Node("dpm_replay")
    try:
        yield node
    finally:
        node.destroy_node()


def choose(reader: Reader, config: ReplayConfig) -> list[Connection]:
    """The connections to replay.

    Raises:
        DpmError: a named topic is not in the bag, there is nothing to send, or a named topic's type is not installed.
    """
    there = sorted({connection.topic for connection in reader.connections})
    for name in config.topic:
        if name not in there:
            raise DpmError(f"bag {config.bag} has no topic '{name}'; it has: {', '.join(there) or 'none'}")
    wanted = [c for c in reader.connections if not config.topic or c.topic in config.topic]
    known = [c for c in wanted if c.topic != "/clock" and bags.message_class(c.msgtype) is not None]
    foreign = sorted({c.msgtype for c in wanted if bags.message_class(c.msgtype) is None})
    if foreign and (config.topic or not known):
        raise DpmError(
            f"message types not installed here: {', '.join(foreign)}; install them or leave out their topics"
        )
    if foreign:
        print(f"dpm: left out, types not installed: {', '.join(foreign)}", file=sys.stderr)
    if not sum(c.msgcount for c in known):
        raise DpmError(f"bag {config.bag} has no messages to replay; its topics: {', '.join(there) or 'none'}")
    return known


class _Answers:
    """Counts what comes on one topic, from when it is offered."""

    def __init__(self, node: Node, name: str) -> None:
        self.count = 0
        self._node = node
        self._topic = node.resolve_topic_name(name)
        self._subscription: Subscription[Any] | None = None

    def heard(self) -> bool:
        """Whether the topic is subscribed to; tries to."""
        types = dict(self._node.get_topic_names_and_types()).get(self._topic, [])
        kind = bags.message_class(types[0]) if types else None
        if self._subscription is None and kind is not None:
            qos = bags.common_qos(self._node.get_publishers_info_by_topic(self._topic), depth=10)
            self._subscription = self._node.create_subscription(kind, self._topic, self._add, qos, raw=True)
        return self._subscription is not None

    def _add(self, _: bytes) -> None:
        self.count += 1


class _Player:
    """Sends one bag's messages when they are due."""

    def __init__(self, node: Node, config: ReplayConfig, reader: Reader, connections: list[Connection]) -> None:
        self._config = config
        self._reader = reader
        self._connections = connections
        self._clock = node.create_publisher(Clock, "/clock", 10)
        self._publishers: dict[str, Publisher[Any]] = {
            c.topic: node.create_publisher(_class(c), c.topic, _qos(c)) for c in connections
        }
        self._unproven = set(self._publishers) if config.wait_for else set()
        self._images = {c.topic for c in connections if c.msgtype in _IMAGES}
        self._answers = None if config.answer is None else _Answers(node, config.answer)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        if self._answers is not None and not self._images:
            raise DpmError(f"bag {config.bag} has no images to wait for an answer to; leave out --answer")

    def wait_for_subscriptions(self) -> None:
        """Until as many as asked are matched, and the answers can be heard.

        Raises:
            DpmError: not in time.
        """
        config = self._config
        begun = time.monotonic()
        while (matched := self._matched()) < config.wait_for or not self._hears_answers():
            if time.monotonic() - begun > config.timeout:
                lacking = f"{matched} of {config.wait_for} subscriptions"
                if not self._hears_answers():
                    lacking += f" and no publisher of {config.answer}"
                raise DpmError(f"after {config.timeout:g} s there are {lacking}; is the node running, and remapped?")
            self._executor.spin_once(timeout_sec=0.05)
        if config.wait_for or config.answer:
            time.sleep(_SETTLE_S)

    def _matched(self) -> int:
        return sum(publisher.get_subscription_count() for publisher in self._publishers.values())

    def _hears_answers(self) -> bool:
        return self._answers is None or self._answers.heard()

    def play(self) -> bool:
        """Send everything; whether the end was reached."""
        total = sum(c.msgcount for c in self._connections)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(self._config.bag.name, total=total)
            while reached := self._play_once(lambda: progress.advance(task)):
                if not self._config.loop:
                    break
                progress.reset(task)
        for publisher in (self._clock, *self._publishers.values()):
            self._confirm(publisher)
        return reached

    def _play_once(self, advance: Callable[[], None]) -> bool:
        config = self._config
        start_ns = self._reader.start_time + round(config.start_offset * 1e9)
        begun, first_ns = time.monotonic(), None
        for topic, stamp_ns, raw in bags.messages(self._reader, self._connections, start_ns):
            first_ns = stamp_ns if first_ns is None else first_ns
            late = self._sleep_until(begun + (stamp_ns - first_ns) * 1e-9 / config.rate, stamp_ns)
            if not rclpy.ok():
                return False
            self._tick(stamp_ns)
            before = 0 if self._answers is None else self._answers.count
            self._publishers[topic].publish(raw)
            begun += self._prove(topic)
            if self._answers is not None and topic in self._images:
                begun += max(0.0, late)  # what waited for an answer is not caught up
                self._await(self._answers, before)
            advance()
        return True

    def _sleep_until(self, due: float, stamp_ns: int) -> float:
        """Ticking /clock meanwhile; how late it is at the end, seconds."""
        while (left := due - time.monotonic()) > 0 and rclpy.ok():
            self._tick(stamp_ns - round(left * self._config.rate * 1e9))
            self._executor.spin_once(timeout_sec=0)
            time.sleep(min(left, 1 / self._config.clock))
        return time.monotonic() - due

    def _prove(self, topic: str) -> float:
        """Wait until a topic's first message has come: a match says nothing of the connection. Seconds it took.

        Fast DDS asks for confirmation of a large message every three seconds only.
        """
        begun = time.monotonic()
        if topic in self._unproven:
            self._unproven.remove(topic)
            self._confirm(self._publishers[topic])
        return time.monotonic() - begun

    def _confirm(self, publisher: Publisher[Any]) -> None:
        """Until every reliable subscription has said that it got all of a topic, unless we are told to end.

        Raises:
            DpmError: not in time.
        """
        begun = time.monotonic()
        while rclpy.ok() and not publisher.wait_for_all_acked(_PATIENCE):
            if time.monotonic() - begun > self._config.timeout:
                raise DpmError(
                    f"after {self._config.timeout:g} s a subscription to {publisher.topic_name} has not confirmed its "
                    "messages; is its process hung, or killed a moment ago?"
                )

    def _await(self, answers: _Answers, before: int) -> None:
        begun = time.monotonic()
        while answers.count == before and rclpy.ok():
            self._executor.spin_once(timeout_sec=0.1)
            if time.monotonic() - begun > self._config.timeout:
                raise DpmError(f"no answer on {self._config.answer} within {self._config.timeout:g} s of an image")

    def _tick(self, stamp_ns: int) -> None:
        self._clock.publish(Clock(clock=conversions.time(stamp_ns)))


def _class(connection: Connection) -> type[Any]:
    kind = bags.message_class(connection.msgtype)
    assert kind is not None
    return kind


def _qos(connection: Connection) -> QoSProfile:
    """Reliable, which serves every subscriber."""
    kept = bags.latched(connection)
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=100,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
