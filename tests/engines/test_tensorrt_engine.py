# SPDX-License-Identifier: Apache-2.0
"""Which plans of an export are taken, and the engine over them, with `fake_tensorrt` in place of the library."""

from dataclasses import replace

import fake_tensorrt
import pytest
import torch
from small_exports import CPU

from dpm_core.checkpoints.configs import config_to_json
from dpm_core.engines import tensorrt_engine
from dpm_core.engines.exported import ExportedEngine
from dpm_core.engines.manifest import GraphSpec, Manifest, TensorSpec
from dpm_core.engines.plan_fit import Machine
from dpm_core.engines.plan_memory import OutOfDeviceMemoryError
from dpm_core.engines.plan_sidecar import Sidecar, read_sidecar, write_sidecar
from dpm_core.engines.plan_store import plan_name, source_of, write_plan
from dpm_core.engines.tensorrt_engine import find_plans, load_plans, open_tensorrt
from dpm_core.errors import DpmError
from dpm_core.models import VDPM_MINI

H, W, S, P, C = 28, 42, 3, 6, 4
LIBRARY = fake_tensorrt.library("tensorrt", "10.13.3")
ROBOT = Machine("linux-x86_64", (8, 6), "NVIDIA RTX A2000", {"tensorrt": "10.13.3"})
LEVEL = (S, P, C)


def graph(name, inputs, outputs):
    specs = [tuple(TensorSpec(key, shape, "float32") for key, shape in side.items()) for side in (inputs, outputs)]
    return GraphSpec(name, f"{name}.onnx", *specs, {f"{name}.onnx": "0" * 64})


GRAPHS = [
    graph("encoder", {"image": (3, H, W)}, {"tokens": (P, C)}),
    graph(
        "window",
        {"window_tokens": (S, P, C)},
        {
            **{f"level_{n}": LEVEL for n in range(4)},
            "time_tokens": (S, C),
            "own_points": (S, H, W, 3),
            "own_conf": (S, H, W),
            "pose_encoding": (S, 9),
        },
    ),
    graph(
        "time",
        {**{f"level_{n}": LEVEL for n in range(4)}, "time_token": (C,)},
        {"points": (S, H, W, 3), "conf": (S, H, W)},
    ),
]
MANIFEST = Manifest(
    "vdpm-mini", "V-DPM", config_to_json(VDPM_MINI), S, H, W, "fp32", "", None, {each.name: each for each in GRAPHS}
)


def content_of(spec, **says):
    sides = ({each.name: (each.shape, "FLOAT") for each in side} for side in (spec.inputs, spec.outputs))
    return fake_tensorrt.plan(*sides, **says)


def put_plan(folder, spec, library=LIBRARY, capabilities=((8, 6),), source=None, content=None):
    source = source or source_of(spec)
    path = folder / plan_name(spec.name, library, capabilities, source)

    def described(checksum, size):
        told = (spec.name, source, checksum, size, library.name, library.version, "linux-x86_64", capabilities)
        return Sidecar(*told, "NVIDIA RTX A2000", False, spec.inputs, spec.outputs, 1.0)

    write_plan(path, memoryview(content or content_of(spec)), described)
    return path


@pytest.fixture
def folder(tmp_path):
    for spec in GRAPHS:
        put_plan(tmp_path, spec)
    return tmp_path


@pytest.fixture
def loaded_library(monkeypatch):
    monkeypatch.setattr(tensorrt_engine, "load_library", lambda name: LIBRARY)


def plans(folder, free=1 << 30):
    stream = fake_tensorrt.FakeStream()
    return load_plans(MANIFEST, find_plans(folder, MANIFEST, ROBOT), lambda: stream, CPU, free), stream


def test_every_graph_finds_its_plan_among_those_of_other_machines(folder):
    for spec in GRAPHS:
        put_plan(folder, spec, fake_tensorrt.library("tensorrt", "10.9"))
        put_plan(folder, spec, capabilities=((12, 0),))
        put_plan(folder, spec, source="f" * 64)
    found = find_plans(folder, MANIFEST, ROBOT)
    assert {name: each.path.name for name, each in found.items()} == {
        spec.name: plan_name(spec.name, LIBRARY, ((8, 6),), source_of(spec)) for spec in GRAPHS
    }


def test_no_plan_at_all_names_the_command_that_builds_one(tmp_path):
    with pytest.raises(DpmError) as raised:
        find_plans(tmp_path, MANIFEST, ROBOT)
    assert str(raised.value) == (
        f"no TensorRT plan of 'encoder' fits: none was built; build one with `dpm tensorrt {tmp_path}`"
    )


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (replace(ROBOT, capability=(12, 0), gpu="NVIDIA GeForce RTX 5090"), "here is NVIDIA GeForce RTX 5090"),
        (replace(ROBOT, libraries={"tensorrt": "11.0"}), "built with tensorrt 10.13.3, here is 11.0"),
    ],
)
def test_a_foreign_plan_is_named_with_the_command_that_rebuilds_it(folder, machine, reason):
    with pytest.raises(DpmError) as raised:
        find_plans(folder, MANIFEST, machine)
    assert "no TensorRT plan of 'encoder' fits: encoder-sm86-tensorrt10.13.3-" in str(raised.value)
    assert reason in str(raised.value)
    assert f"`dpm tensorrt {folder}`" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_altered_plan_is_not_loaded(folder):
    path = folder / plan_name("window", LIBRARY, ((8, 6),), source_of(GRAPHS[1]))
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DpmError, match=r"'window' fits: .* altered: its checksum"):
        find_plans(folder, MANIFEST, ROBOT)


def test_levels_stay_where_the_window_wrote_them(folder, loaded_library):
    running, _ = plans(folder)
    for name in (f"level_{n}" for n in range(4)):
        assert running["time"].inputs[name] is running["window"].outputs[name]


def test_the_engine_gives_tensors_of_its_own(folder, loaded_library):
    running, stream = plans(folder)
    engine = ExportedEngine(MANIFEST, running, "fake", CPU)
    images = [torch.full((3, H, W), value) for value in (0.0, 0.5, 1.0)]
    tokens = [engine.encode(image) for image in images]
    assert [float(each[0, 0]) for each in tokens] == [0.0, 1764.0, 3528.0]  # sums of 3 x 28 x 42
    first = engine.predict(tokens, (H, W), (2, 0))
    kept = first.points.clone()
    for _ in range(3):
        engine.predict([tokens[2]] * 3, (H, W), (2, 0))
    torch.testing.assert_close(first.points, kept)
    assert stream.recorded == 3
    assert not torch.equal(engine.predict([tokens[2]] * 3, (H, W), (2, 0)).points, kept)


def test_a_plan_of_other_tensors_than_its_graphs(folder, loaded_library):
    put_plan(folder, GRAPHS[2], content=content_of(graph("time", {"level_0": LEVEL}, {"points": (1, 2)})))
    with pytest.raises(DpmError, match=r"takes or gives other tensors than its graph \(conf, level_1.*build it again"):
        plans(folder)


def test_a_window_too_long_for_the_gpu_says_which_would_fit(folder, loaded_library):
    put_plan(folder, GRAPHS[2], content=content_of(GRAPHS[2], no_memory=True))
    with pytest.raises(OutOfDeviceMemoryError, match=r"'vdpm-mini' needs about .*a window of 2 would fit"):
        plans(folder, free=1 << 30)
    with pytest.raises(OutOfDeviceMemoryError, match="its weights alone do not fit"):
        plans(folder, free=0)


def test_tensorrt_wants_a_gpu(folder, monkeypatch):
    monkeypatch.setattr(tensorrt_engine, "read_manifest", lambda folder: MANIFEST)
    with pytest.raises(DpmError, match="TensorRT runs on a GPU, not on cpu"):
        open_tensorrt(folder, CPU)


def test_a_sidecar_says_which_gpu_a_plan_was_built_on(folder):
    (path,) = folder.glob("time-*.plan")
    sidecar = read_sidecar(path)
    write_sidecar(path, replace(sidecar, gpu="NVIDIA RTX A2000 Laptop"))
    assert read_sidecar(path).built_for == "NVIDIA RTX A2000 Laptop (compute capability 8.6)"
