# SPDX-License-Identifier: Apache-2.0
"""VGGT's trunk: frames see themselves and each other by turns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import AggregatorConfig
from .dinov2 import DinoV2
from .layers import Block
from .rope import RotaryTable, grid_positions, rotary_table

EPS = 1e-5
LAYER_SCALE = 0.01


class Aggregator(nn.Module):
    """Alternating attention within a frame and over the window. Source: reference sheet §2.1, §3.1.

    Tokens of a frame, in order: camera, time (V-DPM only), registers, patches. No token knows its frame's place in the
    window, except that the reference frame has camera and register tokens of its own.
    """

    def __init__(self, config: AggregatorConfig, *, time_token: bool = False) -> None:
        """time_token: whether each frame carries V-DPM's time token, one vector shared by all frames."""
        super().__init__()
        dim = config.dim
        self.taps = config.taps
        self.head_dim = dim // config.heads
        self.specials = 1 + int(time_token) + config.registers
        self.patch_embed = DinoV2(config.encoder)
        # Slot 0 is the reference frame's, slot 1 everybody else's.
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 1, dim))
        self.register_token = nn.Parameter(torch.zeros(1, 2, config.registers, dim))
        self.time_conditioning_token = nn.Parameter(torch.zeros(1, 1, dim)) if time_token else None
        self.frame_blocks = self._blocks(config)
        self.global_blocks = self._blocks(config)

    @staticmethod
    def _blocks(config: AggregatorConfig) -> nn.ModuleList:
        return nn.ModuleList(
            Block(config.dim, config.heads, config.mlp_ratio, eps=EPS, layer_scale=LAYER_SCALE, qk_norm=True)
            for _ in range(config.depth)
        )

    def forward(self, patches: Tensor, grid: tuple[int, int], reference: int = 0) -> list[Tensor]:
        """Aggregated tokens at the tapped layers; no other layer's are kept.

        Args:
            patches: [B, S, P, C] tokens of the encoder.
            grid: (rows, columns) of patches, P = rows * columns.
            reference: the frame whose camera is the origin.

        Returns:
            One [B, S, specials + P, 2C] a tap: the frame block's output beside the global block's.
        """
        batch, frames = patches.shape[:2]
        x = torch.cat([self._special_tokens(batch, frames, reference), patches], dim=2)
        in_frame = self.rotary_table(grid, self.head_dim, patches.device)
        in_window = in_frame.repeat(frames)
        levels = []
        for index, (frame_block, global_block) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            within = frame_block(x.flatten(0, 1), in_frame).view_as(x)
            x = global_block(within.flatten(1, 2), in_window).view_as(x)
            if index in self.taps:
                levels.append(torch.cat([within, x], dim=-1))
        return levels

    def rotary_table(self, grid: tuple[int, int], head_dim: int, device: torch.device) -> RotaryTable:
        """Angles of one frame's tokens, for attention heads of `head_dim` channels."""
        return rotary_table(grid_positions(grid, first=1, specials=self.specials, device=device), head_dim)

    def _special_tokens(self, batch: int, frames: int, reference: int) -> Tensor:
        slots = [int(frame != reference) for frame in range(frames)]
        camera = torch.cat([self.camera_token[:, slot : slot + 1] for slot in slots], dim=1)
        register = torch.cat([self.register_token[:, slot : slot + 1] for slot in slots], dim=1)
        if self.time_conditioning_token is None:
            parts = [camera, register]
        else:
            parts = [camera, self.time_conditioning_token[:, None].expand(-1, frames, -1, -1), register]
        return torch.cat(parts, dim=2).expand(batch, -1, -1, -1)
