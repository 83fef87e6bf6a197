# SPDX-License-Identifier: Apache-2.0
"""`dpm export` as a user types it, and `dpm run` with what it made."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))

import small_exports

from dpm_core.checkpoints import REGISTRY
from dpm_core.checkpoints.convert import write_weights
from dpm_core.cli import main
from dpm_core.cli.export import BUNDLED, read_frames
from dpm_core.io.trajectory import read_trajectory

SIZE = "28x42"

pytestmark = pytest.mark.timeout(900)  # the first to ask makes the export, on machines that may be busy


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a network small enough to be exported in a test; the file tells its configuration."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    network = small_exports.vggt()
    write_weights(path, replace(REGISTRY["vggt"], config=network.config), network.state_dict(), "fp32")
    return path


@pytest.fixture(scope="module")
def exported(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "small"
    options = ["--weights", str(weights), "--window", "2", "--size", SIZE, "--out", str(folder)]
    assert main(["export", "vggt", *options, "--json", f"{folder}.json"]) == 0
    return folder


def test_writes_graphs_and_what_they_are(exported):
    figures = json.loads(Path(f"{exported}.json").read_text())
    assert figures["parity_frames"] == "bundled frames"
    assert figures["parity"]["window.own_points"]["cosine"] > 0.999999
    assert (figures["window"], figures["height"], figures["width"]) == (2, 28, 42)
    graphs = {f"{graph}{form}.onnx" for graph in ("encoder", "window") for form in ("", ".fused")}
    assert {path.name for path in exported.iterdir()} == {"manifest.json", *graphs}


def test_dpm_run_takes_the_folder_for_a_model(exported, tmp_path):
    window = ["--limit", "3", "--window", "2", "--no-recording", "--no-cloud", "--device", "cpu"]
    assert main(["run", str(BUNDLED), "--out", str(tmp_path / "onnx"), "--model", str(exported), *window]) == 0
    summary = json.loads((tmp_path / "onnx" / "summary.json").read_text())
    assert summary["model"].startswith("vggt (ONNX Runtime ")
    assert summary["estimates"] == 3
    for _, pose in read_trajectory(tmp_path / "onnx" / "trajectory.txt"):
        assert np.isfinite(pose).all()


def test_the_bundled_frames_are_a_piece_of_a_real_recording():
    frames = read_frames(BUNDLED)
    assert len(frames) == 12
    assert all(frame.shape == (240, 320, 3) and frame.std() > 30 for frame in frames)
    assert (BUNDLED / "ATTRIBUTION.md").is_file()


def refusal(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("dpm: ")
    return told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--size", "168"], "size '168' is none; give HEIGHTxWIDTH in pixels, such as 168x224"),
        (["--size", "170x224"], "image size 224x170 is no multiple of the network's patch of 14 pixels"),
        (["--precision", "int4"], "precision 'int4' is not known; choose one of: fp32, bf16, fp16"),
        (["--window", "0"], "window is 0; it must be 1 or more frames"),
        (["--frames", "nowhere"], "nowhere"),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors is not a file"),
    ],
)
def test_bad_input_is_told_in_one_line(options, told, tmp_path, capsys):
    out = tmp_path / "out"
    assert told in refusal(capsys, "export", "vdpm-mini", "--out", out, *options)
    assert not list(tmp_path.iterdir())


def test_an_unknown_model_is_told(tmp_path, capsys):
    assert "did you mean 'vdpm-mini'?" in refusal(capsys, "export", "vdpm-mni", "--out", tmp_path / "out")
