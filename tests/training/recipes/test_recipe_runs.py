# SPDX-License-Identifier: Apache-2.0
"""The recipe's parts on something of seconds: a source of stored scenes, first weights, pieces, a stretch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_windows import NETWORK, tiny_run

from dpm_core.checkpoints import load_network
from dpm_core.errors import DpmError
from dpm_core.models import VDPMNetwork
from training import checkpoints
from training.config import DataConfig
from training.distributed import World
from training.recipes import stages, vdpm_mini
from training.recipes import stretch as stretches
from training.recipes.pieces import MANIFEST, join, split
from training.recipes.source import HELD_OUT, Pool, StoredSource
from training.recipes.stages import STAGES
from training.recipes.start import stand_still, start
from training.recipes.stored import make
from training.recipes.vary import VaryConfig
from training.sampling import Position, Sampler, mixture
from training.synthetic import SyntheticConfig, SyntheticScenes
from training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = World(0, 1, torch.device("cpu"))
VARIED = VaryConfig(28, 28)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    make(SyntheticScenes(SyntheticConfig(36, 40, frames=4), 5), folder, range(3))
    return Pool(folder, held_out=1, first=1, uses=8.0, most=2)


def stored_run(out, **changes):
    return tiny_run(out, data=DataConfig("stored", HELD_OUT, height=28, width=28), **changes)


def test_training_on_stored_scenes_goes_on_as_if_nothing_had_happened(tmp_path, pool):
    whole, parts = (stored_run(tmp_path / name, examples=24, save_every=1) for name in ("whole", "parts"))
    for run in (whole, replace(parts, minutes=1e-6), parts):
        Trainer(run, ALONE, StoredSource(pool, VARIED), lambda text: None).run()
    one, other = (checkpoints.latest(tmp_path / name / "checkpoints", print) for name in ("whole", "parts"))
    assert one.step == other.step
    assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


def test_validation_sees_scenes_that_training_never_does(pool):
    source = StoredSource(pool, VARIED)
    for name, expected in (("stored", {1, 2}), (HELD_OUT, {0})):
        requests = iter(Sampler(mixture(name), 0))
        drawn = {
            source.scene_of(example, request.after.examples)
            for request, _ in zip(requests, range(20), strict=False)
            for example in request.examples
        }
        assert drawn == expected


def test_a_scene_that_never_comes_is_named(tmp_path):
    source = StoredSource(Pool(tmp_path, 1, 1, 1.0, 1, patience=0.0), VARIED)
    with pytest.raises(DpmError, match=r"scene-000001.safetensors is not there; run with --only scenes first"):
        source.batch(Sampler(mixture("stored"), 0).at(Position()), torch.device("cpu"))


def test_first_weights_are_of_the_seed_and_say_something_sane():
    one, again, other = (VDPMNetwork(NETWORK).eval() for _ in range(3))
    for network, seed in ((one, 1), (again, 1), (other, 2)):
        start(network, seed)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.camera_head.embed_pose.weight, other.camera_head.embed_pose.weight)
    with torch.inference_mode():
        got = one.predict(one.encode(torch.rand(2, 3, 28, 28)), (28, 28), (1,))
    assert got.points.isfinite().all()
    assert (got.own_points[..., 2] > 0).all()


def test_a_decoder_that_stands_still_says_the_same_of_all_times():
    network = VDPMNetwork(NETWORK).eval()
    start(network, 0)
    stand_still(network)
    with torch.inference_mode():
        got = network.predict(network.encode(torch.rand(2, 3, 28, 28)), (28, 28), (0, 1))
    assert torch.allclose(got.points, got.own_points.expand_as(got.points), atol=1e-5)


def test_stages_begin_with_what_the_one_before_ends_with(tmp_path):
    assert [stage.run(tmp_path, tmp_path / "w").out for stage in STAGES] == [str(tmp_path / s.name) for s in STAGES]
    for stage in STAGES:
        assert stage.made.width >= stage.size[1]
        assert stage.pool(tmp_path).most + stage.pool(tmp_path).held_out == stage.scenes()


@pytest.fixture
def seconds(monkeypatch):
    """The recipe with stages of seconds."""
    monkeypatch.setattr(stages, "find_run", lambda name: tiny_run("unused"))
    made = SyntheticConfig(28, 28, frames=4)
    short = [
        replace(stage, size=(28, 28), made=made, held_out=1, examples=8, first=1, most=1, ema=0.5) for stage in STAGES
    ]
    monkeypatch.setattr(vdpm_mini, "STAGES", short)


@pytest.mark.usefixtures("seconds")
def test_the_recipe_goes_from_a_seed_to_weights_in_use_over_two_calls(tmp_path, capsys):
    walking = str(Path(__file__).parents[3] / "demo/walking")
    assert vdpm_mini.main([str(tmp_path), "--minutes", "1e-6"]) == 3
    assert "to be continued" in capsys.readouterr().out
    assert vdpm_mini.main([str(tmp_path), "--only", "scenes"]) == 0
    assert vdpm_mini.main([str(tmp_path), "--only", "training", "--frames", walking]) == 0
    loaded = load_network("vdpm-mini", tmp_path / "vdpm-mini.safetensors")
    assert loaded.trained
    assert loaded.spec.config == NETWORK


@pytest.fixture
def finished(tmp_path, pool):
    run = stored_run(tmp_path / "run", examples=8)
    Trainer(run, ALONE, StoredSource(pool, VARIED), lambda text: None).run()
    return tmp_path / "run"


def test_a_run_in_pieces_joined_is_the_run(tmp_path, finished):
    pieces = split(finished, tmp_path / "pieces", piece_bytes=100_000)
    assert len(pieces) > 1
    assert max(piece.stat().st_size for piece in pieces) <= 100_000
    step = join(tmp_path / "pieces", tmp_path / "again")
    one, other = (checkpoints.latest(folder / "checkpoints", print) for folder in (finished, tmp_path / "again"))
    assert step == one.step == other.step
    assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())
    assert (tmp_path / "again/metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder / "piece-000").write_bytes(b"x"), "piece-000 has SHA-256 .*, not"),
        (lambda folder: (folder / "piece-001").unlink(), "piece-001 has SHA-256 nothing, not"),
        (lambda folder: (folder / MANIFEST).unlink(), "holds no pieces of a run; expected pieces.json"),
    ],
)
def test_damaged_pieces_are_named_and_nothing_is_written(tmp_path, finished, harm, words):
    split(finished, tmp_path / "pieces", piece_bytes=100_000)
    harm(tmp_path / "pieces")
    with pytest.raises(DpmError, match=words):
        join(tmp_path / "pieces", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_stretch_goes_on_from_pieces_and_reports(tmp_path, pool, monkeypatch):
    monkeypatch.setattr(stretches, "source_of", lambda config, device: StoredSource(pool, VARIED))
    config = stored_run(tmp_path / "unused", examples=16, log_every=1, minutes=1e-6)
    first = stretches.stretch(config, None, tmp_path / "a")
    second = stretches.stretch(replace(config, minutes=0.0), tmp_path / "a", tmp_path / "b")
    assert (first["steps"], first["finished"]) == ([0, 1], False)
    assert second["steps"][0] == 1
    assert second["finished"]
    assert second["examples_per_second"] > 0
    assert second["tflops"] > 0
    assert 0 <= second["waiting"] <= 1
