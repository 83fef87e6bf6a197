# SPDX-License-Identifier: Apache-2.0
"""Attention between frames, shown where to look: at the patch that sees the same point.

Ours, not of the papers. That a network compares frames at all is, by the papers' losses alone, learned late: in a trial
of 2,500 steps cameras stood still. Told which patch sees what the asking patch sees, one head of a global block finds
it within some hundred windows, and the blocks behind it have correspondences to reckon with (docs/vdpm-mini.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..records import Window


class PatchMatches(NamedTuple):
    """Where the point in the middle of a patch is seen from the other views.

    Attributes:
        weights: [B, S, P, S, P]; of view v, patch p, in view w: bilinear weights of the patches around its place, by
            their middles. Rows sum to 1.
        known: [B, S, P, S] bool, whether view w sees it.
    """

    weights: Tensor
    known: Tensor


@dataclass(frozen=True)
class MatchingLoss:
    """Cross entropy of a head's look from view to view, over each view's patches, against the true matches.

    Attributes:
        weight: in the sum of losses; 0 leaves it out, as the papers do.
        blocks: the global blocks that are taught.
        head: which of their heads; the others are free.
    """

    weight: float = 0.0
    blocks: tuple[int, ...] = (0, 1)
    head: int = 0

    def __call__(self, scores: Sequence[Tensor], matches: PatchMatches) -> dict[str, Tensor]:
        """The loss of a batch.

        Args:
            scores: of each block, what the softmax is taken of: [B, S, P, S, P], view and patch that asks first.
            matches: the truth.

        Returns:
            Scalars: "match", in nats beyond the least possible, and without gradient "match_right", the share of
            patches that look most at the right one.
        """
        entropy = -torch.special.xlogy(matches.weights, matches.weights).sum(-1)
        wanted = matches.weights.argmax(-1)
        count = matches.known.sum().clamp(min=1)
        excess, right = [], []
        for score in scores:
            look = score.float().log_softmax(-1)
            cross = -(matches.weights * look).sum(-1) - entropy
            excess.append(torch.where(matches.known, cross, 0.0).sum() / count)
            right.append((matches.known & (look.argmax(-1) == wanted)).sum() / count)
        return {"match": torch.stack(excess).mean(), "match_right": torch.stack(right).mean()}


def patch_matches(window: Window, patch: int, tolerance: float = 0.05) -> PatchMatches:
    """The true matches of a window's patches.

    A point that moves is looked for where it is at the other view's time, where the window tells (`Window.times`).

    Args:
        window: sides are multiples of the patch.
        patch: side of a patch, pixels.
        tolerance: a point is hidden where a view sees nearer than it by more than this share of its depth.
    """
    B, S, _, H, W = window.images.shape
    middles = slice(patch // 2, None, patch)
    seen_at, there = _at_each_time(window, middles)
    rotation, origin = window.world_from_camera[..., :3, :3], window.world_from_camera[..., :3, 3]
    camera = torch.einsum("bwji,bvpwj->bvpwi", rotation, seen_at - origin[:, None, None])
    z = camera[..., 2]
    u, v = (
        torch.einsum("bwij,bvpwj->bvpwi", window.intrinsics, camera)[..., :2] / z.clamp(min=1e-6)[..., None]
    ).unbind(-1)
    inside = (z > 1e-6) & (u > -0.5) & (u < W - 0.5) & (v > -0.5) & (v < H - 0.5)
    pixel = (v.round().clamp(0, H - 1) * W + u.round().clamp(0, W - 1)).long()
    pixel = pixel.permute(0, 3, 1, 2).flatten(2)
    surface = window.depth.flatten(2).gather(2, pixel).view(B, S, S, -1).permute(0, 2, 3, 1)
    known = there & inside & (surface > 0) & ((z - surface).abs() <= tolerance * z)
    known &= ~torch.eye(S, dtype=torch.bool, device=known.device)[:, None]
    weights = _around(v, patch, H)[..., :, None] * _around(u, patch, W)[..., None, :]
    return PatchMatches(weights.flatten(-2), known)


def _at_each_time(window: Window, middles: slice) -> tuple[Tensor, Tensor]:
    """The middles' points at every view's time [B, S, P, S, 3] in the world, and where they are known [B, S, P, S]."""
    frames = window.images.shape[1]
    own, valid = (x[:, :, middles, middles].flatten(2, 3) for x in window.own_points())
    still = valid if window.dynamic is None else valid & ~window.dynamic[:, :, middles, middles].flatten(2, 3)
    points, there = [own] * frames, [still] * frames
    for place, time in enumerate(window.times):
        points[time] = window.points[:, place, :, middles, middles].flatten(2, 3)
        there[time] = window.valid[:, place, :, middles, middles].flatten(2, 3)
    return torch.stack(points, 3), torch.stack(there, 3)


def _around(place: Tensor, patch: int, side: int) -> Tensor:
    """Linear weights of the patches along a side: [...] pixels -> [..., side / patch]."""
    count = side // patch
    middle = ((place - (patch - 1) / 2) / patch).clamp(0, count - 1)
    return (1 - (middle[..., None] - torch.arange(count, device=place.device)).abs()).clamp(min=0)
