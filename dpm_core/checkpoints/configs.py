# SPDX-License-Identifier: Apache-2.0
"""Configurations of networks as JSON, for the metadata of weight files."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from .. import models
from ..errors import DpmError

_CLASSES = {
    name: kind for name in models.__all__ if isinstance(kind := getattr(models, name), type) and is_dataclass(kind)
}


def config_to_json(config: Any) -> Any:
    """Plain values; every dataclass tells its class."""
    if is_dataclass(config):
        values = {field.name: config_to_json(getattr(config, field.name)) for field in fields(config)}
        return {"class": type(config).__name__, **values}
    return [config_to_json(value) for value in config] if isinstance(config, tuple) else config


def config_from_json(plain: Any) -> Any:
    """The configuration; lists become tuples. Only classes of `dpm_core.models` are made.

    Raises:
        DpmError: a class or a field is not known, or a value cannot be.
    """
    if isinstance(plain, list):
        return tuple(config_from_json(value) for value in plain)
    if not isinstance(plain, dict):
        return plain
    values = {name: config_from_json(value) for name, value in plain.items() if name != "class"}
    kind = _CLASSES.get(str(plain.get("class")))
    if kind is None:
        raise DpmError(f"configuration '{plain.get('class')}' is not known; known are: {', '.join(sorted(_CLASSES))}")
    try:
        config = kind(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise DpmError(f"configuration {kind.__name__} of the file is not right: {error}") from error
    for field in fields(config):
        if not _alike(getattr(config, field.name), getattr(kind(), field.name)):
            raise DpmError(f"configuration {kind.__name__} of the file is not right: {field.name} cannot be that")
    return config


def first_other(config: Any, wanted: Any, name: str = "") -> str | None:
    """The first value that differs between two configurations, in words; None where all agree."""
    if type(config) is type(wanted) and is_dataclass(config):
        prefix = f"{name}." if name else ""
        parts = (
            first_other(getattr(config, field.name), getattr(wanted, field.name), prefix + field.name)
            for field in fields(config)
        )
        return next((part for part in parts if part is not None), None)
    return None if config == wanted else f"{name} {config!r}, not {wanted!r}"


def _alike(value: Any, default: Any) -> bool:
    """Whether a value is of the kind of the default; None stands for a part that is left out."""
    if value is None or default is None or is_dataclass(default):
        return value is None or default is None or is_dataclass(value)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))
