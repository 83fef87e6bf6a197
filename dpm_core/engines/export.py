# SPDX-License-Identifier: Apache-2.0
"""A network to a folder of graphs with fixed shapes: traced, written, checked, and there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from torch import nn

from ..atomic import AtomicFolder
from ..checkpoints.configs import config_to_json
from ..errors import DpmError
from ..types import UInt8
from ..version import __version__
from .export_graphs import graph_window, graphs_of
from .export_precision import narrow
from .manifest import MANIFEST, PRECISIONS, Manifest, Precision, write_manifest
from .onnx_graph import runtime

if TYPE_CHECKING:
    from ..checkpoints import LoadedNetwork

OnStep: TypeAlias = Callable[[str], None]
"""Is told what begins, STEPS times in all for a network with three graphs, fewer for two."""

LARGEST_INLINE = 3 << 30
"""Bytes of weights in all graphs together that can lie in the graphs themselves, see `export_onnx.INLINE_BYTES`."""

SPARE = 64 << 20
"""Bytes of a folder beside its weights."""


@dataclass(frozen=True)
class Export:
    """What is asked for.

    Attributes:
        size: (H, W) of the images, pixels; None for what the network's family makes of a 640 x 480 image.
        window: frames that the graphs see at once; None for the family's own number.
        precision: one of PRECISIONS.
        overwrite: replace an export that is there.
    """

    size: tuple[int, int] | None = None
    window: int | None = None
    precision: Precision = "fp32"
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what is not known."""
        if self.precision not in PRECISIONS:
            raise DpmError(f"precision '{self.precision}' is not known; choose one of: {', '.join(PRECISIONS)}")


def export_network(
    loaded: LoadedNetwork,
    export: Export,
    frames: Sequence[UInt8],
    frames_of: str,
    out: Path,
    on_step: OnStep = lambda step: None,
) -> Manifest:
    """Write a network as ONNX graphs with a manifest, and check them against it.

    Args:
        loaded: the network, on the CPU; its trunk is narrowed in place where the precision is.
        export: what is asked for.
        frames: [H, W, 3] uint8 RGB, oldest first, at least one, to check on.
        frames_of: what they are, for the manifest.
        out: the new folder.
        on_step: is told what begins.

    Raises:
        DpmError: the size or window is not the network's, something is in the way, the disk is full, a package is
            missing, or the graphs do not say what the network says. Nothing is left then.
    """
    _require_exporter()
    from .export_onnx import save_graph, to_onnx
    from .export_parity import forms_for_parity, judge, record, worst

    network = loaded.network.eval().requires_grad_(False)
    size = export.size or loaded.spec.fit(480, 640).size
    window = graph_window(network, export.window)
    graphs = graphs_of(network, size, window)
    manifest = Manifest(
        model=loaded.spec.name,
        family=loaded.spec.family,
        config=config_to_json(loaded.spec.config),
        window=window,
        height=size[0],
        width=size[1],
        precision=export.precision,
        weights_sha256=weights_checksum(network),
        notice=loaded.notice,
        graphs={},
        parity_frames=frames_of,
        made_with={"dpm": __version__, **{name: version(name) for name in ("torch", "onnx", "onnxscript")}},
    )
    _require_room(out, network, export.precision)
    folder = AtomicFolder(out, MANIFEST, export.overwrite)
    try:
        with tempfile.TemporaryDirectory(prefix=".parity.", dir=folder.unfinished) as scratch:
            on_step("eager network")
            eager = record(manifest, {graph.name: graph for graph in graphs}, frames)
            narrow(network, export.precision)
            written = {}
            for graph in graphs:
                on_step(graph.name)
                fused = export.precision == "fp32"
                written[graph.name] = save_graph(to_onnx(graph), graph, folder.unfinished, fused=fused)
            manifest = replace(manifest, graphs=written)
            on_step("check")
            forms = forms_for_parity(manifest, folder.unfinished, Path(scratch))
            parities = (judge(eager, record(manifest, graphs, frames), export.precision) for graphs in forms)
            manifest = replace(manifest, parity=worst(parities))
        write_manifest(folder.unfinished, manifest)
        folder.finish()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DpmError(f"no room for {out}; nothing was kept; make room, or choose another --out") from error
        raise DpmError(f"{out} cannot be written ({error.strerror or error}); choose another --out") from error
    finally:
        folder.abandon()
    return manifest


def weights_checksum(network: nn.Module) -> str:
    """SHA-256 over every parameter's name, shape and float32 bytes, in the network's order."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {list(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.detach().float().contiguous().numpy()).cast("B") if tensor.numel() else b"")
    return digest.hexdigest()


def _require_exporter() -> None:
    for name in ("onnx", "onnxscript"):
        if find_spec(name) is None:
            raise DpmError(f"exporting needs '{name}'; get it with: pip install 'dpm[export]'")
    runtime()


def _require_room(out: Path, network: nn.Module, precision: Precision) -> None:
    here = next(parent for parent in out.absolute().parents if parent.exists())
    weights = sum(parameter.numel() for parameter in network.parameters()) * 4
    # The check of a bfloat16 export works on a copy; graphs that hold their weights are there in two forms in float32.
    more = {"bf16": weights, "fp16": 0, "fp32": min(weights, LARGEST_INLINE)}[precision]
    needed, free = weights + more + SPARE, shutil.disk_usage(here).free
    if free < needed:
        raise DpmError(
            f"{here} has {free / 1e6:.0f} MB free, the export needs {needed / 1e6:.0f} MB; make room, "
            "or choose another --out"
        )
