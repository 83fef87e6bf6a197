# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the node measures what it says. No time is judged."""

import json

import pytest
from dpm_ros import interface
from dpm_ros.bench_node import BESIDE, OF_THE_NETWORK, main

from dpm_core import cli


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "node.json"
    assert main(["--size", "28x42", "--window", "2", "--images", "3", "--threads", "1", "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_every_message_of_every_image_is_heard(figures):
    heard = {name: topic["messages"] for name, topic in figures["node"]["topics"].items()}
    of_each = (interface.POINTS, interface.POSE, interface.TF, interface.DEPTH, interface.TRACKS)
    of_motion = (interface.STATIC_POINTS, interface.DYNAMIC_POINTS, interface.SCENE_FLOW, interface.ODOMETRY)
    assert {heard[output.name] for output in of_each} == {3}
    assert {heard[output.name] for output in of_motion} == {2}, "of the first image no motion is known"


def test_what_is_beside_the_network_is_the_total_without_it(figures):
    node = figures["node"]
    stages = node["stages"]
    assert {"queue", "prepare", "align", "motion", "fuse", "remember", "deliver", "total"} <= set(stages)
    network = sum(stages[stage]["p50"] for stage in OF_THE_NETWORK)
    assert node[BESIDE] == pytest.approx(stages["total"]["p50"] - network)
    assert all(spread["p50"] <= spread["p95"] <= spread["max"] for spread in stages.values())


@pytest.mark.parametrize("wrong", [["--images", "1"], ["--window", "1"], ["--size", "29x42"], ["--size", "small"]])
def test_what_cannot_be_meant_is_one_line_and_two(wrong, capsys):
    assert cli.main(["bench", "node", *wrong]) == 2
    assert capsys.readouterr().err.startswith("dpm: ")
