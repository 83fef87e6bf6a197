# SPDX-License-Identifier: Apache-2.0
"""`dpm run` as a user types it: the bundled recording, the real network at its smallest, and every bad input."""

import json
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from dpm_core.cli import main
from dpm_core.engines import open_engine
from dpm_core.io import open_source
from dpm_core.io.bag import BagSource
from dpm_core.io.ply import read_ply
from dpm_core.io.results import Results
from dpm_core.io.trajectory import read_trajectory
from dpm_core.stream import Session, SessionConfig

WALKING = Path(__file__).parents[2] / "demo" / "walking"
FRAMES = 3


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "out"
    options = [
        "--limit",
        str(FRAMES),
        "--device",
        "cpu",
        "--window",
        "2",
        "--pictures",
        "--json",
        str(folder) + ".json",
    ]
    assert main(["run", str(WALKING), "--out", str(folder), *options]) == 0
    return folder


@pytest.fixture(scope="module")
def estimates():
    session = Session(open_engine("vdpm-mini", device="cpu"), SessionConfig(window=2))
    with open_source(WALKING, limit=FRAMES) as source:
        return [session.process(frame) for frame in source]


def test_writes_what_the_session_says(out, estimates):
    poses = read_trajectory(out / "trajectory.txt")
    assert [stamp for stamp, _ in poses] == [estimate.stamp_ns for estimate in estimates]
    for index, estimate in enumerate(estimates):
        np.testing.assert_allclose(poses[index][1], estimate.world_from_camera, atol=1e-6)
        depth = cv2.imread(str(out / "depth" / f"{index:06d}.tiff"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(depth, estimate.depth, rtol=1e-5)
        np.testing.assert_allclose(
            read_ply(out / "cloud" / f"{index:06d}.ply").points, estimate.cloud.points, atol=1e-5
        )


def test_loses_no_frame_and_says_what_model_it_was(out):
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["frames"], summary["estimates"], summary["dropped"]) == (FRAMES, FRAMES, {})
    assert summary["model"].startswith("vdpm-mini")
    assert set(summary["latency_s"]) >= {"prepare", "encode", "predict", "total"}
    assert json.loads(Path(str(out) + ".json").read_text())["estimates"] == FRAMES


def test_says_in_plain_words_what_the_weights_are(tmp_path, capsys):
    engine = open_engine("vdpm-mini", device="cpu")
    assert main(["run", str(WALKING), "--out", str(tmp_path / "out"), "--limit", "1", "--no-recording"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "lengths are in the network's own unit" in told
    if engine.notice:
        assert engine.notice in told


def told_of(source, tmp_path, capsys, *options):
    assert (
        main(["run", str(source), "--out", str(tmp_path / "out"), "--device", "cpu", "--no-recording", *options]) == 0
    )
    return " ".join(capsys.readouterr().out.split())


def test_says_when_frames_are_too_far_apart(tmp_path, capsys):
    told = told_of(WALKING, tmp_path, capsys, "--limit", "2", "--max-gap-s", "0.01")
    assert "note: the window began anew 1 times: a gap in time" in told
    assert "give more of it for slow recordings" in told


def test_says_when_the_recording_promised_more(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(BagSource, "length", 9)
    assert "promises 9 frames and has 1; it may be damaged" in told_of(WALKING, tmp_path, capsys, "--limit", "1")


def test_frames_with_one_stamp_are_counted(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("1.00", "1.000", "1.1"):
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((48, 64, 3), np.uint8))
    assert "note: 1 frames gave no estimate: repeated stamp" in told_of(folder, tmp_path, capsys)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["dropped"] == {"repeated stamp": 1}


def refusal(capsys, *arguments):
    assert main(["run", *map(str, arguments)]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1, told
    assert told[0].startswith("dpm: ")
    return told[0]


def test_bad_input(tmp_path, capsys):
    (tmp_path / "words.mp4").write_text("words")
    out = tmp_path / "out"
    assert "is not a video" in refusal(capsys, tmp_path / "words.mp4", "--out", out)
    assert "is not there" in refusal(capsys, tmp_path / "nothing", "--out", out)
    assert "did you mean 'vdpm-mini'?" in refusal(capsys, WALKING, "--out", out, "--model", "vdpm-mimi")
    assert "device 'tpu' is not" in refusal(capsys, WALKING, "--out", out, "--device", "tpu")
    assert "window is 0" in refusal(capsys, WALKING, "--out", out, "--window", "0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["words.mp4"]


def test_refuses_a_folder_that_is_there(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    told = refusal(capsys, WALKING, "--out", tmp_path / "out")
    assert "is there already; choose another --out, or give --overwrite" in told
    assert list((tmp_path / "out").iterdir()) == []


def test_a_misspelt_option_is_named(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", str(WALKING), "--out", "x", "--windw", "3"])
    assert ended.value.code == 2
    assert "--windw" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_behind(tmp_path, monkeypatch, number, code):
    """It comes after the first frame is written, so that no clock decides."""
    add = Results.add

    def add_and_signal(self, estimate):
        add(self, estimate)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(Results, "add", add_and_signal)
    if number == signal.SIGINT:  # a shell that runs tests in the background has it ignored
        signal.signal(number, signal.default_int_handler)
    before = signal.getsignal(number)
    assert main(["run", str(WALKING), "--out", str(tmp_path / "out"), "--device", "cpu", "--limit", "3"]) == code
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before
