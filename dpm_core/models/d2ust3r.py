# SPDX-License-Identifier: Apache-2.0
"""D²USt3R: DUSt3R whose second map shows moving content where it was at the first image's time.

No public code of its heads could be had: they are built from the paper (§4.4) and have no published weights. The
published file is DUSt3R's in keys and shapes and loads into the network without them.
"""

from __future__ import annotations

from torch import Tensor

from .checks import patch_grid
from .croco import Decoded
from .flow_head import FlowEstimate, FlowHead
from .pair_config import D2USt3RConfig
from .pair_heads import PairDptHead
from .pairs import PairNetwork, PairOutput, Size, point_map


class D2USt3RNetwork(PairNetwork):
    """DUSt3R, with heads for what moves and for optical flow where the configuration asks for them."""

    def __init__(self, config: D2USt3RConfig) -> None:
        super().__init__(config.croco, config.head, config.pairs_at_once)
        self.config = config
        if config.mask is not None:
            # One a stream, as the heads of the point maps.
            self.mask_head1, self.mask_head2 = (PairDptHead(config.mask, config.croco, 1) for _ in range(2))
            self.taps = tuple(sorted({*self.taps, *config.mask.taps}))
        # One for both streams: either image is the first to it.
        self.flow_head = None if config.flow is None else FlowHead(config.flow, config.croco)
        depth = config.croco.decoder_depth
        self.watched = () if config.flow is None else tuple(range(depth - config.flow.maps + 1, depth + 1))

    @property
    def knows_motion(self) -> bool:
        """Yes: the second map is at the first image's time."""
        return True

    def second_at_first(self, output: PairOutput) -> tuple[Tensor, Tensor]:
        """The second map itself."""
        return output.points_2, output.conf_2

    def relate(self, first: Tensor, second: Tensor, sizes: tuple[Size, Size]) -> PairOutput:
        """As PairNetwork's, with what the heads say."""
        return self.relate_and_refine(first, second, sizes)[0]

    def relate_and_refine(
        self, first: Tensor, second: Tensor, sizes: tuple[Size, Size]
    ) -> tuple[PairOutput, FlowEstimate | None, FlowEstimate | None]:
        """The same, and all refinements of the flows 1 → 2 and 2 → 1, which a loss wants to see."""
        decoded = self.decode(first, second, sizes, self.taps, self.watched)
        taps = self.config.head.taps
        points_1, conf_1 = point_map(self.downstream_head1(self._levels(decoded.first, taps), sizes[0]))
        points_2, conf_2 = point_map(self.downstream_head2(self._levels(decoded.second, taps), sizes[1]))
        dynamic_1, dynamic_2 = self._masks(decoded, sizes)
        flow_12, flow_21 = self._flows(decoded, sizes)
        output = PairOutput(
            points_1,
            conf_1,
            points_2,
            conf_2,
            dynamic_1=dynamic_1,
            dynamic_2=dynamic_2,
            flow_12=None if flow_12 is None else flow_12.flows[-1],
            flow_21=None if flow_21 is None else flow_21.flows[-1],
        )
        return output, flow_12, flow_21

    def _levels(self, levels: list[Tensor], taps: tuple[int, ...]) -> list[Tensor]:
        """Those of a stream that a head reads."""
        return [levels[self.taps.index(tap)] for tap in taps]

    def _masks(self, decoded: Decoded, sizes: tuple[Size, Size]) -> tuple[Tensor | None, Tensor | None]:
        if self.config.mask is None:
            return None, None
        taps = self.config.mask.taps
        first = self.mask_head1(self._levels(decoded.first, taps), sizes[0])[..., 0]
        return first, self.mask_head2(self._levels(decoded.second, taps), sizes[1])[..., 0]

    def _flows(self, decoded: Decoded, sizes: tuple[Size, Size]) -> tuple[FlowEstimate | None, FlowEstimate | None]:
        if self.flow_head is None:
            return None, None
        grid_1, grid_2 = (patch_grid(*size, self.patch) for size in sizes)
        forward = self.flow_head(decoded.maps_12, decoded.first[-1], grid_1, grid_2)
        return forward, self.flow_head(decoded.maps_21, decoded.second[-1], grid_2, grid_1)
