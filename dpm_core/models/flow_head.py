# SPDX-License-Identifier: Apache-2.0
"""D²USt3R's flow head: RAFT's update, reading cross-attention maps in place of a correlation volume.

The paper (§4.4) gives the principle and the output, a mixture of two Laplace distributions; what it leaves open is
chosen here and said where it is chosen. No published weights exist for this head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pair_config import CrocoConfig, FlowHeadConfig
from .precision import full_precision

NEIGHBOURS = 9


class FlowEstimate(NamedTuple):
    """Every refinement, the last one best.

    Attributes:
        flows: each [B, H, W, 2] float32 pixels (u, v), from this image to the other.
        mixtures: each [B, H, W, 2]: the logit of the ordinary component's weight, and the log scale of the other.
    """

    flows: list[Tensor]
    mixtures: list[Tensor]


class AttentionVolume:
    """Attention maps of some blocks as a pyramid over the other image, to be read around a guess."""

    def __init__(self, maps: Sequence[Tensor], grid: tuple[int, int], other: tuple[int, int], levels: int) -> None:
        """maps: each [B, P, Q]; grid, other: (rows, columns) of patches of this image and of the other."""
        volume = torch.stack(list(maps), 2).float()
        self.batch, self.grid = len(volume), grid
        # Shares of attention span orders of magnitude; against the uniform share, on a log scale, they are near 1.
        volume = torch.log1p(volume * volume.shape[-1]).flatten(0, 1).unflatten(-1, other)
        self.pyramid = [volume]
        for _ in range(levels - 1):
            volume = F.avg_pool2d(volume, 2, ceil_mode=True, count_include_pad=False)
            self.pyramid.append(volume)

    def read(self, places: Tensor, radius: int) -> Tensor:
        """Windows around places.

        Args:
            places: [B, 2, rows, columns], (x, y) in patches of the other image.
            radius: of the window, patches of each level.

        Returns:
            [B, levels · maps · (2 radius + 1)², rows, columns]; zero outside the other image.
        """
        steps = torch.arange(-radius, radius + 1, device=places.device, dtype=places.dtype)
        window = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
        centres = places.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
        seen = []
        for level, volume in enumerate(self.pyramid):
            at = (centres + 0.5) / 2**level - 0.5 + window
            sides = at.new_tensor([volume.shape[-1], volume.shape[-2]])
            seen.append(F.grid_sample(volume, (2 * at + 1) / sides - 1, align_corners=False).flatten(1))
        read: Tensor = torch.cat(seen, 1)
        return torch.unflatten(read, 0, (self.batch, *self.grid)).permute(0, 3, 1, 2)


class ConvGru(nn.Module):
    """A gated recurrent unit on a map."""

    def __init__(self, hidden: int, inputs: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(hidden + inputs, 2 * hidden, 3, padding=1)
        self.candidate = nn.Conv2d(hidden + inputs, hidden, 3, padding=1)

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        """state: [B, hidden, h, w]; x: [B, inputs, h, w] -> the next state."""
        update, reset = self.gates(torch.cat([state, x], 1)).sigmoid().chunk(2, dim=1)
        candidate: Tensor = self.candidate(torch.cat([reset * state, x], 1)).tanh()
        out: Tensor = (1 - update) * state + update * candidate
        return out


class FlowHead(nn.Module):
    """Flow from one image to the other on the grid of patches, refined, then brought to pixels."""

    def __init__(self, config: FlowHeadConfig, croco: CrocoConfig) -> None:
        super().__init__()
        self.config, self.patch = config, croco.patch
        hidden = config.hidden
        reading = config.maps * config.levels * (2 * config.radius + 1) ** 2
        self.context = nn.Conv2d(croco.decoder_dim, 2 * hidden, 1)
        self.from_attention = _two_layers(reading, 2 * hidden, hidden, last=3)
        self.from_flow = _two_layers(2, hidden, hidden // 2, last=3)
        self.motion = nn.Conv2d(hidden + hidden // 2, hidden - 2, 3, padding=1)
        self.update = ConvGru(hidden, 2 * hidden)
        # Two numbers of flow, two of the mixture, a patch.
        self.output = _two_layers(hidden, hidden, 4, last=3)
        # For every pixel of a patch, the weights of the patch and its eight neighbours.
        self.finer = _two_layers(hidden, 2 * hidden, NEIGHBOURS * croco.patch**2, last=1)

    @property
    def watched(self) -> int:
        """How many of the decoder's last blocks are read."""
        return self.config.maps

    def forward(
        self, maps: Sequence[Tensor], tokens: Tensor, grid: tuple[int, int], other: tuple[int, int]
    ) -> FlowEstimate:
        """All refinements; float32 also under autocast.

        Args:
            maps: attention of the watched blocks, each [B, P, Q].
            tokens: [B, P, C], the stream's last level.
            grid: (rows, columns) of this image's patches.
            other: of the other image's.
        """
        with full_precision(tokens):
            volume = AttentionVolume(maps, grid, other, self.config.levels)
            state, context = self.context(tokens.float().transpose(1, 2).unflatten(2, grid)).chunk(2, dim=1)
            state, context = state.tanh(), context.relu()
            start = _places(grid, tokens)
            flow = torch.zeros_like(start).expand(len(tokens), -1, -1, -1)
            estimate = FlowEstimate([], [])
            for _ in range(self.config.iterations):
                # As in RAFT, no gradient through where the volume is read: a refinement mends the guess it is given.
                flow = flow.detach()
                state, output = self._refine(volume, state, context, start, flow)
                flow = flow + output[:, :2]
                fine = self._to_pixels(torch.cat([flow * self.patch, output[:, 2:]], 1), self.finer(state))
                estimate.flows.append(fine[..., :2])
                estimate.mixtures.append(fine[..., 2:])
            return estimate

    def _refine(
        self, volume: AttentionVolume, state: Tensor, context: Tensor, start: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next state, and [B, 4, rows, columns]: what to add to the flow (patches), and the mixture."""
        read = self.from_attention(volume.read(start + flow, self.config.radius)).relu()
        motion = self.motion(torch.cat([read, self.from_flow(flow).relu()], 1)).relu()
        state = self.update(state, torch.cat([context, motion, flow], 1))
        return state, self.output(state)

    def _to_pixels(self, coarse: Tensor, weights: Tensor) -> Tensor:
        """Every pixel is a convex mixture of its patch and the neighbours. coarse: [B, C, h, w] -> [B, H, W, C]."""
        batch, channels, rows, columns = coarse.shape
        patch = self.patch
        shares = weights.reshape(batch, 1, NEIGHBOURS, patch, patch, rows, columns).softmax(2)
        around = F.unfold(F.pad(coarse, (1, 1, 1, 1), mode="replicate"), 3)
        around = around.reshape(batch, channels, NEIGHBOURS, 1, 1, rows, columns)
        fine = (shares * around).sum(2)
        return fine.permute(0, 4, 2, 5, 3, 1).reshape(batch, rows * patch, columns * patch, channels)


def _two_layers(inputs: int, hidden: int, outputs: int, *, last: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 1 if inputs > hidden else 3, padding=0 if inputs > hidden else 1),
        nn.ReLU(),
        nn.Conv2d(hidden, outputs, last, padding=last // 2),
    )


def _places(grid: tuple[int, int], like: Tensor) -> Tensor:
    """[1, 2, rows, columns] float32 (x, y) of every patch."""
    y, x = (torch.arange(side, device=like.device, dtype=torch.float32) for side in grid)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]
