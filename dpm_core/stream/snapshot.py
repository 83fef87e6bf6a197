# SPDX-License-Identifier: Apache-2.0
"""What an object remembers, in a file and back, to the bit: so that work that was killed goes on as if it had not been.

The file is a safetensors file: tensors, and in its metadata a tree of plain values that refers to them. Reading it
makes objects of known packages and sets their attributes; no code of the file runs, and no constructor.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import atomic_file
from ..errors import DpmError

_TREE = "tree"
_PLAIN = (type(None), bool, int, float, str)
_SEQUENCES: dict[str, type] = {kind.__name__: kind for kind in (list, tuple, set, frozenset)}
_TABLES: dict[str, type] = {kind.__name__: kind for kind in (dict, Counter)}
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition)


def write_snapshot(path: Path, objects: dict[str, Any], besides: Collection[str] = ()) -> None:
    """Write what the objects remember. Atomic.

    Args:
        path: the file.
        objects: by names of the caller's choice.
        besides: attributes of these objects themselves that are no memory, such as a session's engine. Locks never are.

    Raises:
        TypeError: something within is of a kind that cannot be kept.
    """
    writing = _Writing()
    tree = {name: _attributes(writing.node, thing, besides) for name, thing in objects.items()}
    with atomic_file(path) as unfinished:
        save_file(writing.tensors, unfinished, {_TREE: json.dumps(tree)})


def read_snapshot(path: Path, objects: dict[str, Any], trusted: Collection[str] = ("dpm_core",)) -> None:
    """Give freshly made objects the memory that was written under their names.

    Args:
        path: the file.
        objects: made as those that were written had been; what was left out then stays as it is.
        trusted: the packages whose classes may be within.

    Raises:
        DpmError: the file is damaged, or no snapshot of these objects.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            reading = _Reading({name: file.get_tensor(name) for name in file.keys()}, trusted)  # noqa: SIM118
            tree = json.loads(file.metadata()[_TREE])
        memories = {name: {key: reading.thing(node) for key, node in tree[name].items()} for name in objects}
    except Exception as error:  # whatever a damaged file leads to
        raise DpmError(f"{path} is no snapshot that can be used ({error}); remove it and begin anew") from error
    for name, thing in objects.items():
        for key, value in memories[name].items():
            object.__setattr__(thing, key, value)


def _attributes(node: Callable[[Any], Any], thing: Any, besides: Collection[str] = ()) -> dict[str, Any]:
    """Every attribute but locks, as nodes of the tree."""
    return {name: node(value) for name, value in _state(thing) if name not in besides and not isinstance(value, _LOCKS)}


def _state(thing: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(thing, name):
                yield name, getattr(thing, name)


class _Writing:
    """Makes nodes of things: plain values as they are, all else as [kind, content …, number]."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._seen: dict[int, tuple[int, Any]] = {}  # with the thing itself, so that no id is used twice

    def node(self, thing: Any) -> Any:
        """A thing that was met before is told by its number: what was shared stays shared."""
        if type(thing) in _PLAIN:
            return thing
        if id(thing) in self._seen:
            return ["same", self._seen[id(thing)][0]]
        number = len(self._seen)
        self._seen[id(thing)] = (number, thing)
        return [*(self._array(thing) or self._container(thing) or self._object(thing)), number]

    def _array(self, thing: Any) -> list[Any] | None:
        if isinstance(thing, Tensor):
            return ["tensor", self._stored(thing.detach().cpu()), str(thing.device)]
        if isinstance(thing, (np.ndarray, np.generic)):
            kind = "array" if isinstance(thing, np.ndarray) else "scalar"
            return [kind, self._stored(torch.from_numpy(np.array(thing)))]
        return None

    def _stored(self, tensor: Tensor) -> list[Any]:
        """[name, order of its axes in memory]: the last bit of a product may hang on that order."""
        name, strides = str(len(self.tensors)), tensor.stride()
        order = sorted(range(tensor.ndim), key=lambda axis: -strides[axis])
        self.tensors[name] = tensor.permute(order).clone(memory_format=torch.contiguous_format)
        return [name, order]

    def _container(self, thing: Any) -> list[Any] | None:
        kind = type(thing)
        if kind in _SEQUENCES.values():
            return [kind.__name__, [self.node(each) for each in thing]]
        if kind in _TABLES.values():
            return [kind.__name__, [[self.node(key), self.node(value)] for key, value in thing.items()]]
        if kind is deque:
            return ["deque", [self.node(each) for each in thing], thing.maxlen]
        if isinstance(thing, tuple):
            return ["named tuple", _name(kind), [self.node(each) for each in thing]]
        return None

    def _object(self, thing: Any) -> list[Any]:
        kind = type(thing)
        if isinstance(thing, Enum):
            return ["enum", _name(kind), thing.name]
        if isinstance(thing, torch.device):
            return ["device", str(thing)]
        if callable(thing) or not (hasattr(thing, "__dict__") or hasattr(kind, "__slots__")):
            raise TypeError(f"a {_name(kind)} cannot be kept in a snapshot: {thing!r:.100}")
        return ["object", _name(kind), _attributes(self.node, thing)]


class _Reading:
    """Makes things of nodes."""

    def __init__(self, tensors: dict[str, Tensor], trusted: Collection[str]) -> None:
        self._tensors = tensors
        self._trusted = trusted
        self._things: dict[int, Any] = {}

    def thing(self, node: Any) -> Any:
        """What `_Writing.node` made the node of."""
        if not isinstance(node, list):
            return node
        kind, *content, number = node
        if kind == "same":
            return self._things[number]
        if kind == "object":
            return self._object(number, *content)
        self._things[number] = made = self._made(kind, *content)
        return made

    def _object(self, number: int, name: str, attributes: dict[str, Any]) -> Any:
        self._things[number] = made = object.__new__(self._class(name))
        for key, node in attributes.items():
            object.__setattr__(made, key, self.thing(node))
        return made

    def _made(self, kind: str, content: Any, more: Any = None) -> Any:
        if kind == "tensor":
            return self._stored(*content).to(more)
        if kind in ("array", "scalar"):
            array = self._stored(*content).numpy()
            return array if kind == "array" else array[()]
        if kind in _SEQUENCES:
            return _SEQUENCES[kind](self.thing(node) for node in content)
        if kind in _TABLES:
            return _TABLES[kind]({self.thing(key): self.thing(value) for key, value in content})
        if kind == "deque":
            return deque((self.thing(node) for node in content), more)
        if kind == "named tuple":
            return self._class(content)(*(self.thing(node) for node in more))
        if kind == "enum":
            return self._class(content)[more]
        if kind == "device":
            return torch.device(content)
        raise ValueError(f"it holds a '{kind}'")

    def _stored(self, name: str, order: list[int]) -> Tensor:
        return self._tensors[name].permute([order.index(axis) for axis in range(len(order))])

    def _class(self, name: str) -> Any:
        """A class of a trusted package that is imported already."""
        module, _, short = name.partition(":")
        if module.split(".")[0] not in self._trusted or module not in sys.modules:
            raise ValueError(f"it holds a {name}")
        kind = getattr(sys.modules[module], short)
        if not isinstance(kind, type):
            raise ValueError(f"it holds {name}, which is no class")
        return kind


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
