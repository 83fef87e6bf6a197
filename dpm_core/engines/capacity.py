# SPDX-License-Identifier: Apache-2.0
"""What a network needs, counted operation by operation without running it, and what that takes on a device.

The roofline model (Williams, Waterman and Patterson, CACM 2009, "Roofline"): an operation of F floating-point
operations that moves B bytes takes no less than max(F / rate, B / bandwidth). Here operations run one after another
and none is fused with the next, as in eager torch, so the sum is near what eager torch takes; fusing does better.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from ..errors import DpmError
from ..models import PairNetwork, POMATONetwork, VDPMNetwork
from ..models.camera_head import CameraHead
from ..models.dpt import DptFeatures
from ..models.pair_heads import LinearHead, PairDptHead
from ..types import Request

if TYPE_CHECKING:
    from ..checkpoints import NetworkSpec

HEADS = (DptFeatures, CameraHead, LinearHead, PairDptHead)
"""What stays in float32 whatever the precision of the rest."""


@dataclass(frozen=True)
class Device:
    """A machine by its maker's figures, dense, without sparsity.

    Attributes:
        name: as it is sold.
        memory_bytes: of the device; a Jetson shares it with everything else.
        bytes_per_second: of that memory.
        fp32, bf16: floating-point operations a second of matrix products; bf16 with float32 sums.
        achieved: the part of those figures that ordinary kernels reach.
    """

    name: str
    memory_bytes: float
    bytes_per_second: float
    fp32: float
    bf16: float
    achieved: float = 0.6


DEVICES = (
    Device("Orin Nano 8GB Super", 8e9, 102e9, 2.1e12, 16.7e12),
    Device("Orin AGX 64GB", 64e9, 204.8e9, 5.3e12, 42.5e12),
    Device("RTX 4060", 8e9, 272e9, 15.1e12, 30.2e12),
    Device("RTX 5090", 32e9, 1792e9, 104.8e12, 209.5e12),
    Device("H200", 141e9, 4800e9, 67e12, 989e12),
)


@dataclass(frozen=True)
class Operation:
    """One that computes or moves something.

    Attributes:
        flops: multiplications and additions of matrix products, convolutions and attention; others count as moving.
        bytes: of what it reads and writes, float32.
        head: whether it is of a head, which stays in float32.
    """

    flops: int
    bytes: int
    head: bool


@dataclass(frozen=True)
class Need:
    """What one estimate needs of the network, tokens of earlier frames given.

    Attributes:
        parameters: of the network.
        operations: in the order they run: the newest frame through the encoder, then the window.
        working_bytes: the most that tensors other than the weights hold at once, float32.
    """

    parameters: int
    operations: tuple[Operation, ...]
    working_bytes: int

    @property
    def flops(self) -> int:
        """Of all operations."""
        return sum(operation.flops for operation in self.operations)

    @property
    def bytes(self) -> int:
        """Moved by all operations in float32."""
        return sum(operation.bytes for operation in self.operations)

    def memory_bytes(self, precision: str) -> float:
        """Weights and working tensors; bf16 halves the weights, and the heads' float32 tensors bound the rest."""
        return self.parameters * (4 if precision == "fp32" else 2) + self.working_bytes

    def seconds(self, device: Device, precision: str) -> float:
        """The roofline's sum over operations. precision: "fp32" or "bf16"; heads stay in float32."""
        total = 0.0
        for operation in self.operations:
            full = precision == "fp32" or operation.head
            rate, share = (device.fp32, 1.0) if full else (device.bf16, 0.5)
            total += max(operation.flops / rate, share * operation.bytes / device.bytes_per_second)
        return total / device.achieved


def need(spec: NetworkSpec, size: tuple[int, int], request: Request) -> Need:
    """Count one estimate. Nothing is computed and no weights are held.

    Args:
        spec: the network.
        size: (H, W) of its images, multiples of the patch.
        request: what is asked of a window, S = the number of its own views.

    Raises:
        DpmError: the size or the window is none that the network takes, or its window cannot be counted.
    """
    frames = len(request.own_views)
    counter = _Counter()
    with FakeTensorMode(), torch.inference_mode():
        network = spec.build().eval()
        image = torch.empty(1, 3, *size)
        with _heads_told(network, counter), counter:
            tokens = network.encode(image).expand(frames, -1, -1).contiguous()
            encoder = len(counter.operations)
            runs = _look_at_window(network, tokens, size, request)
    return Need(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        operations=(*counter.operations[:encoder], *(runs * counter.operations[encoder:])),
        working_bytes=counter.most,
    )


def _look_at_window(network: nn.Module, tokens: Tensor, size: tuple[int, int], request: Request) -> int:
    """Run the part that looks at the window; how often that part is run for one estimate."""
    frames = len(tokens)
    if isinstance(network, VDPMNetwork):
        network.answer(tokens, size, request)
        return 1
    if isinstance(network, POMATONetwork) and network.frames is not None:
        if frames > network.frames:
            raise DpmError(f"the window has {frames} frames; this network takes at most {network.frames}")
        network.reconstruct(tokens[:1].expand(network.frames, -1, -1), size, 0)
        return len({0, *request.times})
    if isinstance(network, PairNetwork):
        network.relate(tokens[:1], tokens[-1:], (size, size))
        return max(1, len(_pairs(frames, request.times if network.knows_motion else ())))
    network.predict(tokens, size, request.times)  # type: ignore[operator]
    return 1


def _pairs(frames: int, times: Sequence[int]) -> set[tuple[int, int]]:
    """Those that are run for a window: the first frame with every other, both ways, and each asked time with every."""
    first = {pair for view in range(1, frames) for pair in ((0, view), (view, 0))}
    return first | {(time, view) for time in times for view in range(frames) if view != time}


class _Counter(TorchDispatchMode):
    """Notes every operation, and the most memory that was alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.most = 0
        self.in_head = False
        self._alive = 0
        self._users: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:  # asks, computes nothing, and is no operation to take apart
            return func(*args, **kwargs)
        with self:  # operations that are made of others come as those others
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        out = func(*args, **kwargs)
        given, made = _tensors((args, kwargs)), _tensors(out)
        for tensor in made:
            self._keep(tensor)
        if not func.is_view:
            flops = _flops(func, args, kwargs, out)
            self.operations.append(Operation(flops, sum(map(_bytes, (*given, *made))), self.in_head))
        return out

    def _keep(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self._users.get(key):
            self._alive += size
            self.most = max(self.most, self._alive)
        self._users[key] = self._users.get(key, 0) + 1
        weakref.finalize(tensor, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            self._alive -= size


@contextmanager
def _heads_told(network: nn.Module, counter: _Counter) -> Iterator[None]:
    """While a head runs, the counter knows."""

    def tell(inside: bool) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            counter.in_head = inside

        return hook

    heads = [module for module in network.modules() if isinstance(module, HEADS)]
    hooks = [head.register_forward_pre_hook(tell(True)) for head in heads]
    hooks += [head.register_forward_hook(tell(False)) for head in heads]
    yield
    for hook in hooks:
        hook.remove()


_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def _flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    if func.overloadpacket is _CPU_ATTENTION:  # torch counts its GPU sisters only
        return int(sdpa_flop_count(*(tensor.shape for tensor in args[:3])))
    count = flop_registry.get(func.overloadpacket)
    return 0 if count is None else int(count(*args, **kwargs, out_val=out))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
