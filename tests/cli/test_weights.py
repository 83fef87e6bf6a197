# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from dpm_core import models
from dpm_core.checkpoints import load_network
from dpm_core.checkpoints.registry import REGISTRY
from dpm_core.cli import main


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Weights of vdpm-mini in a flat .pt."""
    network = models.VDPMNetwork(models.VDPM_MINI)
    models.initialise(network, 1)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(network.state_dict(), path)
    return path


def refusal(capsys, *arguments):
    assert main(["weights", *map(str, arguments)]) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("dpm: ")
    assert "\n" not in told
    return told


def test_list(tmp_path, capsys):
    assert main(["weights", "list", "--json", str(tmp_path / "list.json")]) == 0
    told = capsys.readouterr().out
    listed = json.loads((tmp_path / "list.json").read_text())
    assert [line["name"] for line in listed] == list(REGISTRY)
    for line in listed:
        assert line["name"] in told
        assert line["licence"]


def test_show(capsys):
    assert main(["weights", "show", "vdpm"]) == 0
    told = capsys.readouterr().out
    assert "https://huggingface.co/edgarsucar/vdpm" in told
    assert "non-commercial" in told


@pytest.mark.parametrize("command", ["show", "pull"])
def test_unknown_names_list_the_known(capsys, command):
    assert "did you mean 'vdpm'? known are: vdpm-mini, vdpm, vggt" in refusal(capsys, command, "vdmp")


def test_check(file, tmp_path, capsys):
    assert main(["weights", "check", str(file), "--model", "vdpm-mini", "--json", str(tmp_path / "c.json")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "weights of 'vdpm-mini' (V-DPM)" in told
    assert "every key and shape is right" in told
    assert json.loads((tmp_path / "c.json").read_text())["dtypes"] == "float32"


def test_check_finds_the_network_by_itself(file, capsys):
    assert main(["weights", "check", str(file)]) == 0
    assert "'vdpm-mini'" in capsys.readouterr().out


def test_check_of_another_networks_file(file, capsys):
    told = refusal(capsys, "check", file, "--model", "vggt")
    assert "holds no weights of 'vggt' (VGGT): key 'aggregator." in told
    assert "the file seems to be V-DPM with" in told


def test_check_of_what_is_no_network(tmp_path, capsys):
    torch.save({"weird": torch.ones(1)}, tmp_path / "a.pt")
    assert "holds none of the networks we know (its first key is 'weird')" in refusal(
        capsys, "check", tmp_path / "a.pt"
    )


def test_convert(file, tmp_path, capsys):
    out = tmp_path / "mini.safetensors"
    assert main(["weights", "convert", str(file), str(out)]) == 0
    assert "'vdpm-mini', fp16" in " ".join(capsys.readouterr().out.split())
    assert out.stat().st_size < 0.51 * file.stat().st_size

    before, after = (load_network("vdpm-mini", path).network.state_dict() for path in (file, out))
    assert all(torch.equal(before[key].half().float(), after[key]) for key in before)
    assert main(["weights", "check", str(out)]) == 0
    assert "float16" in capsys.readouterr().out


def test_convert_replaces_nothing_unasked(file, tmp_path, capsys):
    out = tmp_path / "mini.safetensors"
    out.write_text("precious")
    assert "is there already; choose another name, or give --overwrite" in refusal(capsys, "convert", file, out)
    assert out.read_text() == "precious"
    assert main(["weights", "convert", str(file), str(out), "--overwrite"]) == 0
