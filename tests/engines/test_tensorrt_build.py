# SPDX-License-Identifier: Apache-2.0
"""Graphs to plans by the real `tensorrt_rtx`, which needs no GPU to build."""

import fake_tensorrt
import onnx
import pytest
from onnx import TensorProto, helper

from dpm_core.engines.manifest import TensorSpec
from dpm_core.engines.tensorrt_build import BuildSettings, aim, build, use_timings
from dpm_core.engines.tensorrt_library import available, load_library
from dpm_core.engines.tensorrt_progress import Phases
from dpm_core.errors import DpmError

AMPERE, ADA, BLACKWELL = (8, 6), (8, 9), (12, 0)


@pytest.fixture(scope="module")
def rtx():
    if "tensorrt_rtx" not in available():
        pytest.skip("tensorrt_rtx is not installed; it comes with the development requirements on x86-64 Linux")
    return load_library("tensorrt_rtx")


def graph(path, nodes, shape=(2, 3), dtype=TensorProto.FLOAT, opset=20):
    """A file with one input x and one output y."""
    x, y = (helper.make_tensor_value_info(name, dtype, shape) for name in "xy")
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("some.vendor", 1)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opsets, ir_version=10)
    onnx.save(model, path)
    return path


def relu(path, **options):
    return graph(path, [helper.make_node("Relu", ["x"], ["y"], name="relu")], **options)


def quietly(fraction):
    pass


@pytest.mark.parametrize("capabilities", [(AMPERE,), (ADA,), (BLACKWELL,), (AMPERE, ADA, BLACKWELL)])
def test_a_graph_is_built_for_gpus_that_are_not_here(rtx, tmp_path, capabilities):
    built = build(rtx, relu(tmp_path / "g.onnx"), BuildSettings(capabilities), quietly)
    assert built.plan.nbytes > 1000
    assert built.inputs == (TensorSpec("x", (2, 3), "float32"),)
    assert built.outputs == (TensorSpec("y", (2, 3), "float32"),)
    assert built.timings == b""  # tensorrt_rtx keeps none


@pytest.mark.parametrize(
    ("dtype", "name"), [(TensorProto.FLOAT16, "float16"), (TensorProto.BFLOAT16, "bfloat16")], ids=["fp16", "bf16"]
)
def test_types_are_those_of_the_graph(rtx, tmp_path, dtype, name):
    built = build(rtx, relu(tmp_path / "g.onnx", dtype=dtype), BuildSettings((ADA,)), quietly)
    assert [built.inputs[0].dtype, built.outputs[0].dtype] == [name, name]


def test_progress_grows_from_nothing_to_all(rtx, tmp_path):
    told = []
    build(rtx, relu(tmp_path / "g.onnx"), BuildSettings((ADA,)), told.append)
    assert told == sorted(told)
    assert 0 <= told[0] < 0.2
    assert 0.8 < told[-2] <= 1
    assert told[-1] == 1


def test_a_step_counts_as_much_of_its_parent_as_its_own_steps_say():
    told = []
    phases = Phases(told.append)
    phases.start("build", None, 2)
    phases.start("compile", "build", 4)
    phases.step("compile")
    phases.finish("compile")  # sooner than it said
    phases.step("build")
    phases.start("time", "build", 2)
    phases.step("time")
    assert told == [1 / 8, 1 / 2, 3 / 4]


def test_operators_that_the_library_lacks_are_named_with_their_nodes(rtx, tmp_path):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="known"),
        helper.make_node("Wobble", ["a"], ["b"], name="blocks.3.wobble", domain="some.vendor"),
        helper.make_node("BitShift", ["b", "b"], ["y"], name="shift", direction="LEFT"),
    ]
    with pytest.raises(DpmError) as raised:
        build(rtx, graph(tmp_path / "time.onnx", nodes), BuildSettings((ADA,)), quietly)
    message = str(raised.value)
    assert "lacks what time.onnx asks for" in message
    assert "'blocks.3.wobble' (operator Wobble)" in message
    assert "'shift' (operator BitShift)" in message
    assert "known" not in message
    assert "\n" not in message


@pytest.mark.parametrize("damage", ["cut short", "empty", "not there"])
def test_a_damaged_file(rtx, tmp_path, damage):
    path = relu(tmp_path / "g.onnx")
    if damage == "not there":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20] if damage == "cut short" else b"")
    with pytest.raises(DpmError, match=r"g\.onnx"):
        build(rtx, path, BuildSettings((ADA,)), quietly)


def test_shapes_must_be_fixed(rtx, tmp_path):
    with pytest.raises(DpmError, match=r"'x' of g\.onnx has no fixed shape \[-1, 3\]"):
        build(rtx, relu(tmp_path / "g.onnx", shape=("batch", 3)), BuildSettings((ADA,)), quietly)


def test_a_capability_that_it_does_not_build_for(rtx, tmp_path):
    with pytest.raises(DpmError, match=r"does not build for compute capability 9\.0; it knows 7\.5, .*12\.0"):
        build(rtx, relu(tmp_path / "g.onnx"), BuildSettings(((9, 0),)), quietly)


def test_ctrl_c_ends_a_build(rtx, tmp_path):
    def interrupted(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(rtx, relu(tmp_path / "g.onnx"), BuildSettings((ADA,)), interrupted)


@pytest.mark.parametrize(("earlier", "used"), [(b"timings", b"timings"), (b"", b""), (b"damaged", b"")])
def test_tensorrt_goes_on_with_earlier_timings_where_they_are_sound(earlier, used):
    config = fake_tensorrt.BuilderConfig()
    cache = use_timings(fake_tensorrt.library("tensorrt"), config, earlier)
    assert config.cache is cache
    assert cache.serialize() == used


def test_tensorrt_builds_for_the_gpu_that_is_here_and_no_other():
    with pytest.raises(DpmError, match=r"builds only for the GPU that is here, not for compute capability 8\.6"):
        aim(fake_tensorrt.library("tensorrt"), fake_tensorrt.BuilderConfig(), (AMPERE,))
    aim(fake_tensorrt.library("tensorrt"), fake_tensorrt.BuilderConfig(), ())
