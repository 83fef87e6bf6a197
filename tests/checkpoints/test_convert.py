# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from small_weights import SPEC, TINY, equal, tensors

from dpm_core import models
from dpm_core.checkpoints.configs import config_from_json, config_to_json
from dpm_core.checkpoints.convert import write_weights
from dpm_core.checkpoints.files import read_weights
from dpm_core.errors import DpmError

CONFIGS = {name: value for name in models.__all__ if not isinstance(value := getattr(models, name), type)}
CONFIGS = {name: value for name, value in CONFIGS.items() if hasattr(value, "__dataclass_fields__")}


@pytest.mark.parametrize("config", [TINY, *CONFIGS.values()], ids=["TINY", *CONFIGS])
def test_configurations_survive_as_json(config):
    assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config


def test_the_file_tells_what_it_is(tmp_path):
    write_weights(tmp_path / "a.safetensors", SPEC, tensors(), "fp32", {"steps": 7})
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        told = json.loads(file.metadata()["dpm"])
    assert {key: told[key] for key in ("name", "family", "precision", "steps")} == {
        "name": "tiny",
        "family": "V-DPM",
        "precision": "fp32",
        "steps": 7,
    }
    assert config_from_json(told["config"]) == TINY


def test_fp32_keeps_every_number_and_fp16_rounds(tmp_path):
    given = tensors()
    for precision in ("fp32", "fp16"):
        write_weights(tmp_path / f"{precision}.safetensors", SPEC, given, precision)
    assert equal(dict(read_weights(tmp_path / "fp32.safetensors").tensors), given)
    read = read_weights(tmp_path / "fp16.safetensors").tensors
    assert equal(dict(read), {key: tensor.half() for key, tensor in given.items()})


def test_shared_and_strided_tensors_are_written(tmp_path):
    shared = torch.rand(3, 4)
    write_weights(tmp_path / "a.safetensors", SPEC, {"a": shared, "b": shared, "c": shared.T}, "fp32")
    read = read_weights(tmp_path / "a.safetensors").tensors
    assert torch.equal(read["a"], read["b"])
    assert torch.equal(read["c"], shared.T)


@pytest.mark.parametrize(
    ("value", "words"), [(float("nan"), "'b' has values that are not finite"), (1e6, "'b' has values beyond what fp16")]
)
def test_refuses_what_cannot_be_kept_and_leaves_nothing(tmp_path, value, words):
    with pytest.raises(DpmError, match=words):
        write_weights(tmp_path / "a.safetensors", SPEC, {"a": torch.ones(1), "b": torch.tensor([value])}, "fp16")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_weights(path, SPEC, tensors())
    before = path.read_bytes()

    def interrupted(tensors, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("dpm_core.checkpoints.convert.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_weights(path, replace(SPEC, name="other"), tensors())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_must_tell_the_format(tmp_path):
    with pytest.raises(DpmError, match=r"a.pth does not end with .safetensors"):
        write_weights(tmp_path / "a.pth", SPEC, tensors())
