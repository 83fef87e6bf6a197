# SPDX-License-Identifier: Apache-2.0
"""Cameras from camera tokens, refined step by step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import CameraHeadConfig
from .layers import Block, Mlp
from .precision import full_precision

EPS = 1e-5
ADAPTIVE_EPS = 1e-6
LAYER_SCALE = 0.01
ENCODING = 9


class CameraHead(nn.Module):
    """Iterative refinement of pose encodings. Source: reference sheet §2.3."""

    def __init__(self, config: CameraHeadConfig, dim: int) -> None:
        super().__init__()
        self.iterations = config.iterations
        self.token_norm = nn.LayerNorm(dim, eps=EPS)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, ENCODING))
        self.embed_pose = nn.Linear(ENCODING, dim)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 3 * dim))
        self.adaln_norm = nn.LayerNorm(dim, eps=ADAPTIVE_EPS, elementwise_affine=False)
        self.trunk = nn.ModuleList(
            Block(dim, config.heads, config.mlp_ratio, eps=EPS, layer_scale=LAYER_SCALE) for _ in range(config.depth)
        )
        self.trunk_norm = nn.LayerNorm(dim, eps=EPS)
        self.pose_branch = Mlp(dim, dim // 2, ENCODING)

    def forward(self, level: Tensor) -> Tensor:
        """Pose encodings after each iteration, the last the best; float32 also under autocast.

        Args:
            level: [B, S, P, C] aggregated tokens of the last layer; the first of each frame is its camera token.

        Returns:
            [iterations, B, S, 9]: camera_from_world translation (3), quaternion xyzw (4), vertical and horizontal
            field of view (2, radians, >= 0).
        """
        with full_precision(level):
            tokens = self.token_norm(level[:, :, 0].to(self.token_norm.weight.dtype))
            encoding = self._step(tokens, self.embed_pose(self.empty_pose_tokens).expand_as(tokens))
            steps = [encoding]
            for _ in range(1, self.iterations):
                encoding = encoding + self._step(tokens, self.embed_pose(encoding.detach()))
                steps.append(encoding)
            out = torch.stack(steps)
            return torch.cat([out[..., :7], out[..., 7:].relu()], dim=-1)

    def _step(self, tokens: Tensor, embedded: Tensor) -> Tensor:
        shift, scale, gate = self.poseLN_modulation(embedded).chunk(3, dim=-1)
        x = gate * (self.adaln_norm(tokens) * (1 + scale) + shift) + tokens
        for block in self.trunk:
            x = block(x)
        out: Tensor = self.pose_branch(self.trunk_norm(x))
        return out
