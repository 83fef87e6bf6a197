# SPDX-License-Identifier: Apache-2.0
"""Pair networks built from a golden case's dimensions alone, and run to the case's outputs."""

import torch

from dpm_core.models import (
    CrocoConfig,
    DUSt3RConfig,
    DUSt3RNetwork,
    Mode,
    PairDptConfig,
    POMATOConfig,
    POMATONetwork,
    TemporalConfig,
)


def _croco(dims):
    return CrocoConfig(
        patch=dims["patch_size"],
        dim=dims["enc_embed_dim"],
        depth=dims["enc_depth"],
        heads=dims["enc_num_heads"],
        decoder_dim=dims["dec_embed_dim"],
        decoder_depth=dims["dec_depth"],
        decoder_heads=dims["dec_num_heads"],
        mlp_ratio=dims["mlp_ratio"],
    )


def _head(dims):
    if dims["head_type"] == "linear":
        return None
    temporal = None
    if "temporal_length" in dims:
        names = ("temporal_length", "temporal_heads", "temporal_attention_blocks", "temporal_groups")
        temporal = TemporalConfig(*(dims[name] for name in names))
    return PairDptConfig(
        taps=tuple(dims["dpt_hooks"]),
        channels=tuple(dims["dpt_layer_dims"]),
        features=dims["dpt_feature_dim"],
        last=dims["dpt_last_dim"],
        temporal=temporal,
    )


def _tokens(name, tokens, kept):
    return {name: tokens[..., :kept, :], f"{name}_rms": tokens.square().mean(-2).sqrt()}


class PairCase:
    def __init__(self, config):
        self.dims = config["dims"]
        self.network = self.build(_croco(self.dims), _head(self.dims))

    def run(self, first, second):
        network, kept = self.network, self.dims["tokens_kept"]
        encoded = network.encode(first), network.encode(second)
        decoded = network.decode(*encoded, (first.shape[-2:], second.shape[-2:]), self.dims["decoder_levels"])
        outputs = {}
        for view, tokens, levels in zip((1, 2), encoded, decoded[:2], strict=True):
            outputs |= _tokens(f"encoder_view{view}", tokens, kept)
            outputs |= _tokens(f"decoder_view{view}", torch.stack(levels[1:], 1), kept)
        maps = network(first, second)
        outputs |= {"pts3d": maps.points_1, "conf": maps.conf_1}
        outputs |= {"pts3d_in_other_view": maps.points_2, "conf_other_view": maps.conf_2}
        if maps.matched_2 is not None:
            outputs |= {"pts3d_dynamic": maps.matched_2, "conf_dynamic": maps.conf_matched}
        return outputs


class DUSt3RCase(PairCase):
    def build(self, croco, head):
        return DUSt3RNetwork(DUSt3RConfig(croco, head))


class POMATOCase(PairCase):
    def build(self, croco, head):
        return POMATONetwork(POMATOConfig(croco, head))


class POMATOWindowCase(POMATOCase):
    def run(self, images):
        outputs, sampled = {}, slice(None, None, self.dims["maps_stride"])
        for mode in Mode:
            maps = self.network.window(images, mode)
            named = {
                "view1": (maps.points_1, maps.conf_1),
                "view2": (maps.points_2, maps.conf_2),
                "matching": (maps.matched_2, maps.conf_matched),
            }
            for name, (points, conf) in named.items():
                outputs[f"{mode.value}_{name}_pts3d"] = points[:, sampled, sampled]
                outputs[f"{mode.value}_{name}_conf"] = conf[:, sampled, sampled]
        return outputs


PAIR_CASES = {"dust3r": DUSt3RCase, "pomato_pair": POMATOCase, "pomato_temp": POMATOWindowCase}
"""By the `model` of a case's config.json."""
