# SPDX-License-Identifier: Apache-2.0
"""What is called in training where the network's own `forward` tells less than its loss wants to see."""

from __future__ import annotations

from torch import Tensor, nn

from dpm_core.models import D2USt3RNetwork, FlowEstimate, PairOutput

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
