# SPDX-License-Identifier: Apache-2.0
"""First weights: the same from the same seed, and such that an untrained network already says something sane.

Published recipes where there are any: truncated normals of deviation 0.02 in transformers, 1e-6 for special tokens,
small layer scales. Ours: decoders start with their attention gated off, cameras at the origin looking ahead with a
field of view of 60 degrees, points about one unit before the reference camera; motion modules change nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .camera_head import ENCODING, CameraHead
from .decoder import Modulation
from .dpt import DptHead
from .layers import LayerScale
from .motion_module import TemporalTransformer
from .pair_heads import POINT_OUTPUTS, LinearHead, PairDptHead
from .trunk import WindowNetwork
from .vdpm import VDPMNetwork

TRANSFORMER_STD = 0.02
TOKEN_STD = 1e-6
POSE_STD = 1e-3
FIELD_OF_VIEW = math.radians(60)
DEPTH = 1.0

# Parameters that belong to no layer, by name: deviation of a normal.
LOOSE = {
    "camera_token": TOKEN_STD,
    "register_token": TOKEN_STD,
    "time_conditioning_token": TOKEN_STD,
    "cls_token": TOKEN_STD,
    "register_tokens": TOKEN_STD,
    "pos_embed": TRANSFORMER_STD,
    "mask_token": 0.0,
    "empty_pose_tokens": 0.0,
    "query_ref_token": 1.0,
    "virual_tracks": 1.0,
}


@torch.no_grad()
def initialise(network: nn.Module, seed: int = 0) -> None:
    """Fill every parameter of a network, in place. The same seed gives the same weights on every device.

    Raises:
        ValueError: a parameter for which no rule is known.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        _fill_layer(module, generator)
    for module in network.modules():
        if isinstance(module, Modulation):
            module.lin.weight.zero_()
            module.lin.bias.zero_()
        elif isinstance(module, CameraHead):
            _look_ahead(module, generator)
        elif isinstance(module, WindowNetwork):
            _points_ahead(module.point_head)
        elif isinstance(module, TemporalTransformer):
            module.proj_out.weight.zero_()
            module.proj_out.bias.zero_()
        elif isinstance(module, LinearHead | PairDptHead) and module.outputs == POINT_OUTPUTS:
            _pair_points_ahead(module)
        if isinstance(module, VDPMNetwork) and module.dynamic_head is not None:
            _points_ahead(module.dynamic_head)


def _fill_layer(module: nn.Module, generator: torch.Generator) -> None:
    if isinstance(module, nn.Linear):
        _normal(module.weight, TRANSFORMER_STD, generator)
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        bound = 1 / math.sqrt(module.weight[0].numel())
        _uniform(module.weight, bound, generator)
        if module.bias is not None:
            _uniform(module.bias, bound, generator)
    elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
        if module.weight is not None:
            module.weight.fill_(1)
            module.bias.zero_()
    elif isinstance(module, LayerScale):
        module.gamma.fill_(module.initial)
    elif isinstance(module, nn.MultiheadAttention):
        _normal(module.in_proj_weight, TRANSFORMER_STD, generator)
        module.in_proj_bias.zero_()
    else:
        for name, parameter in module.named_parameters(recurse=False):
            if name not in LOOSE:
                raise ValueError(f"no rule to initialise '{name}' of {type(module).__name__}")
            _normal(parameter, LOOSE[name], generator)


def _normal(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    """Cut at two deviations."""
    values = torch.empty(parameter.shape)
    nn.init.trunc_normal_(values, a=-2.0, b=2.0, generator=generator)
    parameter.copy_(values * std)


def _uniform(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    values = torch.empty(parameter.shape)
    nn.init.uniform_(values, -bound, bound, generator=generator)
    parameter.copy_(values)


def _look_ahead(head: CameraHead, generator: torch.Generator) -> None:
    """Each iteration adds its share of the identity pose and the field of view, whatever the tokens say."""
    _normal(head.pose_branch.fc2.weight, POSE_STD, generator)
    share = torch.zeros(ENCODING)
    share[6] = 1.0
    share[7:] = FIELD_OF_VIEW
    head.pose_branch.fc2.bias.copy_(share / head.iterations)


def _points_ahead(head: DptHead) -> None:
    # The inverse of `inv_log` at (0, 0, DEPTH), and a confidence of 2.
    head.scratch.get_parameter("output_conv2.2.bias").copy_(torch.tensor([0.0, 0.0, math.log1p(DEPTH), 0.0]))


def _pair_points_ahead(head: LinearHead | PairDptHead) -> None:
    # The inverse of `exp_norm` at (0, 0, DEPTH), and a confidence of 2.
    pixel = torch.tensor([0.0, 0.0, math.log1p(DEPTH), 0.0])
    if isinstance(head, LinearHead):
        head.proj.bias.copy_(pixel.repeat_interleave(head.patch**2))
    else:
        head.dpt.get_parameter("head.4.bias").copy_(pixel)
