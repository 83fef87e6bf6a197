# SPDX-License-Identifier: Apache-2.0
"""What all pair networks share: two images in, point maps in the first camera out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import DpmError
from ..geometry.pairs import Edges, PairMaps
from ..types import Prediction
from .activations import exp_norm, expp1
from .checks import check_positions, check_window, patch_grid
from .croco import CrocoTrunk
from .pair_config import CrocoConfig, PairDptConfig
from .pair_heads import POINT_OUTPUTS, LinearHead, PairDptHead
from .pair_window import predict_from_pairs
from .trunk import stacked

Size = tuple[int, int]


class PairOutput(NamedTuple):
    """Of B pairs, all in the first image's camera and the pair's own unit.

    Attributes:
        points_1: [B, H, W, 3] float32, pixels of image 1.
        conf_1: [B, H, W] float32, >= 1.
        points_2: [B, H2, W2, 3] float32, pixels of image 2.
        conf_2: [B, H2, W2] float32.
        matched_2: [B, H2, W2, 3] float32, pixels of image 2 at the time of image 1; None where there is no such head.
        conf_matched: [B, H2, W2] float32.
        dynamic_1, dynamic_2: [B, H, W] float32 logits of what moves, where there is a mask head.
        flow_12, flow_21: [B, H, W, 2] float32 pixels, from image 1 to 2 and back, where there is a flow head.
    """

    points_1: Tensor
    conf_1: Tensor
    points_2: Tensor
    conf_2: Tensor
    matched_2: Tensor | None = None
    conf_matched: Tensor | None = None
    dynamic_1: Tensor | None = None
    dynamic_2: Tensor | None = None
    flow_12: Tensor | None = None
    flow_21: Tensor | None = None


class PairNetwork(CrocoTrunk):
    """The trunk and two heads; children add heads. Source: reference sheet §4."""

    def __init__(self, croco: CrocoConfig, head: PairDptConfig | None, pairs_at_once: int) -> None:
        """head: None for the linear one."""
        super().__init__(croco)
        self.pairs_at_once = pairs_at_once
        self.downstream_head1, self.downstream_head2 = (dense_head(head, croco, POINT_OUTPUTS) for _ in range(2))
        self.taps = self.downstream_head1.taps

    def forward(self, first: Tensor, second: Tensor) -> PairOutput:
        """Pairs of images, differentiably.

        Args:
            first: [B, 3, H, W] float32 in [0, 1], RGB.
            second: [B, 3, H2, W2].

        Raises:
            DpmError: a side is no multiple of the patch.
        """
        sizes = ((first.shape[-2], first.shape[-1]), (second.shape[-2], second.shape[-1]))
        return self.relate(self.encode(first), self.encode(second), sizes)

    @property
    def knows_motion(self) -> bool:
        """Whether it says where a frame's content is at another frame's time; see `second_at_first`."""
        return False

    def second_at_first(self, output: PairOutput) -> tuple[Tensor, Tensor]:
        """Points and confidence of the second image's content at the first image's time, where `knows_motion`."""
        raise NotImplementedError

    @torch.no_grad()
    def predict(
        self,
        tokens: Tensor | Sequence[Tensor],
        size: Size,
        times: Sequence[int],
        reference: int = 0,
    ) -> Prediction:
        """One window as the stream sees it. A single frame is paired with itself.

        Networks that know of no motion (DUSt3R, MonST3R) give every view at its own time whatever time is asked.

        Args:
            tokens: [S, P, C] from `encode`, or S of [P, C], oldest frame first.
            size: (H, W) of the images.
            times: asked window positions.
            reference: the window position whose camera is the origin.

        Raises:
            DpmError: the window is empty or of another size, or a time or the reference is outside.
        """
        window = self.checked_window(tokens, size, times, reference)
        return predict_from_pairs(self, window, size, times, reference)

    def checked_window(
        self, tokens: Tensor | Sequence[Tensor], size: Size, times: Sequence[int], reference: int
    ) -> Tensor:
        """[S, P, C] tokens that fit together. Arguments, raises: as `predict`."""
        window = stacked(tokens)[0]
        check_window(window.shape[0], window.shape[1], patch_grid(*size, self.patch), self.patch)
        check_positions("target time", times, len(window))
        check_positions("reference frame", [reference], len(window))
        return window

    def relate(self, first: Tensor, second: Tensor, sizes: tuple[Size, Size]) -> PairOutput:
        """The part that looks at both. first, second: [B, P, C] from `encode`; sizes: (H, W) of each."""
        decoded = self.decode(first, second, sizes, self.taps)
        points_1, conf_1 = point_map(self.downstream_head1(decoded.first, sizes[0]))
        points_2, conf_2 = point_map(self.downstream_head2(decoded.second, sizes[1]))
        return PairOutput(points_1, conf_1, points_2, conf_2)

    def relate_frames(self, tokens: Tensor, edges: Edges, size: Size) -> PairOutput:
        """Pairs of a window's frames, `pairs_at_once` at a time.

        Args:
            tokens: [S, P, C] from `encode`.
            edges: pairs (i, j) of window positions, at least one.
            size: (H, W) of the images.

        Raises:
            DpmError: the window is empty or of another size, or a position is outside.
        """
        check_window(tokens.shape[0], tokens.shape[1], patch_grid(*size, self.patch), self.patch)
        check_positions("frame of a pair", [end for edge in edges for end in edge], len(tokens))
        i, j = torch.tensor(edges, device=tokens.device).unbind(-1)
        parts = [
            self.relate(tokens[at_i], tokens[at_j], (size, size))
            for at_i, at_j in zip(i.split(self.pairs_at_once), j.split(self.pairs_at_once), strict=True)
        ]
        return _joined(parts)

    def pair_maps(self, tokens: Tensor, edges: Edges, size: Size) -> PairMaps:
        """The same for `geometry.alignment`.

        Raises:
            DpmError: there are no pairs (one frame has none), or as `relate_frames`.
        """
        if not edges:
            raise DpmError("there are no pairs to align; give at least two frames")
        out = self.relate_frames(tokens, edges, size)
        return PairMaps(edges, out.points_1, out.conf_1, out.points_2, out.conf_2, out.matched_2, out.conf_matched)


def _joined(parts: list[PairOutput]) -> PairOutput:
    fields = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in PairOutput._fields
        if getattr(parts[0], name) is not None
    }
    return PairOutput(**fields)


def dense_head(config: PairDptConfig | None, croco: CrocoConfig, outputs: int) -> LinearHead | PairDptHead:
    """The head of a configuration; None is the linear one."""
    return LinearHead(croco, outputs) if config is None else PairDptHead(config, croco, outputs)


def point_map(raw: Tensor) -> tuple[Tensor, Tensor]:
    """raw: [..., 4] of a head -> points [..., 3] and confidence [...]."""
    return exp_norm(raw[..., :3]), expp1(raw[..., 3])
