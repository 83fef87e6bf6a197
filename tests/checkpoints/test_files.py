# SPDX-License-Identifier: Apache-2.0
import argparse
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dpm_core.checkpoints.files import read_weights
from dpm_core.errors import DpmError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1, dtype=torch.float16)}


def same(read):
    assert read.keys() == TENSORS.keys()
    for key, tensor in TENSORS.items():
        assert read[key].dtype == tensor.dtype
        assert torch.equal(read[key], tensor)


def refusal(path):
    with pytest.raises(DpmError) as caught:
        read_weights(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_safetensors(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors", metadata={"who": "me"})
    read = read_weights(tmp_path / "a.safetensors")
    same(read.tensors)
    assert read.metadata == {"who": "me"}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"model": tensors, "epoch": 7},
        lambda tensors: {"state_dict": tensors},
        lambda tensors: {f"module.{key}": tensor for key, tensor in tensors.items()},
        lambda tensors: {"model": {f"module._orig_mod.{key}": tensor for key, tensor in tensors.items()}},
    ],
    ids=["flat", "model", "state_dict", "data parallel", "compiled data parallel"],
)
def test_torch(tmp_path, wrap, zipped):
    torch.save(wrap(TENSORS), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    same(read_weights(tmp_path / "a.pth").tensors)


def test_the_layout_of_dust3r(tmp_path):
    content = {
        "args": argparse.Namespace(model="Net(head_type='dpt')", lr=1e-4, batch=[1, 2]),
        "model": TENSORS,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "best_so_far": np.float64(0.5),
        "epoch": 3,
    }
    torch.save(content, tmp_path / "a.pth")
    read = read_weights(tmp_path / "a.pth")
    same(read.tensors)
    assert read.constructor == "Net(head_type='dpt')"


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_named_and_not_run(tmp_path, zipped):
    content = {"model": TENSORS, "extra": Bomb(tmp_path / "exploded")}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    message = refusal(tmp_path / "a.pth")
    assert "holds more than weights (posix.system)" in message
    assert "ask its maker for a .safetensors file" in message
    assert not (tmp_path / "exploded").exists()


def test_a_bare_pickle_with_code_is_not_run(tmp_path):
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded"), protocol=2))
    refusal(tmp_path / "a.pt")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_cut_short(tmp_path, name, kept):
    path = tmp_path / name
    tensors = {"a": torch.rand(50, 50)}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "or is cut short after" in refusal(path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.pt"])
@pytest.mark.parametrize("content", [b"words and no weights, many of them", b"\x00" * 100, b"PK\x03\x04 no zip"])
def test_something_else(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refusal(tmp_path / name)


def test_nothing(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"")
    assert "is empty; download it again" in refusal(tmp_path / "a.pt")
    assert "is not a file; give a .safetensors, .pt or .pth file" in refusal(tmp_path / "b.pt")
    assert "is not a file" in refusal(tmp_path)


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {"model": {"a": 1}}, 5])
def test_no_tensors(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    assert "holds no table of tensors; give the file of the network's weights" in refusal(tmp_path / "a.pth")


def test_reading_changes_nothing_for_others(tmp_path):
    torch.save({"args": argparse.Namespace(), "model": TENSORS}, tmp_path / "a.pth")
    read_weights(tmp_path / "a.pth")
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
