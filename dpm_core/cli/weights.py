# SPDX-License-Identifier: Apache-2.0
"""`dpm weights`: list, show, pull, check and convert weights of networks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from tyro.conf import Positional, arg

from ..checkpoints.checking import Checked, check
from ..checkpoints.convert import Precision, write_weights
from ..checkpoints.download import pull, sha256
from ..checkpoints.files import read_weights
from ..checkpoints.loading import installed
from ..checkpoints.registry import REGISTRY, NetworkSpec, find_spec
from ..errors import DpmError
from .arguments import parse, write_json
from .commands import Command, dispatch

JsonFile = Annotated[Path | None, arg(metavar="FILE")]


def main(argv: list[str]) -> int:
    """The exit code of the subcommand."""
    return dispatch(
        "dpm weights", "Weights of networks: what they are, where they are, whether they fit.", COMMANDS, argv
    )


@dataclass(frozen=True)
class List:
    """List the networks that have names.

    Attributes:
        json: write the list here too.
    """

    json: JsonFile = None


def list_all(argv: list[str]) -> int:
    """0."""
    options = parse(List, "dpm weights list", argv)
    table = Table(Column("name", no_wrap=True), "family", "here", "licence of the weights", "good for", highlight=False)
    for spec in REGISTRY.values():
        table.add_row(*map(escape, (spec.name, spec.family, _where(spec)[0], spec.licence, spec.purpose)))
    Console().print(table)
    if options.json is not None:
        write_json(options.json, [_told(spec) for spec in REGISTRY.values()])
    return 0


@dataclass(frozen=True)
class Show:
    """Tell all that is known of a network.

    Attributes:
        name: of the network.
        json: write it here too.
    """

    name: Positional[str]
    json: JsonFile = None


def show(argv: list[str]) -> int:
    """0, or DpmError."""
    options = parse(Show, "dpm weights show", argv)
    told = _told(find_spec(options.name))
    console = Console(highlight=False)
    for key, value in told.items():
        console.print(f"{key:>12}  {value if value is not None else '–'}", soft_wrap=True, markup=False)
    if options.json is not None:
        write_json(options.json, told)
    return 0


@dataclass(frozen=True)
class Pull:
    """Fetch published weights; an interrupted download goes on where it was.

    Attributes:
        name: of the network.
    """

    name: Positional[str]


def pull_one(argv: list[str]) -> int:
    """0, or DpmError."""
    spec = find_spec(parse(Pull, "dpm weights pull", argv).name)
    console = Console(highlight=False)
    console.print(f"licence of the weights: {spec.licence}", markup=False)
    path = pull(spec)
    console.print(_sentence(path, check(read_weights(path), spec.name)), soft_wrap=True, markup=False)
    return 0


@dataclass(frozen=True)
class Check:
    """Tell what a file of weights is and whether every key and shape is right.

    Attributes:
        file: .safetensors, .pt or .pth; nothing in it is run.
        model: the network it should be of; by default the one that it seems to be.
        json: write the findings here too.
    """

    file: Positional[Path]
    model: str | None = None
    json: JsonFile = None


def check_file(argv: list[str]) -> int:
    """0, or DpmError."""
    options = parse(Check, "dpm weights check", argv)
    checked = check(read_weights(options.file), options.model)
    console = Console(highlight=False)
    console.print(_sentence(options.file, checked), soft_wrap=True, markup=False)
    if options.json is not None:
        write_json(
            options.json, {**asdict(checked.figures), "model": checked.spec.name, "sha256": sha256(options.file)}
        )
    return 0


@dataclass(frozen=True)
class Convert:
    """Write weights as a .safetensors file that tells its configuration and holds nothing else.

    Attributes:
        file: .safetensors, .pt or .pth; nothing in it is run.
        out: the new file, ending with .safetensors.
        model: the network that the weights are of; by default the one that they seem to be.
        precision: fp16 halves the size; networks run in fp32 either way.
        overwrite: replace a file that is there.
    """

    file: Positional[Path]
    out: Positional[Path]
    model: str | None = None
    precision: Precision = "fp16"
    overwrite: bool = False


def convert(argv: list[str]) -> int:
    """0, or DpmError."""
    options = parse(Convert, "dpm weights convert", argv)
    if options.out.exists() and not options.overwrite:
        raise DpmError(f"{options.out} is there already; choose another name, or give --overwrite to replace it")
    checked = check(read_weights(options.file), options.model)
    source = {"source": options.file.name, "source_sha256": sha256(options.file)}
    write_weights(options.out, checked.spec, checked.tensors, options.precision, source)
    size = options.out.stat().st_size / 1e6
    Console(highlight=False).print(
        f"{options.out}: '{checked.spec.name}', {options.precision}, {size:.1f} MB", soft_wrap=True, markup=False
    )
    return 0


COMMANDS = {
    "list": Command("the networks that have names, and whether their weights are here", lambda: list_all),
    "show": Command("all that is known of one", lambda: show),
    "pull": Command("fetch its published weights", lambda: pull_one),
    "check": Command("what a file is, and whether every key and shape is right", lambda: check_file),
    "convert": Command("to a .safetensors file that tells its configuration", lambda: convert),
}


def _sentence(file: Path, checked: Checked) -> str:
    figures = checked.figures
    return (
        f"{file}: weights of '{checked.spec.name}' ({checked.spec.family}), {figures.tensors} tensors, "
        f"{figures.parameters:,} numbers, {figures.dtypes}; every key and shape is right"
    )


def _where(spec: NetworkSpec) -> tuple[str, Path | None]:
    try:
        path = installed(spec)
    except DpmError:
        return "no", None
    return ("untrained", None) if path is None else ("yes", path)


def _told(spec: NetworkSpec) -> dict[str, Any]:
    published = spec.published
    here, path = _where(spec)
    return {
        "name": spec.name,
        "family": spec.family,
        "good for": spec.purpose,
        "licence": spec.licence,
        "published": published.url if published else None,
        "file": published.file if published else None,
        "layout": spec.layout,
        "sha256": published.sha256 if published else None,
        "here": str(path) if path else here,
        "config": repr(spec.config),
    }
