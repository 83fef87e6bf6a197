# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from dpm_core.errors import DpmError
from dpm_core.models import DptDecoderConfig
from training.config import RunConfig, changed, from_json, to_json
from training.runs import RUNS, find_run
from training.sampling import mixture


@pytest.mark.parametrize("name", RUNS)
def test_a_saved_configuration_is_the_same(name):
    config = find_run(name)
    assert from_json(to_json(config), "here") == config


@pytest.mark.parametrize("name", RUNS)
def test_named_runs_name_mixtures_that_exist(name):
    config = find_run(name)
    assert mixture(config.data.mixture).epoch > 0
    assert mixture(config.data.validation).epoch > 0


@pytest.mark.parametrize("name", RUNS)
def test_named_runs_are_of_networks_that_exist(name):
    from training.state import spec_of_run

    config = find_run(name)
    assert spec_of_run(config).config == config.network


def test_papers_figures():
    vdpm, d2ust3r = find_run("vdpm"), find_run("d2ust3r")
    assert (vdpm.optimiser.lr, vdpm.examples, vdpm.optimiser.warmup) == (1.5e-4, 60 * 32500, 0.05)
    assert vdpm.frozen == ("aggregator.patch_embed.",)
    assert (d2ust3r.optimiser.lr, d2ust3r.examples, d2ust3r.optimiser.accumulate) == (5e-5, 50 * 20000, 2)
    assert "enc_blocks." in d2ust3r.frozen


def test_settings_reach_every_level():
    settings = ["optimiser.lr=1", "network.aggregator.depth=6", "network.aggregator.taps=[0,1,2,5]", "out=a=b"]
    config = changed(find_run("vdpm-mini"), settings)
    assert (config.optimiser.lr, config.network.aggregator.depth, config.out) == (1.0, 6, "a=b")
    assert config.network.aggregator.taps == (0, 1, 2, 5)
    assert changed(config, ["checkpointing=True", "loss.camera.decay=0.5"]).loss.camera.decay == 0.5


def test_settings_are_checked_together():
    """Depth alone would leave the last tap wrong."""
    with pytest.raises(DpmError, match=r"taps .* must ascend and end with the last pair"):
        changed(find_run("vdpm-mini"), ["network.aggregator.depth=6"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer.lr=1", r"no setting is called 'optimizer.lr'; did you mean 'optimiser.lr'\?"),
        ("optimiser.lr", "'optimiser.lr' is no setting; write key=value"),
        ("optimiser.lr=fast", "optimiser.lr=fast is not possible; it must be of type float"),
        ("optimiser.accumulate=1.5", "optimiser.accumulate=1.5 is not possible; it must be of type int"),
        ("checkpointing=yes", "checkpointing=yes is not possible; it must be true or false"),
        ("network.aggregator.taps=4", "must be a list such as"),
        ("precision=fp8", "precision=fp8 is not possible; choose fp32 or bf16"),
        ("examples=0", "examples=0 is too small; it must be at least 1"),
    ],
)
def test_says_what_is_wrong_with_a_setting(setting, message):
    with pytest.raises(DpmError, match=message):
        changed(find_run("vdpm-mini"), [setting])


def test_names_the_nearest_run():
    with pytest.raises(DpmError, match="no run is called 'vdpm-mni'; did you mean 'vdpm-mini'"):
        find_run("vdpm-mni")


def test_only_known_classes_are_made():
    plain = json.loads(to_json(find_run("vdpm-mini")))
    plain["network"]["decoder"] = {"class": "DptDecoderConfig"}
    assert isinstance(from_json(json.dumps(plain), "here").network.decoder, DptDecoderConfig)
    plain["network"] = {"class": "Popen", "args": ["true"]}
    with pytest.raises(DpmError, match="configuration 'Popen' is not known"):
        from_json(json.dumps(plain), "here")
    plain = json.loads(to_json(find_run("vdpm-mini")))
    plain["lernrate"] = 1
    with pytest.raises(DpmError, match="unknown entry 'lernrate'"):
        from_json(json.dumps(plain), "here")
    with pytest.raises(DpmError, match="here is not JSON"):
        from_json("{", "here")
    with pytest.raises(DpmError, match="here is no configuration of a run"):
        from_json("[]", "here")


def test_refuses_sizes_of_another_family():
    from training.state import spec_of_run

    config = find_run("vdpm-mini")
    with pytest.raises(DpmError, match="network is a VDPMConfig; model=vggt needs a VGGTConfig"):
        spec_of_run(RunConfig(model="vggt", network=config.network))
