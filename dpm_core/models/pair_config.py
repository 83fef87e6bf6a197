# SPDX-License-Identifier: Apache-2.0
"""Sizes of the pair networks, DUSt3R, MonST3R, D²USt3R and POMATO, and those that have names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class CrocoConfig:
    """CroCo: an image encoder and a decoder of two streams that look at each other.

    Attributes:
        patch: side of a patch, pixels.
        dim: channels of an encoder token.
        depth: encoder blocks.
        heads: of the encoder's attention; dim / heads is a multiple of 4.
        decoder_dim: channels of a decoder token.
        decoder_depth: decoder blocks of each stream.
        decoder_heads: of the decoder's attention; decoder_dim / decoder_heads is a multiple of 4.
        mlp_ratio: hidden channels of the MLPs to the tokens'.
    """

    patch: int = 16
    dim: int = 1024
    depth: int = 24
    heads: int = 16
    decoder_dim: int = 768
    decoder_depth: int = 12
    decoder_heads: int = 12
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        for dim, heads in ((self.dim, self.heads), (self.decoder_dim, self.decoder_heads)):
            if dim % (4 * heads):
                raise ValueError(f"{dim} channels in {heads} heads leave no multiple of 4 a head to rotate")


@dataclass(frozen=True)
class TemporalConfig:
    """POMATO's motion modules.

    Attributes:
        frames: the window's length, which the weights fix.
        heads: attention heads over time.
        blocks: attention blocks of a module.
        groups: of the GroupNorm on entry.
    """

    frames: int = 12
    heads: int = 8
    blocks: int = 2
    groups: int = 32


@dataclass(frozen=True)
class PairDptConfig:
    """A DPT head on the decoder's list of tokens.

    Attributes:
        taps: the four entries it reads; 0 is the encoder's output, k the output of decoder block k.
        channels: of the four levels.
        features: of the fused map.
        last: channels before the last layer, at full resolution.
        temporal: motion modules in the head, or None.
        maps_at_once: images whose finest levels are computed together; bounds memory, changes no number.
    """

    taps: tuple[int, int, int, int] = (0, 6, 9, 12)
    channels: tuple[int, int, int, int] = (96, 192, 384, 768)
    features: int = 256
    last: int = 128
    temporal: TemporalConfig | None = None
    maps_at_once: int = 4


@dataclass(frozen=True)
class DUSt3RConfig:
    """DUSt3R and MonST3R.

    Attributes:
        croco: encoder and decoder.
        head: DPT, or None for the linear head.
        pairs_at_once: pairs decoded together; bounds memory, changes no number.
    """

    croco: CrocoConfig = field(default_factory=CrocoConfig)
    head: PairDptConfig | None = field(default_factory=PairDptConfig)
    pairs_at_once: int = 4


@dataclass(frozen=True)
class FlowHeadConfig:
    """D²USt3R's flow head. The paper gives its principle (§4.4), the sizes are ours.

    Attributes:
        maps: the decoder's last blocks whose cross-attention is read.
        levels: of the pyramid over the other image's patches.
        radius: of the window read around the current guess, patches.
        hidden: channels of the recurrent state.
        iterations: refinements.
    """

    maps: int = 6
    levels: int = 3
    radius: int = 3
    hidden: int = 128
    iterations: int = 4


@dataclass(frozen=True)
class D2USt3RConfig:
    """D²USt3R: DUSt3R whose second map is at the first view's time.

    Attributes:
        croco: encoder and decoder.
        head: of the point maps.
        mask: the dynamic-mask head, or None, as in the published file.
        flow: the flow head, or None, as in the published file.
        pairs_at_once: pairs decoded together; bounds memory, changes no number.
    """

    croco: CrocoConfig = field(default_factory=CrocoConfig)
    head: PairDptConfig = field(default_factory=PairDptConfig)
    mask: PairDptConfig | None = None
    flow: FlowHeadConfig | None = None
    pairs_at_once: int = 4


@dataclass(frozen=True)
class POMATOConfig:
    """POMATO: pairs, or a window of frames where the head has motion modules.

    Attributes:
        croco: encoder and decoder.
        head: of all three maps.
        pairs_at_once: pairs decoded together; bounds memory, changes no number. A window is decoded as one.
    """

    croco: CrocoConfig = field(default_factory=CrocoConfig)
    head: PairDptConfig = field(default_factory=PairDptConfig)
    pairs_at_once: int = 4


DUST3R = DUSt3RConfig()
"""DUSt3R_ViTLarge_BaseDecoder_512_dpt, and MonST3R, which has the same network."""

DUST3R_LINEAR = DUSt3RConfig(head=None)
"""DUSt3R_ViTLarge_BaseDecoder_224_linear and _512_linear."""

D2UST3R = D2USt3RConfig()
"""The published D²USt3R: point maps alone."""

D2UST3R_HEADS = D2USt3RConfig(mask=PairDptConfig(), flow=FlowHeadConfig())
"""D²USt3R with the heads of its paper's §4.4, to be trained."""

POMATO = POMATOConfig()
"""POMATO_pairwise."""

POMATO_6 = POMATOConfig(head=replace(PairDptConfig(), temporal=TemporalConfig(frames=6)))
"""POMATO_temp_6frames."""

POMATO_12 = POMATOConfig(head=replace(PairDptConfig(), temporal=TemporalConfig(frames=12)))
"""POMATO_temp_12frames."""
