# SPDX-License-Identifier: Apache-2.0
"""Sizes of VGGT and V-DPM, and the networks that have names."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EncoderConfig:
    """DINOv2 with registers.

    Attributes:
        image_size: side of the square image that the position table is made for, pixels.
        patch: side of a patch, pixels.
        dim: channels of a token.
        depth: transformer blocks.
        heads: attention heads.
        mlp_ratio: hidden channels of the MLPs to `dim`.
        registers: register tokens.
    """

    image_size: int = 518
    patch: int = 14
    dim: int = 1024
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    registers: int = 4


@dataclass(frozen=True)
class AggregatorConfig:
    """The trunk: an encoder, then pairs of a frame block and a global block.

    Attributes:
        encoder: its tokens have `dim` channels.
        dim: channels of a token.
        depth: pairs of blocks.
        heads: attention heads; dim / heads is a multiple of 4.
        mlp_ratio: hidden channels of the MLPs to `dim`.
        registers: register tokens of a frame, beside the encoder's own.
        taps: the four pairs whose outputs the heads read, ascending; the last pair is the last tap.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    dim: int = 1024
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    registers: int = 4
    taps: tuple[int, int, int, int] = (4, 11, 17, 23)

    def __post_init__(self) -> None:
        if self.encoder.dim != self.dim:
            raise ValueError(f"encoder tokens have {self.encoder.dim} channels, the aggregator's {self.dim}")
        if list(self.taps) != sorted(set(self.taps)) or self.taps[-1] != self.depth - 1:
            raise ValueError(f"taps {self.taps} must ascend and end with the last pair, {self.depth - 1}")
        if self.dim % (4 * self.heads):
            raise ValueError(f"{self.dim} channels in {self.heads} heads leave no multiple of 4 a head to rotate")


@dataclass(frozen=True)
class CameraHeadConfig:
    """The camera head.

    Attributes:
        depth: trunk blocks.
        heads: attention heads.
        mlp_ratio: hidden channels of the MLPs to the tokens'.
        iterations: refinements.
    """

    depth: int = 4
    heads: int = 16
    mlp_ratio: float = 4.0
    iterations: int = 4


@dataclass(frozen=True)
class DptConfig:
    """A dense head.

    Attributes:
        features: channels of the fused map.
        channels: of the four levels.
        hidden: channels before the last layer, at full resolution.
    """

    features: int = 256
    channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    hidden: int = 32


@dataclass(frozen=True)
class TrackConfig:
    """VGGT's point tracker.

    Attributes:
        dpt: its feature extractor.
        stride: image pixels a feature pixel, a side.
        levels: of the correlation pyramid.
        radius: of the correlation window, feature pixels; 2 radius + 1 a side.
        latent: channels of a point's feature; those of the feature map.
        hidden: channels of the transformer.
        depth: pairs of time and space layers.
        heads: attention heads.
        virtual_tracks: tokens through which the points see each other.
        iterations: refinements.
        largest_motion: pixels of the feature map that motion is measured in.
    """

    dpt: DptConfig = field(default_factory=lambda: DptConfig(features=128))
    stride: int = 2
    levels: int = 7
    radius: int = 4
    latent: int = 128
    hidden: int = 384
    depth: int = 6
    heads: int = 8
    virtual_tracks: int = 64
    iterations: int = 4
    largest_motion: float = 518.0

    def __post_init__(self) -> None:
        if self.dpt.features != self.latent:
            raise ValueError(f"the feature map has {self.dpt.features} channels, a point's feature {self.latent}")


@dataclass(frozen=True)
class VGGTConfig:
    """VGGT.

    Attributes:
        aggregator: the trunk.
        camera: the camera head.
        dpt: the point head and the depth head.
        track: the track head, or None for a network without.
        views_at_once: images that a dense head takes together; bounds memory, changes no number.
    """

    aggregator: AggregatorConfig = field(default_factory=AggregatorConfig)
    camera: CameraHeadConfig = field(default_factory=CameraHeadConfig)
    dpt: DptConfig = field(default_factory=DptConfig)
    track: TrackConfig | None = field(default_factory=TrackConfig)
    views_at_once: int = 8


@dataclass(frozen=True)
class AdaptiveDecoderConfig:
    """V-DPM's decoder: blocks modulated by the asked time's token (adaLN).

    Attributes:
        depth: pairs of a frame block and a global block.
        heads: attention heads; twice the aggregator's channels / heads is a multiple of 4.
        mlp_ratio: hidden channels of the MLPs to the tokens'.
    """

    depth: int = 4
    heads: int = 16
    mlp_ratio: float = 4.0


@dataclass(frozen=True)
class AdditiveDecoderConfig:
    """Ablation "addition conditioning": the asked time's token is added to every token, the blocks are plain.

    Attributes:
        depth: pairs of a frame block and a global block.
        heads: attention heads.
        mlp_ratio: hidden channels of the MLPs to the tokens'.
    """

    depth: int = 4
    heads: int = 16
    mlp_ratio: float = 4.0


@dataclass(frozen=True)
class DptDecoderConfig:
    """Ablation "DPT decoder": no blocks; a second dense head whose input norm the asked time's token modulates."""


DecoderConfig = AdaptiveDecoderConfig | AdditiveDecoderConfig | DptDecoderConfig


@dataclass(frozen=True)
class VDPMConfig:
    """V-DPM.

    Attributes:
        aggregator: the trunk; its frames carry a time token too.
        camera: the camera head.
        dpt: the point head.
        decoder: how tokens are brought to an asked time; the class says which variant.
        views_at_once: images that a dense head takes together; bounds memory, changes no number.
        times_at_once: asked times that the decoder takes together; bounds memory, changes no number.
    """

    aggregator: AggregatorConfig = field(default_factory=AggregatorConfig)
    camera: CameraHeadConfig = field(default_factory=CameraHeadConfig)
    dpt: DptConfig = field(default_factory=DptConfig)
    decoder: DecoderConfig = field(default_factory=AdaptiveDecoderConfig)
    views_at_once: int = 8
    times_at_once: int = 8


VGGT_1B = VGGTConfig()
"""The published VGGT-1B."""

VDPM = VDPMConfig()
"""The published V-DPM."""

VDPM_DEPTH_2 = VDPMConfig(decoder=AdaptiveDecoderConfig(depth=2))
"""V-DPM supplement §7, "decoder depth 2"."""

VDPM_ADDITION = VDPMConfig(decoder=AdditiveDecoderConfig())
"""V-DPM supplement §7, "addition conditioning"."""

VDPM_DPT = VDPMConfig(decoder=DptDecoderConfig())
"""V-DPM supplement §7, "DPT decoder"."""

VDPM_MINI = VDPMConfig(
    aggregator=AggregatorConfig(
        encoder=EncoderConfig(image_size=224, dim=96, depth=6, heads=3),
        dim=96,
        depth=4,
        heads=3,
        taps=(0, 1, 2, 3),
    ),
    camera=CameraHeadConfig(depth=2, heads=3),
    dpt=DptConfig(features=24, channels=(24, 48, 96, 96), hidden=8),
    decoder=AdaptiveDecoderConfig(depth=1, heads=3, mlp_ratio=1.0),
)
"""Ours: small enough for two CPU cores. Images of 224 x 168 (W x H). What else was tried: docs/vdpm-mini.md."""
