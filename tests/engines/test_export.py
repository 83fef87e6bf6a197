# SPDX-License-Identifier: Apache-2.0
"""A network exported and run by ONNX Runtime is the eager network, or the export is not there."""

import errno
import json
import shutil
from types import SimpleNamespace

import onnx
import onnxruntime
import pytest
import torch
from small_exports import CPU, WINDOW, assert_as_eager, export, frames, loaded, size_of

from dpm_core.engines import export_onnx, export_parity, open_engine
from dpm_core.engines.export import Export, weights_checksum
from dpm_core.engines.export_graphs import graphs_of
from dpm_core.engines.export_parity import Limits
from dpm_core.engines.manifest import read_manifest
from dpm_core.engines.onnx_graph import OnnxGraph, open_onnx
from dpm_core.errors import DpmError

pytestmark = pytest.mark.timeout(900)  # who asks first for an export makes it, on machines that may be busy

# One network a graph shape; the variants of V-DPM's decoder and of the heads are in test_exported_engine.
EXPORTED = ["vdpm", "vggt", "dust3r linear", "d2ust3r heads", "pomato", "pomato temporal"]


@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_runtime_says_what_the_network_says(exports, name):
    assert_as_eager(open_onnx(exports(name), CPU), name, frames(WINDOW, size_of(name), seed=5), (2, 0))


def test_the_manifest_tells_what_was_exported_and_how_well(exports):
    manifest = read_manifest(exports("vdpm"))
    assert list(manifest.graphs) == ["encoder", "window", "time"]
    assert (manifest.model, manifest.window, manifest.size, manifest.precision) == ("vdpm-mini", 3, (28, 42), "fp32")
    assert manifest.weights_sha256 == weights_checksum(loaded("vdpm").network)
    assert manifest.parity_frames == "two noisy frames"
    assert manifest.made_with["torch"] == torch.__version__
    outputs = {f"{name}.{each.name}" for name, graph in manifest.graphs.items() for each in graph.outputs}
    assert set(manifest.parity) == outputs
    assert all(deviation.p99 < 1e-4 and deviation.cosine > 0.99999 for deviation in manifest.parity.values())
    assert all(
        each.dtype == "float32" for graph in manifest.graphs.values() for each in (*graph.inputs, *graph.outputs)
    )


def test_what_depends_on_no_input_is_a_constant(exports):
    operators = {node.op_type for node in onnx.load(exports("vdpm") / "window.onnx").graph.node}
    assert not operators & {"Range", "Sin", "Cos", "Pow", "If", "Loop", "ConstantOfShape", "Shape", "Einsum"}
    # Attention as TensorRT's fused kernels know it.
    assert {"MatMul", "Softmax"} <= operators
    assert not operators & {"Attention", "ReduceMax"}
    resized = [node for node in onnx.load(exports("vdpm") / "encoder.onnx").graph.node if node.op_type == "Resize"]
    assert not resized  # the position embedding is resampled already


def test_graphs_tell_nothing_of_the_machine_that_made_them(exports):
    for name in ("encoder", "window", "time"):
        content = (exports("vdpm") / f"{name}.onnx").read_bytes()
        assert b".py" not in content


def types_of(path):
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    types = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.output)}
    types |= {value.name: value.data_type for value in model.graph.initializer}
    return [(node.op_type, types.get(node.output[0])) for node in model.graph.node]


def test_precision_is_in_the_graph(exports):
    types = types_of(exports("dust3r linear", "bf16") / "pair.onnx")
    narrow, wide = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    assert {dtype for operator, dtype in types if operator in ("LayerNormalization", "Softmax")} == {wide}
    products = [dtype for operator, dtype in types if operator == "MatMul"]
    assert products[-1] == wide  # the head's
    assert products.count(narrow) > 40
    manifest = read_manifest(exports("dust3r linear", "bf16"))
    assert {each.dtype for each in (*manifest.graphs["pair"].inputs, *manifest.graphs["pair"].outputs)} == {"float32"}


def test_what_narrow_types_cost_is_measured(exports):
    exact, narrow = (read_manifest(exports("dust3r linear", each)).parity["pair.points_1"] for each in ("fp32", "bf16"))
    assert narrow.p99 > 10 * exact.p99
    assert narrow.cosine > 0.99


def test_onnx_runtime_refuses_bf16_on_the_cpu(exports):
    with pytest.raises(DpmError, match="is bf16, which ONNX Runtime computes only on a GPU; export with"):
        open_onnx(exports("dust3r linear", "bf16"), CPU)


def test_large_weights_lie_beside_the_graph(tmp_path):
    network = loaded("dust3r linear").network.requires_grad_(False)
    encoder = graphs_of(network, size_of("dust3r linear"), None)[0]
    spec = export_onnx.save_graph(export_onnx.to_onnx(encoder), encoder, tmp_path, inline_bytes=0)
    assert set(spec.sha256) == {"encoder.onnx", "encoder.weights"}
    image = frames(1, size_of("dust3r linear"))[0]
    said = OnnxGraph(tmp_path / spec.file, spec, CPU, threads=1).run({"image": image})["tokens"]
    torch.testing.assert_close(said, network.encode(image[None])[0], rtol=1e-5, atol=1e-5)


def test_an_export_that_is_not_the_network_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setitem(export_parity.LIMITS, "fp32", Limits(p99=0.0, cosine=1.1))
    told = []
    with pytest.raises(DpmError, match=r"the export is not what the network says: encoder.tokens is off by"):
        export("dust3r linear", tmp_path / "out", on_step=told.append)
    assert told == ["eager network", "encoder", "pair", "check"]
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_onnx, "save_graph", full)
    with pytest.raises(DpmError, match=r"no room for .*; nothing was kept"):
        export("dust3r linear", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_too_small_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10 << 20))
    told = []
    with pytest.raises(DpmError, match=r"has 10 MB free, the export needs 6\d MB"):
        export("dust3r linear", tmp_path / "out", on_step=told.append)
    assert not told
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_replaced_only_when_asked(exports, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(exports("vdpm"), folder)
    with pytest.raises(DpmError, match="is there already; choose another --out, or give --overwrite"):
        export("dust3r linear", folder)
    assert read_manifest(folder).model == "vdpm-mini"


def test_an_unknown_precision_is_refused():
    with pytest.raises(DpmError, match="precision 'int4' is not known; choose one of: fp32, bf16, fp16"):
        Export(precision="int4")


class TestChoice:
    def test_a_folder_is_run_by_onnx_runtime(self, exports):
        for backend in ("auto", "onnx"):
            engine = open_engine(str(exports("vdpm")), device="cpu", backend=backend)
            assert engine.name == f"vdpm-mini (ONNX Runtime {onnxruntime.__version__}, fp32, cpu)"

    def test_torch_runs_no_folder(self, exports):
        with pytest.raises(DpmError, match="which torch does not run; choose backend auto, tensorrt or onnx"):
            open_engine(str(exports("vdpm")), backend="torch")

    def test_a_folder_has_weights_of_its_own(self, exports, tmp_path):
        with pytest.raises(DpmError, match="is an export with weights of its own"):
            open_engine(str(exports("vdpm")), weights=tmp_path / "weights.safetensors")

    def test_onnx_needs_a_folder(self):
        with pytest.raises(DpmError, match="dpm export vdpm-mini --out DIR"):
            open_engine("vdpm-mini", backend="onnx")

    def test_a_folder_that_is_no_export(self, tmp_path):
        with pytest.raises(DpmError, match=r"has no manifest.json, so it is no exported model"):
            open_engine(str(tmp_path))


class TestDamage:
    @pytest.fixture
    def folder(self, exports, tmp_path):
        copy = tmp_path / "export"
        shutil.copytree(exports("vdpm"), copy)
        return copy

    def test_a_file_that_is_cut_short(self, folder):
        path = folder / "window.onnx"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(DpmError, match=r"window.onnx is cut short or altered: SHA-256 .*; export it again"):
            open_onnx(folder, CPU)

    def test_a_file_that_is_altered(self, folder):
        path = folder / "time.onnx"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(DpmError, match=r"time.onnx is cut short or altered"):
            open_onnx(folder, CPU)

    def test_a_file_that_is_missing(self, folder):
        (folder / "encoder.onnx").unlink()
        with pytest.raises(DpmError, match=r"encoder.onnx is missing"):
            open_onnx(folder, CPU)

    @pytest.mark.parametrize(
        "change",
        [
            lambda plain: plain.pop("graphs"),
            lambda plain: plain.update(precision="int4"),
            lambda plain: plain.update(unknown=1),
            lambda plain: plain["graphs"]["encoder"].update(file="../encoder.onnx"),
            lambda plain: plain["graphs"].update(encoder=[]),
        ],
    )
    def test_a_manifest_that_is_damaged(self, folder, change):
        path = folder / "manifest.json"
        plain = json.loads(path.read_text())
        change(plain)
        path.write_text(json.dumps(plain))
        with pytest.raises(DpmError, match=r"manifest.json is damaged .*export it again"):
            open_onnx(folder, CPU)

    def test_a_manifest_that_is_no_json(self, folder):
        (folder / "manifest.json").write_text("{")
        with pytest.raises(DpmError, match=r"manifest.json is damaged"):
            open_onnx(folder, CPU)

    def test_a_manifest_of_a_later_format(self, folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
        with pytest.raises(DpmError, match="has format 2, this dpm reads format 1"):
            open_onnx(folder, CPU)
