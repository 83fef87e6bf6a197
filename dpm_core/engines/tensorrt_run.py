# SPDX-License-Identifier: Apache-2.0
"""A plan in memory with its buffers at fixed addresses: run once, recorded, then replayed as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import DpmError
from .manifest import TensorSpec
from .tensorrt_build import DTYPES
from .tensorrt_library import Library, logger


class Stream(Protocol):
    """Where a plan's work is queued, in order with torch's own."""

    @property
    def handle(self) -> int:
        """The cudaStream_t."""

    def in_order(self) -> AbstractContextManager[None]:
        """What is queued within comes after all that torch was given before, and before all that it is given after."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What `work` queues, recorded and not run; the result queues it again in one launch."""


class CudaStream:
    """A stream beside torch's current one: on the default stream TensorRT synchronises the whole device."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    @property
    def handle(self) -> int:
        """See Stream."""
        return int(self._stream.cuda_stream)

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """See Stream."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See Stream."""
        graph = torch.cuda.CUDAGraph()
        # Other threads of the node may allocate while this one records.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            work()
        replay: Callable[[], None] = graph.replay
        return replay


class Plan:
    """A plan that can be run again and again. Not thread-safe.

    Attributes:
        inputs, outputs: its buffers by name, contiguous, of the plan's shapes and types.
        scratch_bytes: device memory that it works in, beside buffers and weights.
    """

    def __init__(
        self,
        library: Library,
        content: Any,
        stream: Stream,
        device: torch.device,
        shared: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Load a plan and bind its buffers.

        Args:
            library: the one that built it.
            content: the plan's bytes, as a buffer.
            stream: where it is run.
            device: where the buffers are.
            shared: buffers of other plans by name; an input of that name, shape and type reads there, uncopied.

        Raises:
            DpmError: the library refuses the plan.
            torch.OutOfMemoryError, MemoryError: there is no device memory for the buffers, or for the plan.
        """
        self._library, self._stream = library, stream
        # The runtime must outlive its engine.
        self._runtime = library.module.Runtime(logger(library))
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            # "Error Code 2: OutOfMemory (Requested size was …)", "out of memory"
            if "outofmemory" in logger(library).last_error.lower().replace(" ", ""):
                raise MemoryError(logger(library).last_error)
            raise DpmError(f"{library} refuses the plan: {logger(library).last_error}")
        self.scratch_bytes = int(self._engine.device_memory_size_v2)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise MemoryError(f"no device memory for the plan, which works in {self.scratch_bytes / 2**20:.0f} MiB")
        self.inputs = {
            tensor.name: _shared(tensor, shared or {}, device) for tensor in self._tensors(library.module, "INPUT")
        }
        self.outputs = {tensor.name: _empty(tensor, device) for tensor in self._tensors(library.module, "OUTPUT")}
        for name, buffer in {**self.inputs, **self.outputs}.items():
            if not self._context.set_tensor_address(name, buffer.data_ptr()):
                raise DpmError(f"{library} does not take a buffer for '{name}': {logger(library).last_error}")
        self._ran = False
        self._work = self._queue

    def run(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Queue the plan's work.

        Args:
            inputs: by name, of the plan's shapes and types; one that is the plan's own buffer is not copied.

        Returns:
            `outputs`, whose content the next run replaces.

        Raises:
            ValueError: an input is missing, unknown, or of another shape or type.
            RuntimeError: the library could not queue it.
        """
        with self._stream.in_order():
            self._take(inputs)
            self._work()
            if not self._ran:
                # The first run may still allocate and compile, which cannot be recorded; all others are like it.
                self._ran = True
                if self._library.records(self._context, self._stream.handle):
                    self._work = self._stream.record(self._queue)
        return self.outputs

    def _take(self, inputs: Mapping[str, Tensor]) -> None:
        if inputs.keys() != self.inputs.keys():
            raise ValueError(f"inputs are {sorted(inputs)}, the plan takes {sorted(self.inputs)}")
        for name, buffer in self.inputs.items():
            given = inputs[name]
            if given is buffer:
                continue
            _require_same(name, given, buffer)
            buffer.copy_(given)

    def _queue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise RuntimeError(f"{self._library} could not run the plan: {logger(self._library).last_error}")

    def _tensors(self, trt: Any, mode: str) -> list[TensorSpec]:
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        wanted = getattr(trt.TensorIOMode, mode)
        return [
            TensorSpec(name, tuple(engine.get_tensor_shape(name)), DTYPES[engine.get_tensor_dtype(name).name])
            for name in names
            if engine.get_tensor_mode(name) == wanted
        ]


def _empty(tensor: TensorSpec, device: torch.device) -> Tensor:
    return torch.empty(tensor.shape, dtype=getattr(torch, tensor.dtype), device=device)


def _shared(tensor: TensorSpec, shared: Mapping[str, Tensor], device: torch.device) -> Tensor:
    buffer = shared.get(tensor.name)
    if buffer is None or (tuple(buffer.shape), buffer.dtype) != (tensor.shape, getattr(torch, tensor.dtype)):
        return _empty(tensor, device)
    return buffer


def _require_same(name: str, given: Tensor, wanted: Tensor) -> None:
    """A type or shape that the plan does not have would be read as garbage, silently."""
    if given.shape != wanted.shape or given.dtype != wanted.dtype:
        raise ValueError(
            f"'{name}' is {given.dtype} {list(given.shape)}, the plan takes {wanted.dtype} {list(wanted.shape)}"
        )
