# SPDX-License-Identifier: Apache-2.0
import importlib
import json

import pytest

from dpm_core.cli import findings, main
from dpm_core.cli.findings import BROKEN, MISSING, OK, examine
from dpm_core.engines import torch_bf16


def by_name():
    return {finding.name: finding for finding in examine()}


def test_looks_at_everything():
    found = by_name()
    for name in (
        *(
            "Python",
            "torch",
            "bfloat16 on the CPU",
            "GPU",
            "nvcc",
            "native kernels",
            "tensorrt",
            "tensorrt_rtx",
            "onnxruntime",
        ),
        *("ROS 2 (rclpy)", "FASTDDS_BUILTIN_TRANSPORTS", "cv_bridge", "tf2_msgs", "dpm_ros", "weights of vdpm-mini"),
    ):
        assert name in found


def test_what_is_not_ok_comes_with_advice():
    for finding in examine():
        assert finding.state in (OK, MISSING, BROKEN)
        assert finding.found
        assert finding.state == OK or finding.advice, finding


@pytest.mark.parametrize(("units", "state", "backend"), [("AMX", OK, "torch-bf16"), (None, MISSING, "torch")])
def test_which_backend_a_cpu_is_for(monkeypatch, units, state, backend):
    monkeypatch.setattr(torch_bf16, "bfloat16_units", lambda: units)
    finding = by_name()["bfloat16 on the CPU"]
    assert finding.state == state
    assert finding.advice.endswith(f"--backend {backend}")


def absent(monkeypatch, name, error):
    real = importlib.import_module

    def pretend(module, *rest):
        if module.split(".")[0] == name:
            raise error
        return real(module, *rest)

    monkeypatch.setattr(findings, "import_module", pretend)


def test_a_package_that_is_not_there(monkeypatch):
    absent(monkeypatch, "rerun", ModuleNotFoundError("no rerun", name="rerun"))
    finding = by_name()["rerun-sdk"]
    assert (finding.state, finding.found) == (MISSING, "none")
    assert "pip install 'dpm[view]'" in finding.advice


def test_a_package_that_does_not_import(monkeypatch):
    absent(monkeypatch, "cv_bridge", ImportError("numpy.core.multiarray failed to import"))
    finding = by_name()["cv_bridge"]
    assert (finding.state, finding.found) == (BROKEN, "numpy.core.multiarray failed to import")


@pytest.mark.parametrize(
    ("environment", "state"),
    [
        ({}, MISSING),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, OK),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, OK),
    ],
)
def test_large_messages(monkeypatch, environment, state):
    for name in ("FASTDDS_BUILTIN_TRANSPORTS", "RMW_IMPLEMENTATION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert by_name()["FASTDDS_BUILTIN_TRANSPORTS"].state == state


def test_torch_without_cuda_beside_a_driver(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(findings.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "nvidia-smi" else None)
    finding = by_name()["GPU"]
    assert (finding.state, finding.advice) == (BROKEN, "install a CUDA build of torch")


def test_broken_things_end_with_1(monkeypatch, capsys, tmp_path):
    absent(monkeypatch, "torch", ModuleNotFoundError("no torch", name="torch"))
    assert main(["doctor", "--json", str(tmp_path / "d.json")]) == 1
    assert "broken" in capsys.readouterr().out
    written = {finding["name"]: finding for finding in json.loads((tmp_path / "d.json").read_text())}
    assert written["torch"]["state"] == BROKEN


def test_works_without_the_ros_package(monkeypatch):
    absent(monkeypatch, "dpm_ros", ModuleNotFoundError("no", name="dpm_ros"))
    assert by_name()["dpm_ros"].state == MISSING
