# SPDX-License-Identifier: Apache-2.0
"""Every graph of every family is built by `tensorrt_rtx` for three generations of GPUs, none of them here."""

import pytest
import torch
from small_exports import WINDOW, loaded, size_of

from dpm_core.engines.export_graphs import graphs_of
from dpm_core.engines.export_onnx import save_graph, to_onnx
from dpm_core.engines.manifest import read_manifest
from dpm_core.engines.tensorrt_build import BuildSettings, build
from dpm_core.engines.tensorrt_library import available, load_library

GPUS = ((8, 6), (8, 9), (12, 0))

pytestmark = [
    pytest.mark.skipif("tensorrt_rtx" not in available(), reason="tensorrt_rtx is not installed"),
    pytest.mark.timeout(900),  # the first to ask makes the export too
]


def assert_built(folder, spec):
    """Strongly typed, for all three, with the graph's own inputs and outputs."""
    built = build(load_library("tensorrt_rtx"), folder / spec.file, BuildSettings(GPUS), lambda fraction: None)
    assert (built.inputs, built.outputs) == (spec.inputs, spec.outputs)
    assert built.plan.nbytes > 1 << 19


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("vdpm", "fp32"),
        ("vdpm", "bf16"),
        ("vggt", "fp32"),
        ("dust3r linear", "fp32"),
        ("dust3r linear", "bf16"),
        ("d2ust3r heads", "fp32"),
        ("pomato", "fp32"),
        ("pomato temporal", "fp32"),
    ],
)
def test_every_graph_of_an_export_is_built(exports, name, precision):
    folder = exports(name, precision)
    for spec in read_manifest(folder).graphs.values():
        assert_built(folder, spec)


@pytest.mark.parametrize("name", ["vdpm addition", "vdpm dpt"])
def test_the_variants_of_vdpms_decoder_are_built(name, tmp_path):
    network = loaded(name).network.requires_grad_(False)
    graph = graphs_of(network, size_of(name), WINDOW)[-1]
    assert graph.name == "time"
    with torch.no_grad():
        assert_built(tmp_path, save_graph(to_onnx(graph), graph, tmp_path))
