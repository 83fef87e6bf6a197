# SPDX-License-Identifier: Apache-2.0
"""`dpm tensorrt`, and what of it `dpm export` offers."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))

from test_tensorrt_plans import folder  # noqa: F401 (a fixture)

from dpm_core.cli import main
from dpm_core.engines.plan_sidecar import read_sidecar
from dpm_core.engines.tensorrt_library import available

needs_rtx = pytest.mark.skipif("tensorrt_rtx" not in available(), reason="tensorrt_rtx is not installed")


@needs_rtx
def test_plans_are_built_ahead_of_time_for_named_gpus(folder, tmp_path, capsys):  # noqa: F811
    told = tmp_path / "told.json"
    assert main(["tensorrt", str(folder), "--compute-capability", "8.9", "8.6", "--json", str(told)]) == 0
    plans = {path.name: read_sidecar(path) for path in folder.glob("*.plan")}
    assert {sidecar.graph for sidecar in plans.values()} == {"encoder", "window"}
    assert {sidecar.capabilities for sidecar in plans.values()} == {((8, 6), (8, 9))}
    figures = json.loads(told.read_text())
    assert not figures["checked"]
    assert {each["file"] for each in figures["plans"].values()} == set(plans)
    assert "not checked: these plans are for another GPU" in " ".join(capsys.readouterr().out.split())


def refused(capsys, *arguments):
    """What the command says when it refuses: one line."""
    assert main(list(map(str, arguments))) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


def test_a_folder_that_is_no_export(tmp_path, capsys):
    if not available():
        pytest.skip("no TensorRT is installed")
    said = refused(capsys, "tensorrt", tmp_path, "--compute-capability", "8.6")
    assert "has no manifest.json, so it is no exported model" in said


@needs_rtx
def test_what_is_no_compute_capability(folder, capsys):  # noqa: F811
    assert "'ampere' is no compute capability" in refused(capsys, "tensorrt", folder, "--compute-capability", "ampere")
    said = refused(capsys, "tensorrt", folder, "--compute-capability", "3.5")
    assert "does not build for compute capability 3.5; it knows" in said
    assert not list(folder.glob("encoder-*"))


def test_a_library_that_there_is_not(folder, capsys):  # noqa: F811
    said = refused(capsys, "tensorrt", folder, "--library", "cudnn")
    assert "'cudnn' is no TensorRT; choose one of: tensorrt, tensorrt_rtx" in said


def test_a_capability_without_plans(tmp_path, capsys):
    said = refused(capsys, "export", "vdpm-mini", "--out", tmp_path / "out", "--compute-capability", "8.6")
    assert "give --tensorrt too" in said
