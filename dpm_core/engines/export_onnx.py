# SPDX-License-Identifier: Apache-2.0
"""A part of a network to an ONNX file, by torch's dynamo exporter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.fx.experimental.const_fold import split_const_subgraphs

from ..checkpoints.download import sha256
from .export_graphs import ModuleGraph
from .export_precision import widen_softmax
from .manifest import GraphSpec, TensorSpec
from .onnx_fused import fuse

if TYPE_CHECKING:
    import onnx_ir

OPSET = 20
"""The newest whose operators Jetson's TensorRT 10.3 parses: attention stays MatMul, Softmax, MatMul."""

INLINE_BYTES = 1 << 30
"""Weights beyond this lie in a file beside the graph; protobuf ends at 2 GiB."""


def to_onnx(graph: ModuleGraph) -> onnx_ir.Model:
    """Trace a graph. Whatever depends on no input is computed now and becomes a constant: rotary tables, resampled
    position embeddings, sine embeddings of maps."""
    inputs = tuple(torch.zeros(shape) for shape in graph.inputs.values())
    with _quiet(), torch.no_grad():
        traced = torch.export.export(graph.module, inputs, strict=False).module()
        folded = _folded(traced)
        program: Any = torch.onnx.export(
            folded,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            optimize=True,
            verbose=False,
        )
    model: onnx_ir.Model = program.model
    widen_softmax(model)
    _forget_origins(model)
    return model


def _folded(traced: nn.Module) -> nn.Module:
    folded = split_const_subgraphs(traced)
    folded.run_folding()
    return folded


def _forget_origins(model: onnx_ir.Model) -> None:
    """Stack traces name the files of the machine that exported, and make up half of a small graph."""
    for node in model.graph:
        node.metadata_props.clear()
    model.metadata_props.clear()


def save_graph(
    model: onnx_ir.Model, graph: ModuleGraph, folder: Path, inline_bytes: int = INLINE_BYTES, fused: bool = False
) -> GraphSpec:
    """Write a graph into a folder that is being made.

    Args:
        model, graph: from `to_onnx`.
        folder: where its files come.
        inline_bytes: weights beyond this lie beside the graph.
        fused: whether ONNX Runtime's CPU provider has operators for what is in it, all of it being float32.

    Raises:
        OSError: the disk is full.
    """
    import onnx_ir

    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    file = folder / f"{graph.name}.onnx"
    beside = None if size <= inline_bytes else f"{graph.name}.weights"
    onnx_ir.save(model, file, external_data=beside)
    for_cpu = _save_fused(file) if fused else None
    return GraphSpec(
        graph.name,
        file.name,
        tuple(_tensor(value) for value in model.graph.inputs),
        tuple(_tensor(value) for value in model.graph.outputs),
        {name: sha256(folder / name) for name in (file.name, beside, for_cpu) if name is not None},
        for_cpu,
    )


def _save_fused(file: Path) -> str | None:
    """The graph's other form beside it, or None where nothing in it is fused. Weights that lie beside serve both."""
    import onnx_ir

    model = onnx_ir.load(file)
    if not any(fuse(model)):
        return None
    fused = file.with_suffix(".fused.onnx")
    onnx_ir.save(model, fused)
    return fused.name


def _tensor(value: Any) -> TensorSpec:
    dtype = str(torch.from_numpy(value.dtype.numpy().type(0).reshape(1)).dtype).removeprefix("torch.")
    return TensorSpec(value.name, tuple(int(side) for side in value.shape), dtype)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter speaks of packages that are not there, of its own future, and to whoever listens of every step."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "torch.__trace")]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
