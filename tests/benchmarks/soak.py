# SPDX-License-Identifier: Apache-2.0
"""The node for a long time: what it remembers, what is lost, what it costs while it waits.

    python tests/benchmarks/soak.py [--minutes 10] [--rate 30] [--network vdpm-mini|oracle] [--json FILE]

The node runs in a process of its own and hears the bundled recording forwards and backwards, reliably; this process
sends, subscribes to every output and counts. The oracle, which knows a small world, answers at once: it is for rates
that no network on a CPU keeps. Told at the end:
- seconds and processor seconds from the start of the process to its first estimate, and its load while no image comes;
- resident memory after the warm-up (the first third, at most two minutes) and at the end;
- whether images in = estimates out + drops by reason, and how many messages of each topic came of those sent.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from rich.progress import track

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("ros", "stream")]

import oracle  # noqa: E402
from dpm_ros import conversions, interface  # noqa: E402
from harness import ORACLE_NODE, REAL_NODE, Graph, Peer, Process, image_message  # noqa: E402

from dpm_core.io import open_source  # noqa: E402

DOMAIN = 96
EVERY_IMAGE = ("-p", "image_qos:=reliable", "-p", "image_qos_depth:=1000")  # what DDS drops nobody can count
WITH_EACH_ESTIMATE = (interface.POSE, interface.PATH, interface.POINTS, interface.DEPTH, interface.DYNAMIC_MASK)
COMMANDS = {"vdpm-mini": REAL_NODE, "oracle": ORACLE_NODE}


def resident_mib(pid: int) -> float:
    """Memory of a process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def processor_seconds(pid: int) -> float:
    """Time that all threads of a process have worked."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def pictures(network: str) -> list[Any]:
    """Image messages to repeat, forwards and backwards, so that nothing jumps."""
    if network == "oracle":
        frames = [oracle.frame(index) for index in range(1, 60)]
    else:
        with open_source(ROOT / "demo" / "walking", limit=20) as source:
            frames = list(source)
    return [image_message(frame) for frame in (*frames, *frames[-2:0:-1])]


@dataclass
class Ear:
    """Counts what came, and keeps the newest diagnostics only."""

    peer: Peer
    came: Counter[str] = field(default_factory=Counter)
    values: dict[str, str] = field(default_factory=dict)

    def listen(self, output: interface.Output) -> None:
        """Reliably; of a hundred messages none is lost that this process is late for. Most stay the bytes they are."""
        take = self.peer.heard[output.name].append
        raw = output not in (interface.POSE, interface.DIAGNOSTICS)
        self.peer.ears.append(self.peer.node.create_subscription(output.type, output.name, take, 100, raw=raw))

    def count(self) -> None:
        """Take what was heard since the last time."""
        for name, messages in self.peer.heard.items():
            self.came[name] += len(messages)
            if messages and name == interface.DIAGNOSTICS.name:
                self.values = {value.key: value.value for value in messages[-1].status[0].values}
            messages.clear()

    def drops(self) -> dict[str, int]:
        """By reason."""
        told = (key for key in self.values if key.startswith("dropped: "))
        return {key.removeprefix("dropped: "): int(self.values[key]) for key in told}

    def accounted(self, sent: int) -> bool:
        """Whether diagnostics tell of all that was sent, and nothing waits."""
        self.count()
        out = int(self.values.get("estimates out", 0))
        return int(self.values.get("frames in", -1)) == sent == out + sum(self.drops().values())


def start(graph: Graph, network: str) -> tuple[Process, Ear, Any, dict[str, float]]:
    """The node, who hears it, the publisher of its images, and what the start has cost."""
    (first, *_) = pictures(network)
    begun = time.monotonic()
    node = graph.node(*EVERY_IMAGE, command=COMMANDS[network])
    ear = Ear(graph.peer())
    for output in interface.OUTPUTS:
        ear.listen(output)
    publisher = ear.peer.publisher(qos=1000)
    first.header.stamp = conversions.time(time.time_ns())
    ear.peer.exchange(publisher, first)
    figures = {"first_estimate_s": time.monotonic() - begun, "first_estimate_cpu_s": processor_seconds(node.pid)}
    return node, ear, publisher, figures


def idle(node: Process, ear: Ear, seconds: float) -> dict[str, float]:
    """Load without images, percent of one core."""
    before, begun = processor_seconds(node.pid), time.monotonic()
    ear.peer.spin(seconds)
    return {"idle_cpu_percent": 100 * (processor_seconds(node.pid) - before) / (time.monotonic() - begun)}


def stream(
    node: Process, ear: Ear, publisher: Any, network: str, rate: float, seconds: float
) -> Iterator[tuple[int, float]]:
    """Send images as a camera does, which catches nothing up: at most so many a second.

    Yields how many were sent so far and the resident memory, once a second and at the end.
    """
    messages, sent, begun = cycle(pictures(network)), 0, time.monotonic()
    due = told = begun
    while (now := time.monotonic()) < begun + seconds:
        if now < due:
            ear.peer.spin(min(due - now, 0.05))
            continue
        due = max(due + 1 / rate, now)
        message = next(messages)
        message.header.stamp = conversions.time(time.time_ns())
        publisher.publish(message)
        sent += 1
        ear.peer.take_all()
        ear.count()
        if now >= told:
            told = max(told + 1.0, now)
            yield sent, resident_mib(node.pid)
    yield sent, resident_mib(node.pid)


def soak(network: str, rate: float, minutes: float) -> dict[str, Any]:
    """All figures of one run."""
    graph = Graph(DOMAIN)
    try:
        node, ear, publisher, figures = start(graph, network)
        figures |= idle(node, ear, 10.0)
        running = stream(node, ear, publisher, network, rate, 60 * minutes)
        counts, memory = zip(*track(running, "seconds", total=int(60 * minutes) + 1), strict=True)
        figures["rate_hz"] = counts[-1] / (60 * minutes)
        sent = 1 + counts[-1]
        ear.peer.until(lambda: ear.accounted(sent), lambda: f"{sent} images were sent: {ear.values}")
        ear.peer.spin(1.0)
        ear.count()
    finally:
        graph.end()
    return figures | told_of_memory(memory) | told_of_counts(sent, ear)


def told_of_memory(memory: Sequence[float]) -> dict[str, Any]:
    """Medians after the warm-up and at the end, a tenth of the rest each."""
    warm = memory[min(120, len(memory) // 3) :]
    part = max(1, len(warm) // 10)
    begin, end = statistics.median(warm[:part]), statistics.median(warm[-part:])
    growth = {"rss_begin_mib": begin, "rss_end_mib": end, "rss_growth_percent": 100 * (end / begin - 1)}
    return growth | {"rss_mib_every_10_s": [round(each, 1) for each in memory[::10]]}


def told_of_counts(sent: int, ear: Ear) -> dict[str, Any]:
    """What went in, came out, was dropped and was heard."""
    out = int(ear.values["estimates out"])
    heard = {output.name: ear.came[output.name] for output in WITH_EACH_ESTIMATE}
    return {"images_sent": sent, "estimates_out": out, "dropped": ear.drops(), "heard": heard}


def main() -> int:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--network", choices=sorted(COMMANDS), default="vdpm-mini")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.update(ROS_DOMAIN_ID=str(DOMAIN), FASTDDS_BUILTIN_TRANSPORTS="LARGE_DATA")
    figures = soak(arguments.network, arguments.rate, arguments.minutes)
    for name, value in figures.items():
        print(f"{name:22} {value:.2f}" if isinstance(value, float) else f"{name:22} {value}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
