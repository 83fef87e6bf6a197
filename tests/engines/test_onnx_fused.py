# SPDX-License-Identifier: Apache-2.0
"""The form of a graph for ONNX Runtime's CPU provider says what the plain form says, with operators that fuse."""

import json
import shutil

import numpy as np
import onnx_ir
import onnxruntime
import pytest
import torch
from small_exports import CPU, frames, loaded, size_of

from dpm_core.engines import onnx_graph
from dpm_core.engines.export_graphs import graphs_of
from dpm_core.engines.export_onnx import save_graph, to_onnx
from dpm_core.engines.manifest import read_manifest
from dpm_core.engines.onnx_fused import Fused, fuse
from dpm_core.engines.onnx_graph import OnnxGraph, open_onnx
from dpm_core.errors import DpmError

pytestmark = pytest.mark.timeout(900)  # who asks first for an export makes it, on machines that may be busy


def kinds(path):
    return [node.op_type for node in onnx_ir.load(path).graph]


def said(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


@pytest.mark.parametrize("name", ["vdpm", "d2ust3r heads", "pomato temporal"])
def test_both_forms_say_the_same(exports, name):
    folder, random = exports(name), np.random.default_rng(0)
    for graph in read_manifest(folder).graphs.values():
        inputs = {each.name: random.random(each.shape, dtype=np.float32) for each in graph.inputs}
        plain, fused = (said(folder / file, inputs) for file in (graph.file, graph.fused))
        for ours, theirs in zip(fused, plain, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(theirs).max())))


@pytest.mark.parametrize("graph", ["encoder", "window", "time"])
def test_no_attention_of_vdpm_writes_its_scores(exports, graph):
    plain, fused = kinds(exports("vdpm") / f"{graph}.onnx"), kinds(exports("vdpm") / f"{graph}.fused.onnx")
    assert fused.count("MultiHeadAttention") == plain.count("Softmax") > 0
    assert "Softmax" not in fused
    assert "MultiHeadAttention" not in plain


def test_queries_and_keys_turn_by_one_operator(exports):
    # One frame block and one block across frames, queries and keys of each.
    assert kinds(exports("vdpm") / "time.fused.onnx").count("RotaryEmbedding") == 4


def test_what_has_another_form_stays_as_it_is():
    model = onnx_ir.from_onnx_text(
        """
        <ir_version: 10, opset_import: ["" : 20]>
        agraph (float[1, 2, 4, 4] scores, float[1, 2, 4, 8] v, float[1, 2, 4, 8] w) => (float[1, 2, 4, 8] out) {
            shares = Softmax <axis = -1> (scores)
            mixed = MatMul (shares, v)
            out = Add (mixed, w)
        }
        """
    )
    assert fuse(model) == Fused(attention=0, rotary=0)
    assert [node.op_type for node in model.graph] == ["Softmax", "MatMul", "Add"]


def test_weights_that_lie_beside_serve_both_forms(tmp_path):
    network = loaded("dust3r linear").network.requires_grad_(False)
    encoder = graphs_of(network, size_of("dust3r linear"), None)[0]
    spec = save_graph(to_onnx(encoder), encoder, tmp_path, inline_bytes=0, fused=True)
    assert set(spec.sha256) == {"encoder.onnx", "encoder.fused.onnx", "encoder.weights"}
    image = frames(1, size_of("dust3r linear"))[0]
    tokens = OnnxGraph(tmp_path / spec.fused, spec, CPU, threads=1).run({"image": image})["tokens"]
    torch.testing.assert_close(tokens, network.encode(image[None])[0], rtol=1e-5, atol=1e-5)


def test_the_cpu_takes_the_fused_form_and_a_gpu_the_plain_one(exports, monkeypatch):
    folder, opened = exports("vdpm"), []
    monkeypatch.setattr(onnx_graph, "OnnxGraph", lambda path, *rest: opened.append(path.name))
    open_onnx(folder, CPU)
    assert opened == ["encoder.fused.onnx", "window.fused.onnx", "time.fused.onnx"]
    opened.clear()
    open_onnx(folder, torch.device("cuda"))
    assert opened == ["encoder.onnx", "window.onnx", "time.onnx"]


def test_narrow_exports_have_no_such_form(exports):
    assert all(graph.fused is None for graph in read_manifest(exports("dust3r linear", "bf16")).graphs.values())


@pytest.fixture
def copy(exports, tmp_path):
    shutil.copytree(exports("vdpm"), tmp_path / "export")
    return tmp_path / "export"


def test_a_fused_form_that_is_altered_is_told(copy):
    (copy / "time.fused.onnx").write_bytes(b"something else")
    with pytest.raises(DpmError, match=r"time.fused.onnx is cut short or altered"):
        open_onnx(copy, CPU)


def test_exports_of_before_there_was_one_run_as_they_are(copy):
    plain = json.loads((copy / "manifest.json").read_text())
    for graph in plain["graphs"].values():
        del graph["sha256"][graph.pop("fused")]
    (copy / "manifest.json").write_text(json.dumps(plain))
    engine = open_onnx(copy, CPU)
    assert engine.encode(frames(1, size_of("vdpm"))[0]).shape == (6, 24)
