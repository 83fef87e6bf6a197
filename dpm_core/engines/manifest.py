# SPDX-License-Identifier: Apache-2.0
"""What an exported folder says of itself: `manifest.json`, and whether its files are the ones it tells of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ..checkpoints import NetworkSpec, find_spec
from ..checkpoints.configs import config_from_json
from ..checkpoints.download import sha256
from ..errors import DpmError

MANIFEST = "manifest.json"
FORMAT = 1

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph.

    Attributes:
        name: in the graph.
        shape: fixed.
        dtype: as torch names it, "float32".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class GraphSpec:
    """One graph.

    Attributes:
        name: "encoder", "window", "time" or "pair".
        file: its ONNX file, in the folder.
        inputs, outputs: in the graph's order.
        sha256: of every file that the graph needs, by name: the ONNX files, and their weights where they are beside.
        fused: the same graph as ONNX Runtime's CPU provider runs it best, see `onnx_fused`; None where there is none.
    """

    name: str
    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sha256: Mapping[str, str]
    fused: str | None = None

    @property
    def checksum(self) -> str:
        """One for all files of the graph, for what is built from it."""
        lines = "".join(f"{name} {digest}\n" for name, digest in sorted(self.sha256.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True)
class Deviation:
    """How far an output of an exported graph is from the eager network's in float32, over a whole window.

    Attributes:
        p99: 99th percentile of the absolute difference.
        cosine: of the angle between the two, taken as one long vector each.
        scale: root mean square of the eager output: what `p99` is to be seen against.
    """

    p99: float
    cosine: float
    scale: float


@dataclass(frozen=True)
class Manifest:
    """An exported folder.

    Attributes:
        model: name in the registry.
        family: of the network.
        config: of the network, as `checkpoints.configs` writes it.
        window: frames that the graphs see at once; None where they see pairs, and windows of any length are made of.
        height, width: of the images, pixels.
        precision: of the trunk's matrices; norms, softmax, heads, inputs and outputs are float32 always.
        weights_sha256: of the network's parameters, see `export.weights_checksum`.
        notice: what a user must know of the weights, or None.
        graphs: by name.
        parity: "graph.output" → how far it is from the eager network.
        parity_frames: what the parity was measured on.
        made_with: versions of dpm, torch, onnx.
    """

    model: str
    family: str
    config: Any
    window: int | None
    height: int
    width: int
    precision: Precision
    weights_sha256: str
    notice: str | None
    graphs: Mapping[str, GraphSpec]
    parity: Mapping[str, Deviation] = field(default_factory=dict)
    parity_frames: str = ""
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    @property
    def spec(self) -> NetworkSpec:
        """The registry's line, with the configuration that was exported.

        Raises:
            DpmError: this version of dpm does not know the model or its configuration.
        """
        spec = find_spec(self.model)
        return NetworkSpec(**{**vars(spec), "config": config_from_json(self.config)})


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it into a folder that is being made."""
    plain = {"format": FORMAT, **asdict(manifest)}
    (folder / MANIFEST).write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def is_exported(path: Path) -> bool:
    """Whether this is a folder that `dpm export` made."""
    return (path / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder whose graphs are whole.

    Raises:
        DpmError: there is none, it is of another format or damaged, or a file is missing or not the exported one.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DpmError(f"{folder} has no {MANIFEST}, so it is no exported model; make one with `dpm export`")
    again = "export it again: dpm export"
    try:
        plain = json.loads(path.read_text())
        if plain.get("format") != FORMAT:
            raise DpmError(f"{path} has format {plain.get('format')}, this dpm reads format {FORMAT}; {again}")
        manifest = _manifest(plain)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DpmError(f"{path} is damaged ({type(error).__name__}: {error}); {again}") from error
    for graph in manifest.graphs.values():
        for name, expected in graph.sha256.items():
            _check_file(folder / name, expected, again)
    return manifest


def _manifest(plain: dict[str, Any]) -> Manifest:
    fields = {name: value for name, value in plain.items() if name != "format"}
    fields["graphs"] = {name: _graph(graph) for name, graph in plain["graphs"].items()}
    fields["parity"] = {name: Deviation(**deviation) for name, deviation in plain["parity"].items()}
    manifest = Manifest(**fields)
    if manifest.precision not in PRECISIONS:
        raise ValueError(f"precision '{manifest.precision}'")
    return manifest


def _graph(plain: dict[str, Any]) -> GraphSpec:
    tensors = {
        key: tuple(TensorSpec(each["name"], tuple(each["shape"]), each["dtype"]) for each in plain[key])
        for key in ("inputs", "outputs")
    }
    for name in (plain["file"], plain.get("fused") or plain["file"], *plain["sha256"]):
        if Path(name).name != name:
            raise ValueError(f"file '{name}' is not in the folder")
    return GraphSpec(**{**plain, **tensors})


def _check_file(path: Path, expected: str, again: str) -> None:
    if not path.is_file():
        raise DpmError(f"{path} is missing; {again}")
    if (found := sha256(path)) != expected:
        raise DpmError(f"{path} is cut short or altered: SHA-256 {found[:12]}…, exported was {expected[:12]}…; {again}")
