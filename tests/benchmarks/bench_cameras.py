# SPDX-License-Identifier: Apache-2.0
"""What each further camera costs: one node more, with the default network, seeing images of the same kind.

    python tests/benchmarks/bench_cameras.py [--cameras 3] [--images 6] [--json FILE]

Memory is what the kernel counts of all node processes together, after each further node has processed its images: what
is shared between them (libraries) is counted once (proportional set size), and the resident set of the newest.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("ros", "stream")]

from dpm_ros import interface  # noqa: E402
from harness import REAL_NODE, Graph, image_message  # noqa: E402

from dpm_core.io import open_source  # noqa: E402

DOMAIN = 97


def mebibytes(pid: int, what: str) -> float:
    """A figure of a process's memory: Rss or Pss."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB", text, re.MULTILINE)[1]) / 1024


def measure(cameras: int, images: int) -> list[dict[str, float]]:
    """A row for each number of cameras."""
    with open_source(ROOT / "demo" / "walking", limit=images) as source:
        frames = list(source)
    graph, nodes, rows = Graph(DOMAIN), [], []
    try:
        for index in range(cameras):
            nodes.append(graph.node("-p", "image_qos:=reliable", "-r", f"__ns:=/camera{index}", command=REAL_NODE))
            peer = graph.peer(namespace=f"/camera{index}").hear(interface.POSE, interface.POINTS)
            publisher = peer.publisher()
            for frame in frames:
                peer.exchange(publisher, image_message(replace(frame, intrinsics=None)))
            pids = [node._child.pid for node in nodes]
            together = sum(mebibytes(pid, "Pss") for pid in pids)
            before = rows[-1]["together_mib"] if rows else 0.0
            rows.append({"cameras": index + 1, "together_mib": together, "further_mib": together - before})
            rows[-1]["newest_rss_mib"] = mebibytes(pids[-1], "Rss")
    finally:
        graph.close()
    return rows


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.update(ROS_DOMAIN_ID=str(DOMAIN), FASTDDS_BUILTIN_TRANSPORTS="LARGE_DATA")
    rows = measure(arguments.cameras, arguments.images)
    print("cameras  all nodes (MiB)  one more (MiB)  resident of the newest (MiB)")
    for row in rows:
        print("{cameras:7}  {together_mib:15.0f}  {further_mib:14.0f}  {newest_rss_mib:28.0f}".format(**row))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
