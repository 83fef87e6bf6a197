# SPDX-License-Identifier: Apache-2.0
"""`dpm doctor`: what is there, and what to do about what is not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.table import Column, Table
from tyro.conf import Positional, arg

from .arguments import parse, write_json
from .findings import BROKEN, MISSING, OK, Finding, examine
from .plan_findings import examine_export

COLORS = {OK: "green", MISSING: "yellow", BROKEN: "red"}


@dataclass(frozen=True)
class Doctor:
    """Tell what of GPU, TensorRT, ROS and weights is there, and what to do about what is not.

    Attributes:
        exports: folders that `dpm export` made, to be looked into.
        json: write the findings here too.
    """

    exports: Positional[tuple[Path, ...]] = ()
    json: Annotated[Path | None, arg(metavar="FILE")] = None


def main(argv: list[str]) -> int:
    """0, or 1 where something is broken."""
    options = parse(Doctor, "dpm doctor", argv)
    findings = list(chain(examine(), *map(examine_export, options.exports)))
    Console().print(_table(findings))
    if options.json is not None:
        write_json(options.json, [asdict(finding) for finding in findings])
    return 1 if any(finding.state == BROKEN for finding in findings) else 0


def _table(findings: list[Finding]) -> Table:
    table = Table(Column("what", no_wrap=True), "state", "found", "what to do", highlight=False)
    for finding in findings:
        state = f"[{COLORS[finding.state]}]{finding.state}[/]"
        table.add_row(finding.name, state, _plain(finding.found), _plain(finding.advice))
    return table


def _plain(text: str) -> str:
    """Brackets as they are: 'dpm[run]' is no markup."""
    return text.replace("[", r"\[")
