# SPDX-License-Identifier: Apache-2.0
"""The plans of a whole export: for which GPU, built once, and checked against their graphs."""

import hashlib
from dataclasses import replace

import fake_tensorrt
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from small_exports import CPU, cameras_frames, size_of

from dpm_core.checkpoints.configs import config_to_json
from dpm_core.engines import plan_store, tensorrt_plans
from dpm_core.engines.manifest import GraphSpec, Manifest, TensorSpec, read_manifest, write_manifest
from dpm_core.engines.onnx_graph import OnnxGraph
from dpm_core.engines.plan_fit import Machine
from dpm_core.engines.plan_sidecar import Sidecar, read_sidecar
from dpm_core.engines.plan_store import source_of, write_plan
from dpm_core.engines.tensorrt_check import check_plans
from dpm_core.engines.tensorrt_engine import Found
from dpm_core.engines.tensorrt_library import available, load_library
from dpm_core.engines.tensorrt_plans import Target, build_plans, choose_target
from dpm_core.errors import DpmError
from dpm_core.models import VDPM_MINI

TENSORRT = fake_tensorrt.library("tensorrt", "10.13.3")
RTX = fake_tensorrt.library("tensorrt_rtx", "1.7.1.116")
ROBOT = Machine("linux-x86_64", (8, 6), "NVIDIA RTX A2000", {"tensorrt": "10.13.3"})


class TestWhatToBuildFor:
    """With which library, and for which GPUs."""

    @pytest.fixture
    def on_the_robot(self, monkeypatch):
        monkeypatch.setattr(tensorrt_plans, "this_machine", lambda: ROBOT)

    @pytest.fixture
    def without_gpu(self, monkeypatch):
        machine = replace(ROBOT, capability=None, gpu="")
        monkeypatch.setattr(tensorrt_plans, "this_machine", lambda: machine)

    def test_the_gpu_that_is_here_by_the_preferred_library(self, on_the_robot):
        target = choose_target([TENSORRT, RTX], [])
        assert target == Target(TENSORRT, ((8, 6),), "NVIDIA RTX A2000")
        assert not target.ahead

    def test_named_ones_by_the_library_that_builds_ahead(self, without_gpu):
        target = choose_target([TENSORRT, RTX], [(8, 9), (8, 6), (8, 9)])
        assert target == Target(RTX, ((8, 6), (8, 9)), "")
        assert target.ahead

    def test_the_one_that_is_here_may_be_named(self, on_the_robot):
        assert choose_target([TENSORRT], [(8, 6)]) == Target(TENSORRT, ((8, 6),), "NVIDIA RTX A2000")

    def test_another_one_by_a_library_that_cannot(self, on_the_robot):
        with pytest.raises(DpmError, match=r"tensorrt 10\.13\.3 builds only for the GPU that is here"):
            choose_target([TENSORRT], [(12, 0)])

    def test_no_gpu_and_none_named(self, without_gpu):
        with pytest.raises(DpmError, match=r"no GPU here to build for; name one, such as --compute-capability 8\.6"):
            choose_target([TENSORRT, RTX], [])

    def test_no_library(self, without_gpu):
        with pytest.raises(DpmError, match="no TensorRT imports here; get one with: pip install"):
            choose_target([], [(8, 6)])


class Heard:
    """A progress that remembers."""

    def __init__(self):
        self.begun, self.waited = [], []

    def plan(self, graph):
        self.begun.append(graph)
        return lambda fraction: None

    def waiting(self, graph):
        self.waited.append(graph)


@pytest.fixture
def folder(tmp_path):
    """What looks like an export, of two graphs that are quick to build."""
    graphs = {}
    for name in ("encoder", "window"):
        tensors = [helper.make_tensor_value_info(each, TensorProto.FLOAT, (2, 3)) for each in "xy"]
        relu = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"], name=f"{name}.relu")], name, *([t] for t in tensors)
        )
        model = helper.make_model(relu, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(model, tmp_path / f"{name}.onnx")
        checksum = hashlib.sha256((tmp_path / f"{name}.onnx").read_bytes()).hexdigest()
        x, y = ((TensorSpec(each, (2, 3), "float32"),) for each in "xy")
        graphs[name] = GraphSpec(name, f"{name}.onnx", x, y, {f"{name}.onnx": checksum})
    config = config_to_json(VDPM_MINI)
    write_manifest(tmp_path, Manifest("vdpm-mini", "V-DPM", config, 2, 28, 42, "bf16", "", None, graphs))
    return tmp_path


@pytest.mark.skipif("tensorrt_rtx" not in available(), reason="tensorrt_rtx is not installed")
class TestBuilding:
    """By the real library."""

    @pytest.fixture
    def target(self):
        return Target(load_library("tensorrt_rtx"), ((8, 6), (8, 9)), "")

    def test_a_plan_and_a_sidecar_a_graph(self, folder, target):
        heard = Heard()
        found = build_plans(folder, target, heard)
        assert heard.begun == list(found) == ["encoder", "window"]
        sidecar = read_sidecar(found["encoder"].path)
        assert sidecar.source == source_of(read_manifest(folder).graphs["encoder"])
        assert (sidecar.capabilities, sidecar.gpu, sidecar.maker) == (((8, 6), (8, 9)), "", str(target.library))
        assert sidecar.tf32  # beside bfloat16
        assert sidecar.inputs == (TensorSpec("x", (2, 3), "float32"),)
        assert sidecar.parity == {}
        assert not [path for path in folder.iterdir() if path.name.startswith(".") and path.suffix != ".lock"]

    def test_what_is_there_and_whole_is_kept(self, folder, target):
        first = build_plans(folder, target, Heard())
        first["window"].path.write_bytes(b"altered")
        heard = Heard()
        second = build_plans(folder, target, heard)
        assert heard.begun == ["window"]
        assert second["encoder"] == first["encoder"]
        assert second["window"].path.stat().st_size == second["window"].sidecar.plan_bytes

    def test_a_disk_without_room(self, folder, target, monkeypatch):
        monkeypatch.setattr(plan_store.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
        with pytest.raises(DpmError, match=r"a plan needs about .* make room"):
            build_plans(folder, target, Heard())
        assert not list(folder.glob("encoder-*.plan*"))


@pytest.mark.timeout(900)  # the first to ask makes the export too
class TestChecking:
    """ONNX Runtime stands in for the GPU."""

    @pytest.fixture
    def built(self, exports, tmp_path):
        """An export and what passes for its plans."""
        folder = exports("dust3r linear")
        found, running = {}, {}
        for name, spec in read_manifest(folder).graphs.items():
            path = tmp_path / f"{name}.plan"

            def described(checksum, size, name=name, spec=spec):
                told = (name, source_of(spec), checksum, size, "tensorrt", "10.13.3", "linux-x86_64", ((8, 6),))
                return Sidecar(*told, "", False, spec.inputs, spec.outputs, 1.0)

            found[name] = Found(path, write_plan(path, memoryview(b"plan"), described))
            running[name] = OnnxGraph(folder / spec.file, spec, CPU, 1)
        return folder, found, running

    def test_plans_that_say_what_their_graphs_say(self, built, tmp_path):
        folder, found, running = built
        parity = check_plans(folder, found, running, cameras_frames(2, size_of("dust3r linear")), tmp_path)
        assert parity["pair.points_1"].p99 == 0
        assert read_sidecar(found["pair"].path).parity["points_1"] == parity["pair.points_1"]
        assert set(read_sidecar(found["encoder"].path).parity) == {"tokens"}

    def test_plans_that_say_something_else_are_removed(self, built, tmp_path):
        folder, found, running = built

        class Off:
            def run(self, inputs):
                said = running["pair"].run(inputs)
                return {**said, "points_2": said["points_2"] + 0.1 * torch.ones(3)}

        with pytest.raises(DpmError, match=r"are not their graphs and were removed: .*pair\.points_2 is off by 0\.1"):
            check_plans(
                folder, found, {**running, "pair": Off()}, cameras_frames(2, size_of("dust3r linear")), tmp_path
            )
        assert not [each.path for each in found.values() if each.path.exists()]
        assert not list(tmp_path.glob("*.plan.json"))
