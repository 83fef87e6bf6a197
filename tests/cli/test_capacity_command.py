# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from dpm_core.cli import main


def test_tells_every_computer_and_checks_itself(tmp_path, capsys):
    asked = ["capacity", "vdpm-mini", "--window", "2", "--size", "28x42", "--check", "--json", str(tmp_path / "f.json")]
    assert main(asked) == 0
    told = json.loads((tmp_path / "f.json").read_text())
    assert [device["device"] for device in told["devices"]] == [
        "Orin Nano 8GB Super",
        "Orin AGX 64GB",
        "RTX 4060",
        "RTX 5090",
        "H200",
    ]
    assert told["flops"] > 0
    assert told["checked"]["ratio"] == pytest.approx(
        told["checked"]["measured_seconds"] / told["checked"]["estimated_seconds"]
    )
    assert "RTX 4060" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["nobody"], ["vdpm-mini", "--window", "0"], ["vdpm-mini", "--size", "30x30"]])
def test_says_what_is_wrong(wrong, capsys):
    assert main(["capacity", *wrong]) == 2
    assert capsys.readouterr().err.startswith("dpm: ")
