# SPDX-License-Identifier: Apache-2.0
"""How subcommands read their arguments and write their figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import tyro

from ..atomic import atomic_file

T = TypeVar("T")


def parse(kind: type[T], prog: str, argv: list[str]) -> T:
    """A dataclass from the command line; its docstrings are the help. Wrong arguments end the program with 2."""
    return tyro.cli(kind, prog=prog, args=argv, description=kind.__doc__.splitlines()[0] if kind.__doc__ else None)


def write_json(path: Path, figures: Any) -> None:
    """Figures for machines. Atomic."""
    with atomic_file(path) as unfinished:
        unfinished.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
