# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from small_weights import SPEC, TINY, equal, network, tensors, tiny  # noqa: F401 (tiny is a fixture)

from dpm_core.checkpoints import load_network, loading
from dpm_core.checkpoints.convert import write_weights
from dpm_core.checkpoints.download import sha256
from dpm_core.checkpoints.registry import REGISTRY, Published
from dpm_core.errors import DpmError

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def file(tmp_path):
    """A flat file as V-DPM is published."""
    torch.save(tensors(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def rewritten(file, change):
    content = torch.load(file)
    change(content)
    torch.save(content, file)
    return file


def refusal(*arguments):
    with pytest.raises(DpmError) as caught:
        load_network(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_loads_every_number(file):
    loaded = load_network("tiny", file)
    assert equal(loaded.network.state_dict(), tensors())
    assert (loaded.trained, loaded.notice, loaded.spec) == (True, None, SPEC)
    assert not loaded.network.training


def test_gives_the_numbers_of_the_network_it_was_saved_from(file):
    image = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    original, loaded = network().eval(), load_network("tiny", file).network
    with torch.inference_mode():
        tokens = original.encode(image)
        assert torch.equal(loaded.encode(image), tokens)
        given, expected = (each.predict(tokens, (28, 28), (1, 0)) for each in (loaded, original))
    assert torch.equal(given.points, expected.points)
    assert torch.equal(given.world_from_camera, expected.world_from_camera)


def test_half_precision_files_run_in_float32(tmp_path):
    save_file({key: tensor.half() for key, tensor in tensors().items()}, tmp_path / "a.safetensors")
    loaded = load_network("tiny", tmp_path / "a.safetensors").network
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_the_file_is_not_changed_by_what_is_done_to_the_network(file):
    before = file.read_bytes()
    loaded = load_network("tiny", file).network
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.zero_()
    assert file.read_bytes() == before


def test_heads_that_v_dpm_drops_may_be_in_the_file(file):
    rewritten(
        file, lambda content: content.update({"depth_head.norm.weight": torch.ones(3), "track_head.x": torch.ones(1)})
    )
    assert load_network("tiny", file).trained


def test_a_missing_key_is_named(file):
    key = "decoder.frame_blocks.0.0.attn.qkv.weight"
    told = refusal("tiny", rewritten(file, lambda content: content.pop(key)))
    assert (
        f"holds no weights of 'tiny' (V-DPM): key '{key}' is missing; the file seems to be V-DPM with 16 chan" in told
    )


def test_a_wrong_shape_is_named(file):
    key = "aggregator.camera_token"
    told = refusal("tiny", rewritten(file, lambda content: content.update({key: torch.ones(1, 2, 1, 9)})))
    assert f"key '{key}' has shape [1, 2, 1, 9], not [1, 2, 1, 16]" in told


def test_an_extra_key_is_named(file):
    told = refusal("tiny", rewritten(file, lambda content: content.update({"mystery": torch.ones(1)})))
    assert "key 'mystery' has no place in it" in told


def test_another_networks_file_is_told_what_it_seems_to_be(file):
    told = refusal("vggt", file)
    assert "the file seems to be V-DPM with 16 channels" in told


def test_unknown_names_list_the_known():
    told = refusal("vdpm-min")
    assert told.startswith("model 'vdpm-min' is not known; did you mean 'vdpm-mini'? known are: vdpm-mini, vdpm, vggt")


def test_weights_that_are_not_here_are_told_how_to_get(monkeypatch):
    monkeypatch.setattr(loading, "pulled", lambda published: None)
    assert "get them with `dpm weights pull vdpm`, or give --weights FILE" in refusal("vdpm")


def test_pulled_weights_are_found(monkeypatch, file):
    monkeypatch.setitem(REGISTRY, "tiny", replace(SPEC, published=Published("someone/tiny", "model.pt", "page")))
    monkeypatch.setattr(loading, "pulled", lambda published: file)
    assert load_network("tiny").trained


def test_untrained_networks_say_so_and_are_always_the_same():
    one, other = load_network("tiny"), load_network("tiny")
    assert not one.trained
    assert one.notice.startswith("untrained weights: tiny has not been trained yet")
    assert equal(one.network.state_dict(), other.network.state_dict())


def test_the_files_own_configuration_counts(tmp_path):
    deeper = replace(TINY, decoder=replace(TINY.decoder, depth=2))
    write_weights(tmp_path / "a.safetensors", replace(SPEC, config=deeper), network(0, deeper).state_dict())
    assert load_network("tiny", tmp_path / "a.safetensors").spec.config == deeper


def test_a_file_that_tells_another_family_is_refused(tmp_path):
    write_weights(tmp_path / "a.safetensors", SPEC, tensors())
    told = refusal("vggt", tmp_path / "a.safetensors")
    assert "holds weights of V-DPM ('tiny'), not of VGGT ('vggt'); choose --model tiny" in told


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ("{", "metadata 'dpm' that is not JSON"),
        ("[]", "does not tell its family"),
        ('{"family": "V-DPM", "config": {"class": "System"}}', "configuration 'System' is not known"),
        ('{"family": "V-DPM", "config": {"class": "VDPMConfig", "depth": 3}}', "configuration VDPMConfig of the file"),
        ('{"family": "V-DPM", "config": {"class": "VDPMConfig", "aggregator": 3}}', "configuration VDPMConfig"),
        ('{"family": "V-DPM"}', "tells no configuration of V-DPM"),
    ],
)
def test_metadata_that_cannot_be(tmp_path, metadata, words):
    save_file(tensors(), tmp_path / "a.safetensors", metadata={"dpm": metadata})
    assert words in refusal("tiny", tmp_path / "a.safetensors")


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """`tiny` comes in the package, with a word about its quality; gives a function that changes its registry line."""
    file = tmp_path / "weights" / "tiny.safetensors"
    write_weights(file, SPEC, tensors())
    monkeypatch.setattr(loading, "files", lambda package: tmp_path)

    def registered(**changes):
        line = {"shipped_sha256": sha256(file), "quality": "a first one", **changes}
        monkeypatch.setitem(REGISTRY, "tiny", replace(SPEC, **line))
        return file

    return registered


def test_weights_of_the_package_say_what_they_are_good_for(shipped):
    shipped()
    loaded = load_network("tiny")
    assert (loaded.trained, loaded.notice) == (True, "a first one")


def test_weights_of_the_package_with_another_checksum_are_refused_with_both(shipped):
    file = shipped(shipped_sha256="0" * 64)
    told = refusal("tiny")
    assert f"{file} has SHA-256 {sha256(file)}, not {'0' * 64}" in told


def test_weights_of_the_package_with_another_configuration_are_refused_with_both_values(shipped):
    shipped(config=replace(TINY, decoder=replace(TINY.decoder, mlp_ratio=2.0)))
    assert "tells a configuration with decoder.mlp_ratio 1.0, not 2.0; install dpm again" in refusal("tiny")


def test_a_file_that_is_given_is_taken_by_what_it_tells(shipped):
    file = shipped(shipped_sha256="0" * 64)
    loaded = load_network("tiny", file)
    assert (loaded.trained, loaded.notice) == (True, None)
