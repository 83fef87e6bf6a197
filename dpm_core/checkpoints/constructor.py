# SPDX-License-Identifier: Apache-2.0
"""The Python expression by which DUSt3R's and POMATO's files tell their network: read as data, never evaluated."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DpmError


@dataclass(frozen=True)
class Constructor:
    """`Name(key=literal, …)`."""

    name: str
    arguments: Mapping[str, Any]


def parse_constructor(text: str) -> Constructor:
    """Literals, tuples and lists of them, and the names `inf` and `nan` with a sign; nothing else.

    Raises:
        DpmError: the text is another kind of expression.
    """
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _not_plain(text) from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise _not_plain(text)
    named = {each.arg: each.value for each in call.keywords if each.arg is not None}
    if len(named) != len(call.keywords):
        raise _not_plain(text)
    return Constructor(call.func.id, {name: _literal(value, text) for name, value in named.items()})


_NAMES = {"inf": math.inf, "nan": math.nan}


def _literal(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_literal(each, text) for each in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _literal(node.operand, text)
        if isinstance(value, int | float):
            return -value if isinstance(node.op, ast.USub) else value
    raise _not_plain(text)


def _not_plain(text: str) -> DpmError:
    return DpmError(
        f"network description '{' '.join(text.split())[:80]}' is not Name(key=value, …); nothing is run of it"
    )


# What our networks do; a file that was trained with something else would load and be wrong.
_WANTED: Mapping[str, tuple[Any, ...]] = {
    "pos_embed": ("RoPE100",),
    "depth_mode": (("exp", -math.inf, math.inf),),
    "conf_mode": (("exp", 1, math.inf),),
}


def first_difference(constructor: Constructor, sizes: Mapping[str, Any]) -> str | None:
    """What of the description is not what our network does, in words; None where all agrees.

    Args:
        constructor: of the file.
        sizes: further arguments and their values as our configuration has them.
    """
    wanted = {**_WANTED, **{name: (value,) for name, value in sizes.items()}}
    for name, allowed in wanted.items():
        if name in constructor.arguments and constructor.arguments[name] not in allowed:
            return f"it was made with {name}={constructor.arguments[name]!r}, not {allowed[0]!r}"
    return None


_SIZES = {
    "enc_embed_dim": "dim",
    "enc_depth": "depth",
    "enc_num_heads": "heads",
    "dec_embed_dim": "decoder_dim",
    "dec_depth": "decoder_depth",
    "dec_num_heads": "decoder_heads",
}


def told_sizes(config: Any) -> dict[str, Any]:
    """What such a description would say of a configuration. Not all of it shows in shapes: the heads do not."""
    croco = getattr(config, "croco", None)
    return {} if croco is None else {name: getattr(croco, field) for name, field in _SIZES.items()}
