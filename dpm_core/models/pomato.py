# SPDX-License-Identifier: Apache-2.0
"""POMATO: a third head says where the second image's content was at the first image's time."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import torch
from torch import Tensor

from ..errors import DpmError
from ..kernels import pointmap_dynamic_mask
from ..types import Prediction
from .checks import check_positions
from .pair_config import POMATOConfig
from .pair_heads import POINT_OUTPUTS, PairDptHead
from .pairs import PairNetwork, PairOutput, Size, point_map
from .pomato_window import predict_from_window


class Mode(Enum):
    """Which frames the two streams of a window see."""

    TRACKING = "tracking"
    """Stream 1: every frame; stream 2: a key frame. The matched points are the key frame's pixels at every time."""

    FAST_RECON = "fast_recon"
    """Stream 1: a key frame; stream 2: every frame. The second map is every frame in the key frame's camera."""

    VIDEO_DEPTH = "video_depth"
    """Every frame with itself. The first map is every frame in its own camera."""


class POMATONetwork(PairNetwork):
    """Pairs, or windows where the heads have motion modules. Source: reference sheet §7."""

    def __init__(self, config: POMATOConfig) -> None:
        super().__init__(config.croco, config.head, config.pairs_at_once)
        self.config = config
        self.downstream_head3 = PairDptHead(config.head, config.croco, POINT_OUTPUTS)

    @property
    def frames(self) -> int | None:
        """The length of the windows that the weights were made for; None where the network takes single pairs."""
        temporal = self.config.head.temporal
        return None if temporal is None else temporal.frames

    @property
    def knows_motion(self) -> bool:
        """Yes, by the matching head."""
        return True

    def second_at_first(self, output: PairOutput) -> tuple[Tensor, Tensor]:
        """The matched points."""
        return matched(output)

    @torch.no_grad()
    def predict(
        self,
        tokens: Tensor | Sequence[Tensor],
        size: Size,
        times: Sequence[int],
        reference: int = 0,
    ) -> Prediction:
        """One window as the stream sees it, by pairs or, with motion modules, as a whole.

        Arguments, raises: as PairNetwork's; with motion modules the window is at most as long as theirs.
        """
        if self.frames is None:
            return super().predict(tokens, size, times, reference)
        window = self.checked_window(tokens, size, times, reference)
        if len(window) > self.frames:
            raise DpmError(f"the window has {len(window)} frames; this network takes at most {self.frames}")
        return predict_from_window(self, window, size, times, reference)

    def relate(self, first: Tensor, second: Tensor, sizes: tuple[Size, Size]) -> PairOutput:
        """As PairNetwork's, and the matched points, which read the second stream as the second map does.

        Raises:
            DpmError: the network has motion modules, and the pairs are not whole windows.
        """
        decoded = self.decode(first, second, sizes, self.taps)
        points_1, conf_1 = point_map(self.downstream_head1(decoded.first, sizes[0]))
        points_2, conf_2 = point_map(self.downstream_head2(decoded.second, sizes[1]))
        matched, conf_matched = point_map(self.downstream_head3(decoded.second, sizes[1]))
        return PairOutput(points_1, conf_1, points_2, conf_2, matched, conf_matched)

    def window(self, images: Tensor, mode: Mode, key: int | None = None) -> PairOutput:
        """Windows in one of the three modes, differentiably; the encoder runs once a frame.

        Args:
            images: [B, T, 3, H, W] float32 in [0, 1], RGB.
            mode: which frames the streams see.
            key: the key frame; None for the published one, the first when tracking, the last in fast reconstruction.

        Returns:
            As PairOutput, of B x T pairs, window by window.

        Raises:
            DpmError: T is not the network's, or a side is no multiple of the patch.
        """
        tokens = self.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return self.relate_window(tokens, (images.shape[-2], images.shape[-1]), mode, key)

    def reconstruct(self, tokens: Tensor, size: Size, key: int) -> PairOutput:
        """Fast reconstruction of one window with any key frame. tokens: [T, P, C] from `encode`."""
        return self.relate_window(tokens[None], size, Mode.FAST_RECON, key)

    def relate_window(self, tokens: Tensor, size: Size, mode: Mode, key: int | None = None) -> PairOutput:
        """The same of tokens [B, T, P, C] from `encode`."""
        count = tokens.shape[1]
        if self.frames is not None and count != self.frames:
            raise DpmError(f"the window has {count} frames; this network's weights are for windows of {self.frames}")
        if key is None:
            key = count - 1 if mode is Mode.FAST_RECON else 0
        check_positions("key frame", [key], count)
        every, repeated = tokens, tokens[:, key : key + 1].expand_as(tokens)
        first = repeated if mode is Mode.FAST_RECON else every
        second = repeated if mode is Mode.TRACKING else every
        return self.relate(first.flatten(0, 1), second.flatten(0, 1), (size, size))


def matched(output: PairOutput) -> tuple[Tensor, Tensor]:
    """The matched points and their confidence.

    Raises:
        DpmError: the network has no matching head.
    """
    if output.matched_2 is None or output.conf_matched is None:
        raise DpmError("the network gives no matched points, so nothing is known of motion; use POMATO")
    return output.matched_2, output.conf_matched


def dynamic_mask(output: PairOutput, factor: float = 3.0) -> Tensor:
    """[B, H2, W2] bool, where the second image's content moved between the two times (supplement, eq. 9).

    Eq. 9 as printed repeats one symbol; meant is ‖matched − second map‖ > factor × its median.

    Raises:
        DpmError: the network has no matching head.
    """
    points, _ = matched(output)
    mask: Tensor = pointmap_dynamic_mask(points.contiguous(), output.points_2.contiguous(), factor=factor)
    return mask
