# SPDX-License-Identifier: Apache-2.0
"""Precision as a part of the graph: TensorRT 11 takes types as they are written, and chooses none itself.

What is narrow: the trunk's matrices and patch convolutions, and what flows between them, attention's products too.
What stays float32: norms, softmax, the residual stream, rotary angles, all heads, and what goes in and out of a graph.
It is what autocast did on the GPUs where the networks were trained, written down cast by cast.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..models.camera_head import CameraHead
from ..models.croco import CrocoTrunk
from ..models.decoder import Modulation
from ..models.dpt import DptFeatures
from ..models.flow_head import FlowHead
from ..models.layers import PatchEmbed
from ..models.pair_heads import LinearHead, PairDptHead
from ..models.track_head import TrackHead
from .manifest import Precision

if TYPE_CHECKING:
    import onnx_ir

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
HEADS = (CameraHead, DptFeatures, PairDptHead, LinearHead, FlowHead, TrackHead)


def narrow(network: nn.Module, precision: Precision) -> None:
    """Make the trunk of a network narrow, in place and for good; nothing is done for fp32."""
    dtype = DTYPES[precision]
    if dtype is torch.float32:
        return
    for module in _trunk(network):
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to(dtype)
            module.register_forward_pre_hook(_cast_input(dtype))
        elif isinstance(module, nn.LayerNorm):
            module.register_forward_pre_hook(_cast_input(torch.float32))
        if isinstance(module, PatchEmbed | Modulation):
            module.register_forward_hook(_widen_output)
        elif isinstance(module, CrocoTrunk):
            # Where the decoder's residual stream begins.
            module.decoder_embed.register_forward_hook(_widen_output)


def _trunk(module: nn.Module) -> Iterator[nn.Module]:
    yield module
    for child in module.children():
        if not isinstance(child, HEADS):
            yield from _trunk(child)


def _cast_input(dtype: torch.dtype) -> Any:
    def cast(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(each.to(dtype) for each in inputs)

    return cast


def _widen_output(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.float()


def widen_softmax(model: onnx_ir.Model) -> None:
    """Put casts to float32 and back around every narrow softmax, in place."""
    import onnx_ir

    for node in list(model.graph):
        if node.op_type == "Softmax" and node.outputs[0].dtype in _narrow_types():
            _compute_in_float32(onnx_ir, model, node)


def widen_all(model: onnx_ir.Model) -> None:
    """Compute every narrow operation in float32 and round its result, in place.

    The numbers are those of a GPU that accumulates in float32; ONNX Runtime's CPU provider has no bfloat16 kernels.
    """
    import onnx_ir

    for node in list(model.graph):
        touched = [value.dtype for value in (*node.inputs, *node.outputs) if value is not None]
        if node.op_type != "Cast" and any(dtype in _narrow_types() for dtype in touched):
            _compute_in_float32(onnx_ir, model, node)


def _narrow_types() -> tuple[Any, ...]:
    import onnx_ir

    return onnx_ir.DataType.BFLOAT16, onnx_ir.DataType.FLOAT16


def _compute_in_float32(ir: Any, model: onnx_ir.Model, node: onnx_ir.Node) -> None:
    """node(x) becomes cast(node(cast(x)))."""
    wide = ir.DataType.FLOAT

    def cast(value: Any, dtype: Any, name: str) -> Any:
        made = ir.node("Cast", [value], attributes={"to": dtype.value}, name=name)
        made.outputs[0].name, made.outputs[0].shape, made.outputs[0].dtype = name, value.shape, dtype
        return made

    for index, value in enumerate(node.inputs):
        if value is not None and value.dtype in _narrow_types():
            before = cast(value, wide, f"{node.name}_in_{index}")
            model.graph.insert_before(node, before)
            node.replace_input_with(index, before.outputs[0])
    for index, value in enumerate(node.outputs):
        if value.dtype in _narrow_types():
            users = list(value.uses())
            after = cast(value, value.dtype, f"{node.name}_out_{index}")
            value.dtype = wide
            model.graph.insert_after(node, after)
            for user, place in users:
                user.replace_input_with(place, after.outputs[0])
