# SPDX-License-Identifier: Apache-2.0
"""Graphs run by ONNX Runtime, on the CPU or, where its CUDA provider is installed, on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import DpmError
from .exported import ExportedEngine
from .manifest import GraphSpec, TensorSpec, read_manifest

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxGraph:
    """One graph in a session of its own. See `Graph`; every run gives new tensors."""

    def __init__(self, path: Path, spec: GraphSpec, device: torch.device, threads: int) -> None:
        """Load a graph.

        Args:
            path: the ONNX file.
            spec: its inputs and outputs.
            device: where tensors are taken and given.
            threads: that share an operator on the CPU.

        Raises:
            DpmError: ONNX Runtime is not installed, has no provider for the device, or cannot run the graph.
        """
        ort = runtime()
        self._spec, self._device = spec, device
        try:
            self._session = ort.InferenceSession(path, _options(ort, threads), providers=_providers(ort, device))
        except Exception as error:  # its errors have no base of their own
            raise DpmError(f"ONNX Runtime {ort.__version__} cannot run {path}: {_one_line(error)}") from error

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs by name; tensors are read and written where they lie.

        Raises:
            ValueError: an input is missing, or of another shape, type or device.
        """
        binding = self._session.io_binding()
        kept = [_checked(inputs, each, self._device) for each in self._spec.inputs]
        for spec, tensor in zip(self._spec.inputs, kept, strict=True):
            binding.bind_input(spec.name, *self._place(), _numpy_type(spec), spec.shape, tensor.data_ptr())
        outputs = {
            spec.name: torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device=self._device)
            for spec in self._spec.outputs
        }
        for spec in self._spec.outputs:
            place = outputs[spec.name].data_ptr()
            binding.bind_output(spec.name, *self._place(), _numpy_type(spec), spec.shape, place)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()  # the session has a stream of its own
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return outputs

    def _place(self) -> tuple[str, int]:
        return self._device.type, self._device.index or 0


def open_onnx(folder: Path, device: torch.device) -> ExportedEngine:
    """The engine of an exported folder, run by ONNX Runtime.

    Raises:
        DpmError: the folder is no whole export, or ONNX Runtime is not installed or cannot run it on the device.
    """
    manifest = read_manifest(folder)
    ort = runtime()
    if manifest.precision == "bf16" and device.type == "cpu":
        raise DpmError(
            f"{folder} is bf16, which ONNX Runtime computes only on a GPU; export with --precision fp32 for the CPU"
        )
    graphs = {
        name: OnnxGraph(file_for(folder, spec, device), spec, device, torch.get_num_threads())
        for name, spec in manifest.graphs.items()
    }
    return ExportedEngine(manifest, graphs, f"ONNX Runtime {ort.__version__}", device)


def file_for(folder: Path, spec: GraphSpec, device: torch.device) -> Path:
    """The form of a graph that ONNX Runtime runs best on a device."""
    return folder / (spec.fused if spec.fused and device.type == "cpu" else spec.file)


def onnx_runs_on(device: torch.device) -> bool:
    """Whether ONNX Runtime is installed with a provider for a device."""
    try:
        return bool(_providers(runtime(), device))
    except DpmError:
        return False


def runtime() -> Any:
    """The module onnxruntime.

    Raises:
        DpmError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DpmError(f"ONNX Runtime does not import ({error}); get it with: pip install 'dpm[run]'") from error
    _share_arena(onnxruntime)
    return onnxruntime


@cache
def _share_arena(ort: Any) -> None:
    """All sessions of the process work in one arena, which grows by what is asked and no more."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    same_as_requested = 1
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"arena_extend_strategy": same_as_requested}))


def _options(ort: Any, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A plan of a graph's whole memory is one block that no other graph can share: half as much again in all.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors; they are raised too
    options.add_session_config_entry("session.use_env_allocators", "1")
    # Threads that wait for work shall sleep: the robot has other programs, and torch has threads of its own.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers(ort: Any, device: torch.device) -> list[Any]:
    if device.type == "cpu":
        return [CPU]
    if CUDA not in ort.get_available_providers():
        raise DpmError(
            "this ONNX Runtime has no CUDA provider; use --device cpu, or install onnxruntime-gpu in its place"
        )
    return [(CUDA, {"device_id": device.index or 0}), CPU]


def _checked(inputs: Mapping[str, Tensor], spec: TensorSpec, device: torch.device) -> Tensor:
    tensor = inputs[spec.name].contiguous()
    same = tuple(tensor.shape) == spec.shape and str(tensor.dtype) == f"torch.{spec.dtype}"
    if not same or tensor.device.type != device.type:
        raise ValueError(
            f"'{spec.name}' is {tensor.dtype} {list(tensor.shape)} on {tensor.device}, "
            f"the graph takes {spec.dtype} {list(spec.shape)} on {device}"
        )
    return tensor


def _numpy_type(spec: TensorSpec) -> Any:
    return torch.empty(0, dtype=getattr(torch, spec.dtype)).numpy().dtype.type


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]
