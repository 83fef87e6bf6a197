# SPDX-License-Identifier: Apache-2.0
"""The node's parameters without a node: from its file and from the command line, checked as ROS would check them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from dpm_core.errors import DpmError

from . import parameters
from .parameters import PARAMETERS, Parameter, Value

_TABLE = {parameter.name: parameter for parameter in PARAMETERS}


def settings(file: Path | None, assignments: Iterable[str]) -> dict[str, Value]:
    """The table's values by name.

    Args:
        file: a parameter file of the node, as launch files take it.
        assignments: "name:=value" each, as after --ros-args -p; they win.

    Raises:
        DpmError: a parameter is not known, or its value cannot be meant.
    """
    values = {parameter.name: parameter.default for parameter in PARAMETERS}
    for name, value in [*(_of_file(file) if file else ()), *map(_of_word, assignments)]:
        values[name] = _checked(name, value)
    fault = parameters.first_fault(values)
    if fault is not None:
        raise DpmError(fault)
    parameters.session_config(values)
    return values


def _of_file(path: Path) -> Iterator[tuple[str, Any]]:
    """Of a file for several nodes, what is for all of them and for a node `dpm`."""
    try:
        content = yaml.safe_load(path.read_text())
        sections = {name: section["ros__parameters"] for name, section in content.items()}
        found = [pair for name, section in sections.items() if _is_ours(name) for pair in section.items()]
    except OSError as error:
        raise DpmError(f"{path} cannot be read ({error.strerror}); give a parameter file of the node") from error
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DpmError(f"{path} is no ROS parameter file; begin with launch/dpm.params.yaml") from error
    return iter([(str(name), value) for name, value in found if name != "use_sim_time"])


def _is_ours(node: str) -> bool:
    return node.rpartition("/")[2] in ("dpm", "*", "**")


def _of_word(word: str) -> tuple[str, Any]:
    name, given, value = word.partition(":=")
    try:
        return name, yaml.safe_load(value) if given and value else _not_given(word)
    except yaml.YAMLError as error:
        raise DpmError(f"--param {word}: the value is no YAML; write it as in {name}:=1.5") from error


def _not_given(word: str) -> Any:
    raise DpmError(f"--param {word}: write name:=value, such as min_confidence:=2.0")


def _checked(name: str, value: Any) -> Value:
    parameter = _TABLE.get(name)
    if parameter is None:
        nearest = difflib.get_close_matches(name, _TABLE, 1)
        meant = f"did you mean {nearest[0]}?" if nearest else "docs/ros-interface.md lists them"
        raise DpmError(f"there is no parameter {name}; {meant}")
    kind = type(parameter.default)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise DpmError(f"{name} is {value!r}; it must be of type {kind.__name__}, such as {parameter.default!r}")
    return _in_range(parameter, value)


def _in_range(parameter: Parameter, value: Value) -> Value:
    if parameter.range is not None:
        least, greatest = parameter.range
        if not least <= float(value) <= greatest:
            raise DpmError(f"{parameter.name} is {value}; it must be between {least:g} and {greatest:g}")
    return value
