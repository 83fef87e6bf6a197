# SPDX-License-Identifier: Apache-2.0
"""The networks that have names: what they are, where their weights are published, under which terms."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from .. import models
from ..errors import DpmError
from ..geometry.fit import Fit, fit_dust3r, fit_dust3r_square, fit_width

NON_COMMERCIAL = "non-commercial"

Network: TypeAlias = models.VDPMNetwork | models.VGGTNetwork | models.PairNetwork


@dataclass(frozen=True)
class Published:
    """Where a file of weights is.

    Attributes:
        repository: on the Hugging Face hub; "" where it is elsewhere and must be fetched by hand.
        file: its name there.
        url: a page or an address to read or fetch it.
        sha256: of the file, where known.
    """

    repository: str
    file: str
    url: str
    sha256: str | None = None


@dataclass(frozen=True)
class NetworkSpec:
    """A line of the registry.

    Attributes:
        name: what `--model` takes.
        family: whose keys and rules it has.
        config: builds it.
        layout: how its published file is made.
        published: where the weights are; None for networks of our own, whose weights come in the package.
        licence: of the weights.
        purpose: what it is good for, in a line.
        unused: key prefixes that the published file may have beyond the network.
        size: the side that images are fitted to, pixels, where the configuration does not tell it.
        shipped_sha256: of the file in the package, for networks of our own; None where none is shipped.
        quality: what a user must know of the shipped weights, or None.
    """

    name: str
    family: str
    config: Any
    layout: str
    published: Published | None
    licence: str
    purpose: str
    unused: tuple[str, ...] = ()
    size: int = 0
    shipped_sha256: str | None = None
    quality: str | None = None

    def build(self) -> Network:
        """A new network, on torch's default device; its weights are not set to anything that means something."""
        return FAMILIES[self.family].network(self.config)

    def fit(self, height: int, width: int) -> Fit:
        """How an image of this size is brought to a size that the network takes."""
        return FAMILIES[self.family].fit(self, height, width)


@dataclass(frozen=True)
class Family:
    """What networks of one kind share.

    Attributes:
        config: the class of their configurations.
        network: of a configuration.
        fit: of a network and an image's height and width.
    """

    config: type
    network: Callable[[Any], Network]
    fit: Callable[[NetworkSpec, int, int], Fit]


def _fit_vdpm(spec: NetworkSpec, height: int, width: int) -> Fit:
    encoder = spec.config.aggregator.encoder
    # V-DPM's own loader refuses portrait images; on a robot their middle is better than nothing.
    return fit_width(height, width, encoder.image_size, encoder.patch)


def _fit_vggt(spec: NetworkSpec, height: int, width: int) -> Fit:
    encoder = spec.config.aggregator.encoder
    return fit_width(height, width, encoder.image_size, encoder.patch)


_SQUARE = 224  # the size whose rule is another than that of all above


def _fit_pair(spec: NetworkSpec, height: int, width: int) -> Fit:
    if spec.size == _SQUARE:
        return fit_dust3r_square(height, width, _SQUARE)
    return fit_dust3r(height, width, spec.size, spec.config.croco.patch)


FAMILIES = {
    "V-DPM": Family(models.VDPMConfig, models.VDPMNetwork, _fit_vdpm),
    "VGGT": Family(models.VGGTConfig, models.VGGTNetwork, _fit_vggt),
    "DUSt3R": Family(models.DUSt3RConfig, models.DUSt3RNetwork, _fit_pair),
    "D²USt3R": Family(models.D2USt3RConfig, models.D2USt3RNetwork, _fit_pair),
    "POMATO": Family(models.POMATOConfig, models.POMATONetwork, _fit_pair),
}

_HUB = "https://huggingface.co/"
_NAVER = "https://download.europe.naverlabs.com/ComputerVision/DUSt3R/"
_DUST3R = "DUSt3R_ViTLarge_BaseDecoder"
_WITH_ARGUMENTS = "training checkpoint with its command line"
_HUB_MIXIN = "safetensors beside a config.json"
_SHARE_ALIKE = f"{NON_COMMERCIAL} (CC BY-NC-SA 4.0)"


def _on_hub(repository: str, file: str) -> Published:
    return Published(repository, file, _HUB + repository)


def _pair(name: str, family: str, config: Any, published: Published, purpose: str, **fields: Any) -> NetworkSpec:
    layout = _HUB_MIXIN if published.file.endswith(".safetensors") else _WITH_ARGUMENTS
    told = {"layout": layout, "licence": _SHARE_ALIKE, "size": 512, **fields}
    return NetworkSpec(name, family, config, published=published, purpose=purpose, **told)


REGISTRY = {
    spec.name: spec
    for spec in (
        NetworkSpec(
            name="vdpm-mini",
            family="V-DPM",
            config=models.VDPM_MINI,
            layout="safetensors with its configuration",
            published=None,
            licence="Apache-2.0",
            purpose="the default: small, for two CPU cores, needs no download",
            shipped_sha256="dbe8877580d0097028f1ed449220917a0ca1bdc664a2a6ba443ad3f223e6d14f",
            quality="first weights, of 100 minutes on a CPU: rough depth, no motion; see docs/vdpm-mini.md",
        ),
        NetworkSpec(
            name="vdpm",
            family="V-DPM",
            config=models.VDPM,
            layout="flat table of tensors",
            published=_on_hub("edgarsucar/vdpm", "model.pt"),
            licence=f"none stated; made from VGGT-1B, so treat as {NON_COMMERCIAL}",
            purpose="dynamic point maps of a window at any of its times; wants a GPU",
            unused=("depth_head.", "track_head."),
        ),
        NetworkSpec(
            name="vggt",
            family="VGGT",
            config=models.VGGT_1B,
            layout="flat table of tensors",
            published=_on_hub("facebook/VGGT-1B", "model.pt"),
            licence=f"{NON_COMMERCIAL} (VGGT License v1)",
            purpose="static scenes; the base of V-DPM",
            unused=("track_head.",),
        ),
        NetworkSpec(
            name="vggt-commercial",
            family="VGGT",
            config=models.VGGT_1B,
            layout="flat table of tensors",
            published=_on_hub("facebook/VGGT-1B-Commercial", "vggt_1B_commercial.pt"),
            licence="VGGT License v1: commercial use allowed within limits; gated, ask on its page",
            purpose="static scenes, for products",
            unused=("track_head.",),
        ),
        _pair(
            "dust3r",
            "DUSt3R",
            models.DUST3R,
            _on_hub("naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt", "model.safetensors"),
            "static scenes, by pairs of images; the base of all below",
        ),
        _pair(
            "dust3r-512-linear",
            "DUSt3R",
            models.DUST3R_LINEAR,
            Published("", f"{_DUST3R}_512_linear.pth", f"{_NAVER}{_DUST3R}_512_linear.pth"),
            "as dust3r, with the plainer head",
        ),
        _pair(
            "dust3r-224-linear",
            "DUSt3R",
            models.DUST3R_LINEAR,
            Published("", f"{_DUST3R}_224_linear.pth", f"{_NAVER}{_DUST3R}_224_linear.pth"),
            "as dust3r, for small square images",
            size=_SQUARE,
        ),
        _pair(
            "monst3r",
            "DUSt3R",
            models.DUST3R,
            _on_hub("Junyi42/MonST3R_PO-TA-S-W_ViTLarge_BaseDecoder_512_dpt", "model.safetensors"),
            "depth and cameras of moving scenes, each image at its own time",
        ),
        _pair(
            "d2ust3r",
            "D²USt3R",
            models.D2UST3R,
            Published("", "ddust3r.pth", "https://drive.google.com/file/d/1dUy03ohGK2jbzhRLN4HYfDkJIpfGr5lP"),
            "moving scenes: both images of a pair at the first one's time",
            licence=f"none stated; made from DUSt3R, so treat as {NON_COMMERCIAL}",
        ),
        _pair(
            "pomato",
            "POMATO",
            models.POMATO,
            _on_hub("wyddmw/POMATO", "POMATO_pairwise.pth"),
            "moving scenes, by pairs: where the same content is at another time",
        ),
        _pair(
            "pomato-6",
            "POMATO",
            models.POMATO_6,
            _on_hub("wyddmw/POMATO", "POMATO_temp_6frames.pth"),
            "as pomato, smooth over windows of 6 frames",
        ),
        _pair(
            "pomato-12",
            "POMATO",
            models.POMATO_12,
            _on_hub("wyddmw/POMATO", "POMATO_temp_12frames.pth"),
            "as pomato, smooth over windows of 12 frames",
        ),
    )
}


def find_spec(name: str) -> NetworkSpec:
    """The registry's line of a name.

    Raises:
        DpmError: there is none; the known ones are listed.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    nearest = difflib.get_close_matches(name, REGISTRY, 1)
    meant = f"did you mean '{nearest[0]}'? " if nearest else ""
    raise DpmError(f"model '{name}' is not known; {meant}known are: {', '.join(REGISTRY)}")
