# SPDX-License-Identifier: Apache-2.0
"""Full-size networks have the tensors of the published files: names, shapes, number."""

import ast
import gzip
from dataclasses import replace

import pytest
import torch

from dpm_core.models import (
    DUST3R,
    POMATO,
    POMATO_12,
    VDPM,
    VDPM_ADDITION,
    VDPM_DEPTH_2,
    VDPM_DPT,
    VDPM_MINI,
    VGGT_1B,
    DUSt3RNetwork,
    POMATONetwork,
    VDPMNetwork,
    VGGTNetwork,
)

PUBLISHED = {
    # name: (network, configuration, numbers in the file; DUSt3R's family stores some tensors under two names)
    "vggt": (VGGTNetwork, VGGT_1B, 1_256_537_516),
    "vdpm": (VDPMNetwork, VDPM, 1_661_508_918),
    "dust3r_dpt512": (DUSt3RNetwork, DUST3R, 577_806_728),
    "pomato_pairwise": (POMATONetwork, POMATO, 601_326_156),
    "pomato_temp12": (POMATONetwork, POMATO_12, 688_110_156),
}


def on_meta(network, config):
    with torch.device("meta"):
        return network(config)


def shapes(network):
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_and_shapes_are_the_published_ones(name, pytestconfig):
    kind, config, count = PUBLISHED[name]
    path = pytestconfig.rootpath / "tests" / "golden" / "keys" / f"{name}.txt.gz"
    rows = gzip.decompress(path.read_bytes()).decode().splitlines()
    lines = [row.split("\t") for row in rows if not row.startswith("#")]
    published = {key: ast.literal_eval(shape) for key, shape, _ in lines}
    network = on_meta(kind, config)
    assert shapes(network) == published
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == count


def test_without_its_track_head_vggt_lacks_only_those_keys():
    whole, without = on_meta(VGGTNetwork, VGGT_1B), on_meta(VGGTNetwork, replace(VGGT_1B, track=None))
    assert {key.split(".")[0] for key in shapes(whole).keys() - shapes(without).keys()} == {"track_head"}


def test_ablations_differ_from_the_published_network_in_the_decoder_alone():
    published = shapes(on_meta(VDPMNetwork, VDPM))
    for config in (VDPM_DEPTH_2, VDPM_ADDITION, VDPM_DPT):
        ablation = shapes(on_meta(VDPMNetwork, config))
        differing = {key for key, shape in (ablation.items() ^ published.items())}
        assert {key.split(".")[0] for key in differing} <= {"decoder", "dynamic_head"}
        assert differing


def test_depth_2_has_half_the_blocks_of_the_published_decoder():
    whole, half = on_meta(VDPMNetwork, VDPM).decoder, on_meta(VDPMNetwork, VDPM_DEPTH_2).decoder
    assert parameters(half) * 2 == parameters(whole)


def test_mini_is_small_enough_to_ship():
    assert parameters(on_meta(VDPMNetwork, VDPM_MINI)) <= 20_000_000


def test_no_buffer_is_outside_the_checkpoint():
    # A network built on the meta device and then given a checkpoint's tensors must lack nothing.
    for kind, config, _ in PUBLISHED.values():
        network = on_meta(kind, config)
        assert {name for name, _ in network.named_buffers()} <= network.state_dict().keys()
