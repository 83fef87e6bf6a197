# SPDX-License-Identifier: Apache-2.0
"""First weights for a short run from nothing.

The published recipe (`dpm_core.models.initialise`) suits long runs and pretrained encoders: deviation 0.02, residual
branches at a hundredth. A run of some thousand steps has no time to grow out of that. Here every linear layer of the
transformers keeps the variance of what enters it, branches count from the start, and patches know their place by sines
(Vaswani et al. 2017, in two dimensions as in Beyer et al. 2022, "Better plain ViT baselines").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dpm_core.models import VDPMNetwork, initialise
from dpm_core.models.camera_head import CameraHead
from dpm_core.models.dinov2 import DinoV2
from dpm_core.models.layers import Block, LayerScale

BRANCH = 0.3
"""First factor of residual branches in the trunk and the decoder."""
PLACE = 0.5
"""Amplitude of the sines of a patch's place; patches themselves enter with a deviation of about 1."""


@torch.no_grad()
def start(network: VDPMNetwork, seed: int) -> None:
    """Fill every parameter, in place; the same seed gives the same weights."""
    initialise(network, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for module in network.modules():
        if isinstance(module, Block):
            for layer in module.modules():
                if isinstance(layer, nn.Linear):
                    _keep_variance(layer.weight, generator)
        if isinstance(module, LayerScale):
            module.gamma.fill_(BRANCH)
        if isinstance(module, CameraHead):
            _keep_variance(module.embed_pose.weight, generator)
    for block in network.decoder.modules():
        if isinstance(block, nn.Linear) and bool(block.weight.any()):
            _keep_variance(block.weight, generator)
    _places(network.aggregator.patch_embed)


def _keep_variance(weight: Tensor, generator: torch.Generator) -> None:
    values = torch.empty(weight.shape)
    nn.init.trunc_normal_(values, a=-2.0, b=2.0, generator=generator)
    weight.copy_(values / math.sqrt(weight.shape[1]))


def _places(encoder: DinoV2) -> None:
    rows, columns = encoder.native_grid
    dim = encoder.pos_embed.shape[-1]
    frequencies = torch.logspace(-1, 3, dim // 4, base=2) * math.pi
    v, u = torch.meshgrid(torch.linspace(0, 1, rows), torch.linspace(0, 1, columns), indexing="ij")
    angles = torch.cat([u.flatten()[:, None] * frequencies, v.flatten()[:, None] * frequencies], 1)
    table = torch.cat([angles.sin(), angles.cos()], 1)
    encoder.pos_embed.zero_()
    encoder.pos_embed[0, 1:, : table.shape[1]] = PLACE * table


@torch.no_grad()
def stand_still(network: VDPMNetwork) -> None:
    """Let an adaptive decoder say P[v, t] = P[v, t_v]: all that a network knows that never learned of motion."""
    for name, parameter in network.decoder.named_parameters():
        if ".modulation." in name or name.endswith("ls2.gamma"):
            parameter.zero_()
