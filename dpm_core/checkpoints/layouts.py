# SPDX-License-Identifier: Apache-2.0
"""What a file of weights seems to be, by its keys; and its keys brought to the network's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

Keys = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """A published layout.

    Attributes:
        families: as in the registry; none for what we do not run.
        what: in words, with an article.
        mark: whether keys are of it. The first layout that says yes counts.
    """

    families: tuple[str, ...]
    what: str
    mark: Callable[[Keys], bool]


def _has(*parts: str) -> Callable[[Keys], bool]:
    """Every part is in some key."""
    return lambda keys: all(any(part in key for key in keys) for part in parts)


LAYOUTS = (
    Layout(("V-DPM",), "V-DPM", _has("aggregator.time_conditioning_token")),
    Layout(("VGGT",), "VGGT", _has("aggregator.frame_blocks.", "aggregator.global_blocks.")),
    Layout((), "VGGT's track head alone", _has("tracker.", "feature_extractor.")),
    Layout((), "MASt3R", _has("head_local_features")),
    Layout(("POMATO",), "POMATO temporal", _has("downstream_head3.", ".motion_modules.")),
    Layout(("POMATO",), "POMATO pairwise", _has("downstream_head3.")),
    Layout(
        ("DUSt3R", "D²USt3R"),
        "DUSt3R with DPT heads (or MonST3R, D²USt3R)",
        _has("dec_blocks.", "downstream_head1.dpt."),
    ),
    Layout(("DUSt3R",), "DUSt3R with linear heads", _has("dec_blocks.", "downstream_head1.proj.")),
    Layout((), "CroCo, the pretraining of DUSt3R", _has("enc_blocks.", "dec_blocks.")),
    Layout((), "Depth Anything", _has("pretrained.blocks.", "depth_head.scratch.")),
    Layout((), "a DINOv2 encoder", _has("cls_token", "pos_embed", "blocks.0.attn.qkv")),
)


def recognise(tensors: Keys) -> Layout | None:
    """The layout of the keys, None where it is not known."""
    return next((layout for layout in LAYOUTS if layout.mark(tensors)), None)


_WIDTHS = ("aggregator.camera_token", "enc_norm.weight", "cls_token")
_LENGTH = ".pos_encoder.pe"


def describe(tensors: Keys) -> str:
    """What the file seems to be, in words: "VGGT with 1024 channels"."""
    layout = recognise(tensors)
    if layout is None:
        return f"none of the networks we know (its first key is '{next(iter(tensors), '')}')"
    width = next((tensors[key].shape[-1] for key in _WIDTHS if key in tensors), None)
    length = next((tensor.shape[1] for key, tensor in tensors.items() if key.endswith(_LENGTH)), None)
    frames = "" if length is None else f" of {length} frames"
    return f"{layout.what}{frames}" + ("" if width is None else f" with {width} channels")


def adapt(tensors: Keys, expected: Keys, unused: tuple[str, ...]) -> dict[str, Tensor]:
    """The file's tensors under the network's keys.

    Args:
        tensors: of the file.
        expected: of the network.
        unused: prefixes of keys that are left out where the network has none such.
    """
    adapted = dict(tensors)
    for prefix in unused:
        if not any(key.startswith(prefix) for key in expected):
            adapted = {key: tensor for key, tensor in adapted.items() if not key.startswith(prefix)}
    for key in expected:
        if key not in adapted and (same := _same_elsewhere(key)) in tensors:
            adapted[key] = tensors[same].clone()
    return adapted


def _same_elsewhere(key: str) -> str:
    """Under which other key DUSt3R's files have the same numbers, where they leave one of two out; "" if there is none.

    Its head has four layers under two names each, and before training both decoders are one.
    """
    if found := re.search(r"\.scratch\.layer_rn\.([0-3])\.", key):
        return key.replace(found[0], f".scratch.layer{int(found[1]) + 1}_rn.")
    if found := re.search(r"\.scratch\.layer([1-4])_rn\.", key):
        return key.replace(found[0], f".scratch.layer_rn.{int(found[1]) - 1}.")
    return key.replace("dec_blocks2.", "dec_blocks.", 1) if key.startswith("dec_blocks2.") else ""
