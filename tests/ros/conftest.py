# SPDX-License-Identifier: Apache-2.0
"""A ROS 2 graph of its own for every test that asks: processes on one machine, real DDS between them."""

import os
import socket
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not here; see requirements/ros-wheels.txt")

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "stream")]  # the oracle engine

from harness import Graph  # noqa: E402


@pytest.fixture(scope="module")
def graph():
    """One for the module: a domain that no other process on this machine uses, and clean-up of what was started."""
    lock, domain = _claim_domain()
    before = dict(os.environ)
    os.environ.update(
        ROS_DOMAIN_ID=str(domain),
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        FASTDDS_BUILTIN_TRANSPORTS="LARGE_DATA",
        OMP_NUM_THREADS="2",
    )
    graph = Graph(domain)
    yield graph
    graph.close()
    os.environ.clear()
    os.environ.update(before)
    lock.close()


def _claim_domain():
    """A listening socket stands for a domain, so that two test runs at a time do not hear each other."""
    for domain in range(1, 101):
        lock = socket.socket()
        try:
            lock.bind(("127.0.0.1", 41000 + domain))
        except OSError:
            lock.close()
            continue
        return lock, domain
    raise RuntimeError("no ROS domain is free on this machine")
