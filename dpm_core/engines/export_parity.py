# SPDX-License-Identifier: Apache-2.0
"""Whether an export says what the eager network says, on real frames, before it is called done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import DpmError
from ..geometry.fit import Fit
from ..kernels import prepare_images
from ..types import UInt8
from .export_precision import widen_all
from .exported import ExportedEngine, Graph
from .manifest import Deviation, Manifest, Precision
from .onnx_graph import OnnxGraph, file_for

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Limits:
    """What an output may differ by.

    Attributes:
        p99: of the absolute difference, in units of the output's root mean square or 1, whichever is more.
        cosine: at least.
    """

    p99: float
    cosine: float


LIMITS: Mapping[Precision, Limits] = {
    "fp32": Limits(1e-4, 0.999999),
    "fp16": Limits(2e-2, 0.999),
    "bf16": Limits(1e-1, 0.99),
}
"""Narrow mantissas have 11 and 8 bits; what they cost is measured and told, these limits catch what is broken."""


class Recorder:
    """A graph that remembers what it gave, output by output, over all its runs."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.given: dict[str, list[Tensor]] = {}

    def run(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """As Graph's."""
        outputs = self._graph.run(inputs)
        for name, value in outputs.items():
            self.given.setdefault(name, []).append(value.clone())
        return outputs


Recorded = Mapping[str, Mapping[str, list[Tensor]]]
"""Graph, output, one tensor a run."""


def record(manifest: Manifest, graphs: Mapping[str, Graph], frames: Sequence[UInt8]) -> Recorded:
    """Everything that graphs say while an engine takes one window through them, newest and oldest instant.

    Args:
        manifest: of the graphs.
        graphs: by name; every graph's inputs come from the graphs before it.
        frames: [H, W, 3] uint8 RGB, any size, oldest first; a window is taken of them, over and over if they are few.
    """
    recorders = {name: Recorder(graph) for name, graph in graphs.items()}
    engine = ExportedEngine(manifest, recorders, "parity", CPU)
    count = manifest.window or min(len(frames), 3)
    window = [_image(engine.fit(*frame.shape[:2]), frame) for frame in (frames[i % len(frames)] for i in range(count))]
    with torch.inference_mode():
        tokens = [engine.encode(image) for image in window]
        engine.predict(tokens, manifest.size, sorted({0, count - 1}, reverse=True))
    return {name: recorder.given for name, recorder in recorders.items()}


def _image(fit: Fit, frame: UInt8) -> Tensor:
    image = torch.from_numpy(frame)[None]
    prepared: Tensor = prepare_images(image, fit.resized, fit.origin, fit.size, filter=fit.filter)[0]
    return prepared


def judge(eager: Recorded, exported: Recorded, precision: Precision) -> dict[str, Deviation]:
    """How far every output is off.

    Args:
        eager: what the network says in float32.
        exported: what the graphs say.
        precision: of the graphs.

    Raises:
        DpmError: an output is further off than the precision explains.
    """
    limits = LIMITS[precision]
    deviations = {
        f"{graph}.{name}": _deviation(torch.stack(values), torch.stack(exported[graph][name]))
        for graph, outputs in eager.items()
        for name, values in outputs.items()
    }
    for name, deviation in deviations.items():
        # Written so that NaN fails.
        if not (deviation.p99 <= limits.p99 * max(1.0, deviation.scale) and deviation.cosine >= limits.cosine):
            raise DpmError(
                f"the export is not what the network says: {name} is off by {deviation.p99:.2g} (99th percentile; its "
                f"root mean square is {deviation.scale:.2g}), cosine {deviation.cosine:.6f}; try --precision fp32"
            )
    return deviations


def _deviation(eager: Tensor, exported: Tensor) -> Deviation:
    a, b = eager.double().flatten(), exported.double().flatten()
    # The k-th value: torch's quantile takes no more than 16 million.
    rank = max(1, round(0.99 * a.numel()))
    p99 = float((a - b).abs().kthvalue(rank).values) if bool(b.isfinite().all()) else float("nan")
    norms = float(a.norm() * b.norm())
    cosine = float(a @ b) / norms if norms else float(a.norm() == b.norm())
    return Deviation(p99, cosine, float(a.square().mean().sqrt()))


def worst(parities: Iterable[Mapping[str, Deviation]]) -> dict[str, Deviation]:
    """Of several forms of the same graphs, by `judge`."""
    so_far: dict[str, Deviation] = {}
    for parity in parities:
        for name, found in parity.items():
            other = so_far.get(name, found)
            so_far[name] = Deviation(max(found.p99, other.p99), min(found.cosine, other.cosine), found.scale)
    return so_far


def forms_for_parity(manifest: Manifest, folder: Path, scratch: Path) -> Iterator[dict[str, Graph]]:
    """The graphs of an export in each of their forms, one after another, run by ONNX Runtime on the CPU."""
    yield opened_for_parity(manifest, folder, scratch)
    if any(spec.fused for spec in manifest.graphs.values()):
        threads = torch.get_num_threads()
        yield {
            name: OnnxGraph(file_for(folder, spec, CPU), spec, CPU, threads) for name, spec in manifest.graphs.items()
        }


def opened_for_parity(manifest: Manifest, folder: Path, scratch: Path) -> dict[str, Graph]:
    """The graphs of an export as TensorRT takes them, run by ONNX Runtime on the CPU.

    Its CPU provider knows no bfloat16. Such graphs are run as copies in `scratch` that compute each operation in
    float32 and round its result.
    """
    graphs: dict[str, Graph] = {}
    for name, spec in manifest.graphs.items():
        path = folder / spec.file
        if manifest.precision == "bf16":
            path = _widened(path, scratch)
        graphs[name] = OnnxGraph(path, spec, CPU, torch.get_num_threads())
    return graphs


def _widened(path: Path, scratch: Path) -> Path:
    import onnx_ir

    model: Any = onnx_ir.load(path)
    widen_all(model)
    onnx_ir.save(model, scratch / path.name, external_data=f"{path.stem}.weights")
    return scratch / path.name
