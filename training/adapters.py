# SPDX-License-Identifier: Apache-2.0
"""What is called in training where the network's own `forward` tells less than its loss wants to see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from dpm_core.errors import DpmError
from dpm_core.models import D2USt3RNetwork, FlowEstimate, PairOutput
from dpm_core.models.attention import SelfAttention
from dpm_core.models.rope import RotaryTable
from dpm_core.models.trunk import WindowNetwork

Refined = tuple[PairOutput, FlowEstimate | None, FlowEstimate | None]


class WithRefinements(nn.Module):
    """D²USt3R with every refinement of its flow head."""

    def __init__(self, network: D2USt3RNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, first: Tensor, second: Tensor) -> Refined:
        """first, second: [B, 3, H, W], see `PairNetwork.forward`."""
        sizes = ((first.shape[-2], first.shape[-1]), (second.shape[-2], second.shape[-1]))
        return self.network.relate_and_refine(self.network.encode(first), self.network.encode(second), sizes)


def called(network: nn.Module) -> nn.Module:
    """The module that a task calls for a network: mostly itself."""
    if isinstance(network, D2USt3RNetwork) and network.flow_head is not None:
        return WithRefinements(network)
    return network


@dataclass(frozen=True)
class AttentionBetweenFrames:
    """What a global block's attention was given.

    Attributes:
        attention: itself.
        tokens: [B, S * (specials + P), C].
        table: of their positions.
        frames: S.
        specials: tokens of a frame before its patches.
        patch: side of a patch, pixels.
    """

    attention: SelfAttention
    tokens: Tensor
    table: RotaryTable
    frames: int
    specials: int
    patch: int

    def scores(self, head: int) -> Tensor:
        """What the head takes the softmax of, among patches: [B, S, P, S, P], what asks first."""
        scores = self.attention.scores(self.tokens, self.table, head)
        by_view: Tensor = scores.unflatten(2, (self.frames, -1)).unflatten(1, (self.frames, -1))
        return by_view[:, :, self.specials :, :, self.specials :]


@contextmanager
def between_frames(network: nn.Module, blocks: Sequence[int], frames: int) -> Iterator[list[AttentionBetweenFrames]]:
    """While it lasts, `network`'s forward lists here what these global blocks' attention is given.

    Args:
        network: V-DPM, or what DDP made of it.
        blocks: positions of global blocks; none leaves the network alone.
        frames: S of the window that it is called with.

    Raises:
        DpmError: there is no such block.
    """
    found: list[AttentionBetweenFrames] = []
    if not blocks:
        yield found
        return
    inner = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
    assert isinstance(inner, WindowNetwork)
    trunk = inner.aggregator
    if any(not 0 <= block < len(trunk.global_blocks) for block in blocks):
        raise DpmError(f"loss.matching.blocks={blocks} must be positions of the {len(trunk.global_blocks)} blocks")

    def listed(attention: nn.Module, given: tuple[Tensor, RotaryTable]) -> None:
        assert isinstance(attention, SelfAttention)
        found.append(AttentionBetweenFrames(attention, *given, frames, trunk.specials, inner.patch))

    with ExitStack() as hooks:
        for block in blocks:
            attention = trunk.global_blocks[block].get_submodule("attn")
            hooks.callback(attention.register_forward_pre_hook(listed).remove)
        yield found
