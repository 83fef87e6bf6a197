# SPDX-License-Identifier: Apache-2.0
"""An exported graph to a TensorRT plan. No GPU is needed where the library builds ahead of time (`tensorrt_rtx`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DpmError
from .manifest import TensorSpec
from .tensorrt_library import Capability, Library, logger, told
from .tensorrt_progress import Interrupt, OnProgress, Phases, progress_monitor

DTYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT32": "int32", "INT64": "int64", "BOOL": "bool"}
"""TensorRT's names of types to torch's."""

NAMED_NODES = 5


@dataclass(frozen=True)
class BuildSettings:
    """How a plan is built.

    Attributes:
        capabilities: compute capabilities it shall run on; () for the GPU that is here.
        tf32: whether float32 products may round their factors to ten bits of mantissa, as bfloat16 graphs can afford.
        timings: a timing cache of an earlier build on this GPU, or b"".
    """

    capabilities: tuple[Capability, ...] = ()
    tf32: bool = False
    timings: bytes = b""


@dataclass(frozen=True)
class Built:
    """A plan in memory.

    Attributes:
        plan: its bytes, as a buffer.
        inputs, outputs: what it takes and gives.
        timings: the timing cache after this build; b"" where the library keeps none.
    """

    plan: memoryview
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    timings: bytes


def build(library: Library, onnx: Path, settings: BuildSettings, on_progress: OnProgress) -> Built:
    """Parse a graph as a strongly typed network and build its plan; seconds to many minutes.

    Args:
        library: builds it; only one of the same name and version can run it.
        onnx: the graph; external data lie beside it.
        settings: see there.
        on_progress: is told how far it is.

    Raises:
        DpmError: the file is damaged, an operator is not known to the library (named, with its node), a shape is not
            fixed, the library cannot build for a capability, or the build failed.
    """
    trt = library.module
    builder = trt.Builder(logger(library))
    # Precision is in the graph: 10.x would otherwise choose types by speed; 11.x knows nothing else.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(library, network, onnx)
    inputs = tuple(_tensor(network.get_input(index), onnx) for index in range(network.num_inputs))
    outputs = tuple(_tensor(network.get_output(index), onnx) for index in range(network.num_outputs))

    config = builder.create_builder_config()
    (config.set_flag if settings.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    aim(library, config, settings.capabilities)
    timings = use_timings(library, config, settings.timings)
    interrupt = Interrupt()
    monitor = progress_monitor(library, Phases(on_progress), interrupt)
    config.progress_monitor = monitor

    plan = builder.build_serialized_network(network, config)
    interrupt.raise_again()
    if plan is None:
        raise DpmError(f"{library} could not build {onnx.name}: {logger(library).last_error}")
    on_progress(1.0)
    return Built(memoryview(plan), inputs, outputs, b"" if timings is None else bytes(timings.serialize()))


def _parse(library: Library, network: Any, onnx: Path) -> None:
    parser = library.module.OnnxParser(network, logger(library))
    if not parser.parse_from_file(str(onnx)):
        raise DpmError(_complaint(library, onnx, [parser.get_error(index) for index in range(parser.num_errors)]))


def _complaint(library: Library, onnx: Path, errors: Sequence[Any]) -> str:
    """Which nodes the library does not take, or that the file is none."""
    nodes = [error for error in errors if error.node_operator()]
    if not nodes:
        why = " ".join(errors[0].desc().split())[:120] if errors else "it does not say why"
        return f"{onnx} is no ONNX file that {library} reads ({why}); export it again with `dpm export`"
    named = [f"'{error.node_name()}' (operator {error.node_operator()})" for error in nodes[:NAMED_NODES]]
    more = f" and {len(nodes) - NAMED_NODES} more" if len(nodes) > NAMED_NODES else ""
    return (
        f"{library} lacks what {onnx.name} asks for at node {', '.join(named)}{more}; "
        "use a newer TensorRT, or run the export with ONNX Runtime (--backend onnx)"
    )


def _tensor(tensor: Any, onnx: Path) -> TensorSpec:
    shape = tuple(tensor.shape)
    if any(side < 0 for side in shape):
        raise DpmError(f"'{tensor.name}' of {onnx.name} has no fixed shape {list(shape)}; write it with `dpm export`")
    dtype = DTYPES.get(tensor.dtype.name)
    if dtype is None:
        raise DpmError(f"'{tensor.name}' of {onnx.name} is {tensor.dtype.name}, which torch cannot hold")
    return TensorSpec(tensor.name, shape, dtype)


def aim(library: Library, config: Any, capabilities: Sequence[Capability]) -> None:
    """Say which GPUs the plan is for. Without a word a library builds for the one that is here."""
    if not capabilities:
        return
    if not library.builds_ahead:
        raise DpmError(
            f"{library} builds only for the GPU that is here, not for compute capability {told(capabilities)}; "
            "leave --compute-capability out on that machine, or build with tensorrt_rtx"
        )
    # SM86, SM120: the last digit is the minor version.
    names = library.module.ComputeCapability.__members__.items()
    known = {(int(name[2:-1]), int(name[-1])): value for name, value in names if name.startswith("SM")}
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        if capability not in known:
            raise DpmError(
                f"{library} does not build for compute capability {told([capability])}; it knows {told(sorted(known))}"
            )
        config.set_compute_capability(known[capability], index)


def use_timings(library: Library, config: Any, earlier: bytes) -> Any:
    """A timing cache in the configuration, None where the library keeps none. A damaged or foreign one begins empty."""
    if not library.caches_timings:
        return None
    cache = config.create_timing_cache(earlier)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache
