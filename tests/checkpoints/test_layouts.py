# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from dpm_core.checkpoints.layouts import adapt, describe, recognise
from dpm_core.checkpoints.loading import shell
from dpm_core.checkpoints.registry import REGISTRY


def keys(*names, shape=(1,)):
    return {name: torch.empty(shape, device="meta") for name in names}


@pytest.mark.parametrize("spec", REGISTRY.values(), ids=REGISTRY)
def test_every_network_of_the_registry_is_recognised(spec):
    layout = recognise(shell(spec).state_dict())
    assert layout is not None
    assert spec.family in layout.families


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("downstream_head1.head_local_features.fc1.weight", "dec_blocks.0.norm1.weight"), "MASt3R"),
        (("enc_blocks.0.norm1.weight", "dec_blocks.0.norm1.weight"), "CroCo, the pretraining of DUSt3R"),
        (("dec_blocks.0.norm1.weight", "downstream_head1.proj.weight"), "DUSt3R with linear heads"),
        (("pretrained.blocks.0.norm1.weight", "depth_head.scratch.layer1_rn.weight"), "Depth Anything"),
        (("tracker.corr_mlp.fc1.weight", "feature_extractor.norm.weight"), "VGGT's track head alone"),
        (("weird.weight",), "none of the networks we know (its first key is 'weird.weight')"),
        ((), "none of the networks we know (its first key is '')"),
    ],
)
def test_others_are_named_too(names, words):
    assert describe(keys(*names)) == words


def test_sizes_are_told():
    vggt = keys(
        "aggregator.frame_blocks.0.x", "aggregator.global_blocks.0.x", "aggregator.camera_token", shape=(1, 2, 1, 384)
    )
    assert describe(vggt) == "VGGT with 384 channels"
    name = "downstream_head3.dpt.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
    assert describe(keys(f"{name}.pos_encoder.pe", shape=(1, 6, 8))) == "POMATO temporal of 6 frames"


def test_unused_heads_go_where_the_network_has_none():
    given = keys("a", "track_head.b")
    assert adapt(given, keys("a"), ("track_head.",)).keys() == {"a"}
    assert adapt(given, keys("a", "track_head.c"), ("track_head.",)).keys() == {"a", "track_head.b"}
