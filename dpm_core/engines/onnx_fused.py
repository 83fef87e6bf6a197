# SPDX-License-Identifier: Apache-2.0
"""A float32 graph as ONNX Runtime's CPU provider runs it best: attention and rotary positions one operator each.

What `dpm export` writes for TensorRT says attention as MatMul, Softmax, MatMul. Run like that it writes the scores of
all tokens to all tokens to memory: 120 MB in `vdpm-mini`'s time decoder. ONNX Runtime's own operators (domain
com.microsoft, docs/ContribOperators.md of its sources) do the same arithmetic block by block in the processor's cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

DOMAIN = "com.microsoft"
_HEADS_FIRST = (0, 2, 1, 3)


class Fused(NamedTuple):
    """How many operators were made."""

    attention: int
    rotary: int


def fuse(model: onnx_ir.Model) -> Fused:
    """Rewrite a graph of `export_onnx`, in place; what has another form stays as it is."""
    rotary = sum(_replaced(model, node, _rotary) for node in list(model.graph) if node.op_type == "Add")
    attention = sum(_replaced(model, node, _attention) for node in list(model.graph) if node.op_type == "Softmax")
    if rotary or attention:
        model.opset_imports[DOMAIN] = 1
        _drop_unused(model)
    return Fused(attention, rotary)


class _Site(NamedTuple):
    """Where new nodes come: before `last`, whose output they give from then on."""

    last: Any
    nodes: list[Any]


def _replaced(model: onnx_ir.Model, node: Any, rule: Any) -> bool:
    try:
        site = rule(model, node)
    except _OtherFormError:
        return False
    old, new = site.last.outputs[0], site.nodes[-1].outputs[0]
    new.shape, new.dtype = old.shape, old.dtype
    model.graph.insert_before(site.last, site.nodes)
    for user, place in list(old.uses()):
        user.replace_input_with(place, new)
    return True


def _attention(model: onnx_ir.Model, softmax: Any) -> _Site:
    """softmax(s q (s k)ᵀ) v, heads first, becomes MultiHeadAttention of tokens [B, N, heads * d]."""
    scores = _made_by(softmax.inputs[0], "MatMul")
    query, scale = _scaled(scores.inputs[0])
    key, key_scale = _scaled(scores.inputs[1])
    weighted = _only_user(softmax.outputs[0], "MatMul")
    query, value = _tokens_first(query), _tokens_first(weighted.inputs[1])
    key = _tokens_first(_untransposed(key))
    tokens = _only_user(_only_user(weighted.outputs[0], "Transpose").outputs[0], "Reshape")
    heads, dim = query.shape[2], query.shape[3]
    flat = [_reshaped(model, x, (x.shape[0], x.shape[1], heads * dim)) for x in (query, key, value)]
    fused = _node(
        "MultiHeadAttention", [each.outputs[0] for each in flat], num_heads=int(heads), scale=float(scale * key_scale)
    )
    return _Site(tokens, [*flat, fused])


def _rotary(model: onnx_ir.Model, add: Any) -> _Site:
    """x cos + swapped(x) sin (see `models.rope.rotate`) becomes RotaryEmbedding.

    To that operator a token is a row that turns by its place in a table, one half of it against the other. Here these
    are the halves of each head that turn with y and with x, each a row.
    """
    turned, swapped = (_made_by(value, "Mul") for value in add.inputs)
    x, cos = turned.inputs[0], _constant(turned.inputs[1])
    sin = _constant(swapped.inputs[1])
    concat = _made_by(_made_by(swapped.inputs[0], "Reshape").inputs[0], "Concat")
    halves = [_half(each) for each in concat.inputs]
    batch, tokens, heads, dim = (int(side) for side in x.shape)
    quarter = dim // 4
    as_halves = [batch, tokens, heads, 2, 2, quarter]
    if [index for _, index in halves] != [1, 0] or any(list(source.shape) != as_halves for source, _ in halves):
        raise _OtherFormError
    if any(_made_by(source, "Reshape").inputs[0] is not x for source, _ in halves):
        raise _OtherFormError
    if not cos.shape == sin.shape == (tokens, 1, dim):
        raise _OtherFormError
    # [tokens, 1, 2 axes, 2 halves, quarter]: both halves have one cosine, the second half's sine is the positive one.
    tables = [
        np.repeat(table.reshape(tokens, 1, 2, 2, quarter)[:, :, :, half], heads, axis=1).reshape(-1, quarter)
        for table, half in ((cos, 0), (sin, 1))
    ]
    rows = _reshaped(model, x, (batch, tokens * heads * 2, 2 * quarter))
    begin = _initializer(model, np.zeros(1, np.int64))
    inputs = [rows.outputs[0], begin, *(_initializer(model, table) for table in tables)]
    fused = _node("RotaryEmbedding", inputs)
    back = _reshaped(model, fused.outputs[0], (batch, tokens, heads, dim))
    return _Site(add, [rows, fused, back])


class _OtherFormError(Exception):
    """This is not what a rule rewrites."""


def _made_by(value: Any, kind: str) -> Any:
    node = None if value is None else value.producer()
    if node is None or node.op_type != kind:
        raise _OtherFormError
    return node


def _only_user(value: Any, kind: str) -> Any:
    users = list(value.uses())
    if len(users) != 1 or users[0].node.op_type != kind or value.is_graph_output():
        raise _OtherFormError
    return users[0].node


def _constant(value: Any) -> Any:
    if value.const_value is None:
        raise _OtherFormError
    return value.const_value.numpy()


def _scaled(value: Any) -> tuple[Any, float]:
    """x and s of s x."""
    node = _made_by(value, "Mul")
    factor = _constant(node.inputs[1])
    if factor.size != 1:
        raise _OtherFormError
    return node.inputs[0], float(factor.reshape(()))


def _half(value: Any) -> tuple[Any, int]:
    """x [..., 2, quarter] and which of the two was taken of it, for [..., 1, quarter]."""
    node = _made_by(_made_by(_made_by(value, "Unsqueeze").inputs[0], "Squeeze").inputs[0], "Slice")
    begin, _, axis = (_constant(each) for each in node.inputs[1:4])
    if axis.tolist() != [-2]:
        raise _OtherFormError
    return node.inputs[0], int(begin[0])


def _tokens_first(value: Any) -> Any:
    """[B, N, heads, d] of what was made [B, heads, N, d]."""
    node = _made_by(value, "Transpose")
    if tuple(node.attributes["perm"].value) != _HEADS_FIRST:
        raise _OtherFormError
    return node.inputs[0]


def _untransposed(value: Any) -> Any:
    """[B, heads, N, d] of its transpose [B, heads, d, N], which the exporter makes with batch and heads as one."""
    transpose = _made_by(_made_by(value, "Reshape").inputs[0], "Transpose")
    source = _made_by(transpose.inputs[0], "Reshape").inputs[0]
    batch, heads, dim, tokens = value.shape
    if tuple(transpose.attributes["perm"].value) != (0, 2, 1) or list(source.shape) != [batch, heads, tokens, dim]:
        raise _OtherFormError
    return source


def _reshaped(model: onnx_ir.Model, value: Any, shape: tuple[int, ...]) -> Any:
    import onnx_ir

    node = _node("Reshape", [value, _initializer(model, np.array(shape, np.int64))], domain="")
    node.outputs[0].shape, node.outputs[0].dtype = onnx_ir.Shape(shape), value.dtype
    return node


def _node(kind: str, inputs: list[Any], domain: str = DOMAIN, **attributes: Any) -> Any:
    import onnx_ir

    return onnx_ir.node(kind, inputs, attributes=attributes, domain=domain)


def _initializer(model: onnx_ir.Model, content: Any) -> Any:
    import onnx_ir

    name = f"fused_{len(model.graph.initializers)}"
    tensor = onnx_ir.tensor(np.ascontiguousarray(content), name=name)
    value = onnx_ir.Value(
        name=name, shape=onnx_ir.Shape(content.shape), type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    model.graph.register_initializer(value)
    return value


def _drop_unused(model: onnx_ir.Model) -> None:
    """What the replaced nodes alone needed."""
    for node in reversed(list(model.graph)):
        if not any(output.is_graph_output() or list(output.uses()) for output in node.outputs):
            model.graph.remove(node, safe=True)
    for name in [name for name, value in model.graph.initializers.items() if not list(value.uses())]:
        del model.graph.initializers[name]
