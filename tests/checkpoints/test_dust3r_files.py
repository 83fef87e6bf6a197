# SPDX-License-Identifier: Apache-2.0
"""What is particular about the files of DUSt3R and its kin."""

import argparse
import re

import pytest
import torch
from small_weights import equal

from dpm_core import models
from dpm_core.checkpoints import load_network, registry
from dpm_core.checkpoints.registry import NetworkSpec
from dpm_core.errors import DpmError

CROCO = models.CrocoConfig(dim=16, depth=1, heads=2, decoder_dim=16, decoder_depth=12, decoder_heads=2)
CONFIG = models.DUSt3RConfig(CROCO, models.PairDptConfig(channels=(4, 4, 8, 8), features=8, last=4))
MADE_WITH = "Net(pos_embed='RoPE100', depth_mode=('exp', -inf, inf), enc_embed_dim=16, enc_num_heads={heads})"


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    spec = NetworkSpec("tiny", "DUSt3R", CONFIG, "", None, "none", "tests", size=32)
    monkeypatch.setitem(registry.REGISTRY, "tiny", spec)


def tensors():
    network = models.DUSt3RNetwork(CONFIG)
    models.initialise(network, 0)
    return network.state_dict()


def load(tmp_path, content, heads=2):
    file = {"args": argparse.Namespace(model=MADE_WITH.format(heads=heads)), "model": content, "epoch": 1}
    torch.save(file, tmp_path / "a.pth")
    return load_network("tiny", tmp_path / "a.pth").network


def test_the_training_checkpoint_loads(tmp_path):
    assert equal(load(tmp_path, tensors()).state_dict(), tensors())


@pytest.mark.parametrize("left_out", [r"layer_rn\.\d", r"layer\d_rn"])
def test_one_of_two_names_is_enough(tmp_path, left_out):
    both = tensors()
    one = {key: tensor for key, tensor in both.items() if re.search(left_out, key) is None}
    assert len(one) == len(both) - 8
    assert equal(load(tmp_path, one).state_dict(), both)


def test_before_training_both_decoders_are_one(tmp_path):
    content = {key: tensor for key, tensor in tensors().items() if not key.startswith("dec_blocks2.")}
    loaded = load(tmp_path, content)
    first, second = loaded.dec_blocks.state_dict(), loaded.dec_blocks2.state_dict()
    assert equal(first, second)
    assert all(first[key].data_ptr() != second[key].data_ptr() for key in first)


def test_both_names_stay_one_parameter(tmp_path):
    loaded = load(tmp_path, tensors())
    scratch = loaded.downstream_head1.dpt.scratch
    assert scratch.layer_rn[0].weight is scratch.layer1_rn.weight


def test_what_shapes_do_not_show_is_read_in_the_description(tmp_path):
    with pytest.raises(DpmError, match=r"'tiny' \(DUSt3R\): it was made with enc_num_heads=4, not 2"):
        load(tmp_path, tensors(), heads=4)
