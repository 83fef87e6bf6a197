# SPDX-License-Identifier: Apache-2.0
"""Torch on a GPU: the trunk in bfloat16, heads in float32, and a full window recorded once and replayed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from ..models import VDPMNetwork
from ..models.trunk import WindowNetwork
from ..types import Prediction, Request
from .export_precision import narrow
from .plan_memory import Need, OutOfDeviceMemoryError, shortage
from .tensorrt_run import CudaStream, Stream
from .torch_engine import TorchEngine

if TYPE_CHECKING:
    from ..checkpoints import LoadedNetwork

Size: TypeAlias = tuple[int, int]
Key: TypeAlias = tuple[torch.Size, Size, Request]

WARM_UPS = 2
"""Runs of a shape before it is recorded: libraries choose kernels and allocate in the first; a window that still grows
has each shape once only."""


class TorchCudaEngine(TorchEngine):
    """The network in the precision that the authors ran it in. See `Engine` for the methods.

    Its attention is torch's fused one, which takes the flash kernel for bfloat16. Heads run `views_at_once` images at a
    time. One window shape is recorded as a CUDA graph, that of the newest full window; pair networks, whose geometry
    waits for the host between passes, are run as they are.
    """

    def __init__(
        self,
        loaded: LoadedNetwork,
        device: torch.device,
        make_stream: Callable[[torch.device], Stream] = CudaStream,
    ) -> None:
        """Take a network over.

        Args:
            loaded: its trunk becomes bfloat16, in place.
            device: the GPU.
            make_stream: where windows are recorded.

        Raises:
            OutOfDeviceMemoryError: its weights do not fit the GPU.
        """
        narrow(loaded.network, "bf16")
        weights = sum(parameter.numel() * parameter.element_size() for parameter in loaded.network.parameters())
        try:
            super().__init__(loaded, device)
        except torch.OutOfMemoryError as error:
            raise OutOfDeviceMemoryError(
                shortage(f"'{loaded.spec.name}'", Need(weights, 0, 1), _free(device))
            ) from error
        self.name = f"{loaded.spec.name} (torch {torch.__version__.split('+')[0]}, bf16, {device})"
        self._weights = weights
        self._make_stream = make_stream
        self._seen: Counter[Key] = Counter()
        self._recorded: tuple[Key, RecordedWindow] | None = None

    def predict(self, tokens: Sequence[Tensor], size: Size, times: Sequence[int]) -> Prediction:
        """The window's point maps at the asked times.

        Raises:
            OutOfDeviceMemoryError: the GPU has not enough memory; what would fit is said.
        """
        return self.answer(tokens, size, Request.whole(len(tokens), times))

    def answer(self, tokens: Sequence[Tensor], size: Size, request: Request) -> Prediction:
        """What is asked of the window.

        Raises:
            OutOfDeviceMemoryError: as `predict`.
        """
        try:
            return self._answer(torch.stack(list(tokens)), size, request)
        except torch.OutOfMemoryError as error:
            self._recorded = None
            raise OutOfDeviceMemoryError(self._shortage(len(tokens), str(error))) from error

    @torch.inference_mode()  # a recording has no gradients, and its buffers are written again and again
    def _answer(self, window: Tensor, size: Size, request: Request) -> Prediction:
        key = (window.shape, size, request)
        if self._recorded is not None and self._recorded[0] == key:
            return self._recorded[1].run(window)
        self._seen[key] += 1
        if self._seen[key] <= WARM_UPS or not isinstance(self._network, WindowNetwork):
            return self._eager(window, size, request)
        # Another shape has come to stay. The old recording goes first, with its memory.
        self._recorded = None
        self._seen.clear()
        recorded = RecordedWindow(
            window, lambda given: self._eager(given, size, request), self._make_stream(self.device)
        )
        self._recorded = (key, recorded)
        return recorded.run(window)

    def _eager(self, window: Tensor, size: Size, request: Request) -> Prediction:
        prediction: Prediction
        if isinstance(self._network, VDPMNetwork):
            prediction = self._network.answer(window, size, request)
        else:
            prediction = self._network.predict(window, size, request.times)
        return prediction

    def _shortage(self, frames: int, said: str) -> str:
        """What torch wanted when it gave up is at least what is needed."""
        wanted = re.search(r"Tried to allocate ([\d.]+) (MiB|GiB)", said)
        more = 0 if wanted is None else int(float(wanted[1]) * {"MiB": 2**20, "GiB": 2**30}[wanted[2]])
        held = torch.cuda.max_memory_allocated(self.device) + more - self._weights
        return shortage(self.name, Need(self._weights, held, frames), _free(self.device) + self._weights)


class RecordedWindow:
    """A function of a window's tokens, recorded as a CUDA graph that reads and writes buffers of its own."""

    def __init__(self, like: Tensor, function: Callable[[Tensor], Prediction], stream: Stream) -> None:
        """Record.

        Args:
            like: tokens [S, P, C] of the shape to come.
            function: asks nothing of the host.
            stream: where it is recorded and replayed.
        """
        self._stream, self._function = stream, function
        self._tokens = like.clone()
        with stream.in_order():
            self._like = function(self._tokens)
            # Copies, since parts of a prediction may be views of others.
            self._buffers = {name: value.clone() for name, value in _tensors(self._like).items()}
            self._replay = stream.record(self._work)

    def run(self, tokens: Tensor) -> Prediction:
        """The function's result for these tokens, in tensors of its own."""
        with self._stream.in_order():
            self._tokens.copy_(tokens)
            self._replay()
        copies: dict[str, Any] = {name: buffer.clone() for name, buffer in self._buffers.items()}
        return replace(self._like, **copies)

    def _work(self) -> None:
        said = _tensors(self._function(self._tokens))
        for name, buffer in self._buffers.items():
            buffer.copy_(said[name])


def _tensors(prediction: Prediction) -> dict[str, Tensor]:
    return {name: value for name, value in vars(prediction).items() if isinstance(value, Tensor)}


def _free(device: torch.device) -> int:
    return int(torch.cuda.mem_get_info(device)[0])
