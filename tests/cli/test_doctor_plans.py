# SPDX-License-Identifier: Apache-2.0
"""`dpm doctor FOLDER` tells whether an export is whole and which TensorRT plans fit this machine, and what to do."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))

from test_tensorrt_engine import GRAPHS, MANIFEST, ROBOT, put_plan

from dpm_core.cli import main
from dpm_core.cli.findings import BROKEN, MISSING, OK
from dpm_core.cli.plan_findings import examine_export
from dpm_core.engines import manifest, plan_fit


@pytest.fixture
def on_the_robot(monkeypatch, tmp_path):
    """An export, and the machine that its plans are for."""
    monkeypatch.setattr(manifest, "read_manifest", lambda folder: MANIFEST)
    monkeypatch.setattr(plan_fit, "this_machine", lambda: ROBOT)
    return tmp_path


def test_plans_that_fit(on_the_robot):
    for spec in GRAPHS:
        put_plan(on_the_robot, spec)
    export, *plans = examine_export(on_the_robot)
    assert (export.state, export.found) == (OK, "vdpm-mini, windows of 3, 42x28, fp32")
    assert [(each.name, each.state) for each in plans] == [(f"plan of {spec.name}", OK) for spec in GRAPHS]
    assert plans[0].found.endswith(".plan, not checked on a GPU yet")


def test_plans_that_do_not_fit_are_explained_with_the_command_that_rebuilds_them(on_the_robot):
    put_plan(on_the_robot, GRAPHS[0], capabilities=((12, 0),))
    put_plan(on_the_robot, GRAPHS[1]).write_bytes(b"altered")
    _, foreign, altered, absent = examine_export(on_the_robot)
    assert [each.state for each in (foreign, altered, absent)] == [MISSING] * 3
    assert "compute capability 12.0" in foreign.found
    assert "here is NVIDIA RTX A2000" in foreign.found
    assert "cut short or altered" in altered.found
    assert absent.found == "none"
    assert {each.advice.rpartition(": ")[2] for each in (foreign, altered, absent)} == {f"dpm tensorrt {on_the_robot}"}


def test_a_folder_that_is_no_export(tmp_path):
    assert main(["doctor", str(tmp_path), "--json", str(tmp_path / "findings.json")]) == 1
    last = json.loads((tmp_path / "findings.json").read_text())[-1]
    assert last["name"] == f"export {tmp_path.name}"
    assert last["state"] == BROKEN
    assert "dpm export" in last["found"] + last["advice"]
