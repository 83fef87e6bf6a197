# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import torch
from random_windows import WallSource, tiny_run

from dpm_core.checkpoints import load_network
from dpm_core.errors import DpmError
from dpm_core.types import Frame
from training import logbook
from training.cli import train
from training.config import OptimiserConfig, to_json
from training.distributed import World
from training.export import export
from training.schedule import learning_rate
from training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def frames(count=3):
    random = np.random.default_rng(0)
    return [Frame(i, random.integers(0, 255, (40, 48, 3), dtype=np.uint8)) for i in range(count)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run, as the command makes it, its windows being walls."""
    monkeypatch.setattr(train, "source_of", lambda data, device: WallSource())
    monkeypatch.setattr(train.signal, "signal", lambda *_: None)
    config = tmp_path / "config.json"
    config.write_text(to_json(tiny_run(tmp_path / "run", examples=8)))
    assert train.main([str(config)]) == 0
    return tmp_path / "run"


def test_trains_saves_its_configuration_and_exports(run, tmp_path):
    assert json.loads((run / "config.json").read_text())["examples"] == 8
    assert logbook.read(run / "metrics.jsonl")[-1]["group"] == "validation"
    file = tmp_path / "weights.safetensors"
    assert export(run, file, frames()) < 0.02
    loaded = load_network("vdpm-mini", file)
    assert loaded.trained
    assert loaded.spec.config == tiny_run("").network
    trained = Trainer(tiny_run(run, examples=8), World(0, 1, torch.device("cpu")), WallSource(), lambda text: None)
    for name, tensor in loaded.network.state_dict().items():
        torch.testing.assert_close(tensor, trained.state.average.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_goes_on_with_a_longer_run(run, capsys):
    assert train.main([str(run), "examples=12"]) == 0
    assert "going on from step" in capsys.readouterr().err
    assert json.loads((run / "config.json").read_text())["examples"] == 12


def test_does_not_train_another_run_into_the_folder_of_one(run, tmp_path, capsys):
    assert train.main([str(tmp_path / "config.json"), "seed=1"]) == 2
    assert "holds another run; go on with it by `dpm-train" in capsys.readouterr().err


def test_bad_input_is_one_line(capsys):
    assert train.main(["vdpm-mini", "optimizer.lr=1"]) == 2
    assert capsys.readouterr().err == "dpm: no setting is called 'optimizer.lr'; did you mean 'optimiser.lr'?\n"


def test_shows_the_configuration(capsys):
    assert train.main(["vdpm-mini", "--show", "seed=5"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 5


def test_weights_that_do_not_survive_half_precision_are_not_exported(run, tmp_path, monkeypatch):
    monkeypatch.setattr("training.export.LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(DpmError, match="fp16 weights say something else on 3 frames"):
        export(run, tmp_path / "weights.safetensors", frames())
    assert not list(tmp_path.glob("*.safetensors"))
    with pytest.raises(DpmError, match="two or more frames of one size"):
        export(run, tmp_path / "weights.safetensors", frames(1))


def test_export_needs_a_run(tmp_path):
    with pytest.raises(DpmError, match="holds no run with a checkpoint"):
        export(tmp_path, tmp_path / "weights.safetensors", frames())


def test_the_rate_rises_and_falls():
    config = OptimiserConfig(lr=1.0, least_lr=0.1, warmup=0.1)
    assert [learning_rate(config, x) for x in (0.0, 0.05, 0.1)] == [0.0, 0.5, 1.0]
    assert learning_rate(config, 0.55) == pytest.approx(0.55)
    assert learning_rate(config, 1.0) == learning_rate(config, 2.0) == pytest.approx(0.1)


def test_log_lines_of_steps_that_are_done_again_are_dropped(tmp_path):
    with logbook.Logbook(tmp_path, 0, {}) as book:
        for step in range(5):
            book.write(step, "train", {"loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    with logbook.Logbook(tmp_path, 2, {}) as book:
        book.write(3, "train", {"loss": 30.0})
    assert [line["loss"] for line in logbook.read(tmp_path / "metrics.jsonl")] == [0, 1, 2, 30]
