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

GRAPH = pytest.StashKey[Graph]()


def pytest_collection_modifyitems(config, items):
    """Tests that talk DDS between processes get two more tries.

    Discovery is UDP multicast, and a loaded machine loses it now and then: that is not ours to mend. Each further try
    shows in the summary as R; a test that needs one every time is broken.
    """
    if not config.pluginmanager.hasplugin("rerunfailures"):
        return
    for item in items:
        if "graph" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    """What a fixture started that then failed ends at once: on a further try it would answer for the next one."""
    module = request.node.getparent(pytest.Module)
    graph = None if module is None else module.stash.get(GRAPH, None)
    before = 0 if graph is None else graph.opened
    try:
        return (yield)
    except BaseException:
        if graph is not None:
            graph.close(keep=before)
        raise


@pytest.fixture(scope="module")
def graph(request):
    """One for the module: a domain that no other process on this machine uses, and clean-up of what was started."""
    lock, domain = _claim_domain()
    before = dict(os.environ)
    os.environ.update(
        ROS_DOMAIN_ID=str(domain),
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        FASTDDS_BUILTIN_TRANSPORTS="LARGE_DATA",
        OMP_NUM_THREADS="2",
    )
    graph = request.node.stash[GRAPH] = Graph(domain)
    yield graph
    del request.node.stash[GRAPH]
    graph.end()
    os.environ.clear()
    os.environ.update(before)
    lock.close()


@pytest.fixture(autouse=True)
def _left_as_found(request):
    """What a test starts ends with it: a subscription left over would be counted as one that the next test awaits."""
    if "graph" not in request.fixturenames:
        yield
        return
    graph = request.getfixturevalue("graph")
    before = graph.opened
    yield
    graph.close(keep=before)


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
