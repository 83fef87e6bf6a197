# SPDX-License-Identifier: Apache-2.0
"""Which image pairs a pair network is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Edges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PairMaps:
    """Point maps of E ordered pairs (i, j) of images of one size, each pair in camera i and in a unit of its own.

    Attributes:
        edges: the E pairs.
        points_i: [E, H, W, 3] float32, pixels of image i.
        conf_i: [E, H, W] float32, its confidence.
        points_j: [E, H, W, 3] float32, pixels of image j, at the time of j.
        conf_j: [E, H, W] float32, its confidence.
        matched_j: [E, H, W, 3] float32, pixels of image j, at the time of i (POMATO); None where there is none.
        conf_matched: [E, H, W] float32, its confidence.
    """

    edges: Edges
    points_i: Tensor
    conf_i: Tensor
    points_j: Tensor
    conf_j: Tensor
    matched_j: Tensor | None = None
    conf_matched: Tensor | None = None

    @property
    def images(self) -> int:
        """Number of images, counted by the largest index."""
        return max(max(edge) for edge in self.edges) + 1

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of every map."""
        return self.conf_i.shape[1], self.conf_i.shape[2]

    def ends(self) -> tuple[Tensor, Tensor]:
        """i and j of every pair, [E] int64 each, on the maps' device."""
        i, j = torch.tensor(self.edges, device=self.conf_i.device).unbind(-1)
        return i, j


def complete_edges(images: int) -> Edges:
    """Every pair once, (i, j) with i < j."""
    return tuple((i, j) for i in range(images) for j in range(i + 1, images))


def sliding_edges(images: int, reach: int, stride: int = 1, cyclic: bool = False) -> Edges:
    """Every image with the `reach` next ones, `stride` apart; `cyclic` goes on from the last to the first."""
    steps = [stride * (step + 1) for step in range(reach)]
    return _sorted_edges(images, steps, cyclic)


def logarithmic_edges(images: int, reach: int, cyclic: bool = False) -> Edges:
    """Every image with those 1, 2, 4, … further on, `reach` of them."""
    return _sorted_edges(images, [2**step for step in range(reach)], cyclic)


def reference_edges(images: int, reference: int = 0) -> Edges:
    """The reference image with every other."""
    return tuple((reference, other) for other in range(images) if other != reference)


def symmetrised(edges: Edges) -> Edges:
    """The edges, then all of them reversed: entry k + E/2 is entry k reversed."""
    return edges + tuple((j, i) for i, j in edges)


def reversed_index(edges: Edges) -> tuple[int, ...]:
    """For every edge (i, j), where (j, i) stands.

    Raises:
        ValueError: an edge stands there in one direction only.
    """
    place = {edge: index for index, edge in enumerate(edges)}
    missing = [(i, j) for i, j in edges if (j, i) not in place]
    if missing:
        raise ValueError(f"edges must come in both directions; {missing[0][::-1]} is missing")
    return tuple(place[j, i] for i, j in edges)


def image_confidence(pairs: PairMaps) -> Tensor:
    """The best that any pair says of every pixel. -> [N, H, W], zero where no pair holds the image."""
    best = pairs.conf_i.new_zeros(pairs.images, *pairs.size)
    for (i, j), conf_i, conf_j in zip(pairs.edges, pairs.conf_i, pairs.conf_j, strict=True):
        best[i] = torch.maximum(best[i], conf_i)
        best[j] = torch.maximum(best[j], conf_j)
    return best


def _sorted_edges(images: int, steps: list[int], cyclic: bool) -> Edges:
    edges = {(i, (i + step) % images if cyclic else i + step) for i in range(images) for step in steps}
    return tuple(sorted({(min(edge), max(edge)) for edge in edges if max(edge) < images and edge[0] != edge[1]}))
