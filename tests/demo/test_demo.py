# SPDX-License-Identifier: Apache-2.0
"""`make demo`, hurried: three processes, one recording, everything that it promises."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from rosbags.highlevel import AnyReader

pytest.importorskip("rclpy")

DEMO = Path(__file__).parents[2] / "demo"
FRAMES = 22


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The figures, the folder and what was said."""
    out = tmp_path_factory.mktemp("demo") / "out"
    arguments = ["--out", out, "--rate", "0.5", "--json", out.with_suffix(".json")]
    done = subprocess.run(
        [sys.executable, DEMO / "demo.py", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return json.loads(out.with_suffix(".json").read_text()), out, done.stdout


def test_every_frame_is_accounted_for(demo):
    figures, _, _ = demo
    assert figures["frames_in"] == FRAMES
    assert figures["estimates_out"] + sum(figures["dropped"].values()) == FRAMES
    assert figures["estimates_out"] > 0


def test_what_the_node_sent_is_in_the_bag(demo):
    figures, out, _ = demo
    with AnyReader([out.with_suffix(".mcap")]) as bag:
        for topic in ("/points", "/pose", "/depth/image", "/dynamic_mask", "/tf"):
            # The node keeps its last message: a recorder that gets no processor for a while hears the newest only.
            assert figures["estimates_out"] // 2 < bag.topics[topic].msgcount <= figures["estimates_out"], topic


def test_there_is_a_picture_of_each_estimate_that_was_recorded_whole_and_a_recording(demo):
    figures, out, _ = demo
    pictures = sorted((out / "pictures").iterdir())
    with AnyReader([out.with_suffix(".mcap")]) as bag:
        counts = [bag.topics[topic].msgcount for topic in ("/points", "/pose", "/depth/image", "/dynamic_mask")]
    assert figures["estimates_out"] // 2 < len(pictures) <= min(counts)
    height, width = cv2.imread(str(pictures[-1])).shape[:2]
    assert (height > 168, width) == (True, 3 * 224)
    assert (out / "recording.rrd").stat().st_size > 100_000


def test_it_says_where_things_are_and_whether_the_weights_mean_anything(demo):
    figures, out, said = demo
    for word in (str(out.with_suffix(".mcap")), str(out / "pictures"), "recording.rrd", "p95", "Hz", "dropped"):
        assert word in said
    assert (figures["notice"] or "") in said
