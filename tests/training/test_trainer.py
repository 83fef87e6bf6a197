# SPDX-License-Identifier: Apache-2.0
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_windows import WallSource, tiny_run

from dpm_core.errors import DpmError
from training import checkpoints, logbook
from training.config import OptimiserConfig
from training.distributed import World
from training.sampling import Position, Sampler, mixture
from training.state import TrainState
from training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = World(0, 1, torch.device("cpu"))
SCRIPT = Path(__file__).with_name("random_windows.py")


def trained(config, source=None, said=None):
    trainer = Trainer(config, ALONE, source or WallSource(), (said if said is not None else []).append)
    trainer.run()
    return trainer


def weights(folder):
    return checkpoints.latest(Path(folder) / "checkpoints", print)


def assert_same(one, other):
    assert one.step == other.step
    assert one.plain == other.plain
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name


def test_learns(tmp_path):
    trained(tiny_run(tmp_path, examples=120, log_every=16))
    losses = [line["loss"] for line in logbook.read(tmp_path / "metrics.jsonl") if line["group"] == "train"]
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_stopped_and_resumed_is_the_run_that_was_not(tmp_path):
    class StopAt(Trainer):
        def _step(self, *args):
            super()._step(*args)
            self.stop = self.progress.step == 7

    whole = tiny_run(tmp_path / "whole")
    trained(whole)
    parts = tiny_run(tmp_path / "parts")
    stopped = StopAt(parts, ALONE, WallSource(), lambda text: None)
    assert not stopped.run()
    said = []
    trained(parts, said=said)
    assert "going on from step 7" in said[0]
    assert_same(weights(whole.out), weights(parts.out))


def test_a_run_under_muon_resumes_exactly_too(tmp_path):
    def muon(out, **changes):
        run = tiny_run(out, **changes)
        return replace(run, optimiser=replace(run.optimiser, matrices="muon"))

    class StopAt(Trainer):
        def _step(self, *args):
            super()._step(*args)
            self.stop = self.progress.step == 4

    trained(muon(tmp_path / "whole"))
    StopAt(muon(tmp_path / "parts"), ALONE, WallSource(), [].append).run()
    trained(muon(tmp_path / "parts"))
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_a_step_of_muon_is_orthogonal_and_as_large_as_one_of_adamw(tmp_path):
    run = tiny_run(tmp_path)
    run = replace(run, optimiser=replace(run.optimiser, matrices="muon", weight_decay=0.0))
    state = TrainState(run, ALONE)
    name, matrix = next((n, p) for n, p in state.network.named_parameters() if n.endswith("attn.qkv.weight"))
    before = matrix.detach().clone()
    torch.manual_seed(0)
    for parameter in state.network.parameters():
        parameter.grad = torch.randn_like(parameter)
    state.update(1e-2, 0.0)
    singular = torch.linalg.svdvals(matrix.detach() - before) / (1e-2 * 0.2 * max(matrix.shape) ** 0.5)
    assert 0.5 < singular.min() < singular.max() < 1.3, name  # five steps of Newton and Schulz come so near to 1


def test_muon_refuses_shards(tmp_path):
    run = tiny_run(tmp_path)
    with pytest.raises(DpmError, match="parallel=ddp"):
        TrainState(replace(run, parallel="fsdp", optimiser=replace(run.optimiser, matrices="muon")), ALONE)


def test_a_killed_run_resumed_is_the_run_that_was_not(tmp_path):
    """Killed at a moment that nobody chose; what it logged of steps that it repeats is not there twice."""
    command = [sys.executable, str(SCRIPT), str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list((tmp_path / "killed/checkpoints").glob("*.json")):
        time.sleep(0.02)
    time.sleep(random.random() * 0.3)
    process.kill()
    process.wait()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    whole = tiny_run(tmp_path / "whole")
    trained(whole)
    assert_same(weights(whole.out), weights(tmp_path / "killed"))
    steps = [line["step"] for line in logbook.read(tmp_path / "killed/metrics.jsonl") if line["group"] == "train"]
    assert len(steps) == len(set(steps))


def test_accumulated_batches_are_one_batch(tmp_path):
    """The gradient of two halves is that of the whole, since losses are means of examples."""
    config = tiny_run(tmp_path)
    request = next(request for request in Sampler(mixture("walls"), 0) if len(request.examples) == 2)
    halves = [replace(request, examples=(example,)) for example in request.examples]
    gradients = []
    for count, requests in ((1, [request]), (2, halves)):
        changed = replace(config, optimiser=replace(config.optimiser, accumulate=count))
        trainer = Trainer(changed, ALONE, WallSource())
        trainer.backward(WallSource().batch(r, ALONE.device) for r in requests)
        gradients.append([p.grad for p in trainer.state.network.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_recomputed_blocks_give_the_same_gradients(tmp_path):
    gradients = []
    for again in (False, True):
        trainer = Trainer(tiny_run(tmp_path, checkpointing=again), ALONE, WallSource())
        request = Sampler(mixture("walls"), 0).at(trainer.progress.position)
        trainer.backward(iter([WallSource().batch(request, ALONE.device)]))
        gradients.append({name: p.grad for name, p in trainer.state.network.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-7, rtol=1e-5)


def test_half_precision_is_near_full_precision(tmp_path):
    request = Sampler(mixture("walls"), 0).at(Position())
    batch = WallSource().batch(request, ALONE.device)
    losses = [
        Trainer(tiny_run(tmp_path, precision=precision), ALONE, WallSource()).losses(batch)["loss"]
        for precision in ("fp32", "bf16")
    ]
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[0], losses[1], rtol=0.03, atol=0.03)
    assert losses[0] != losses[1]


def test_frozen_parameters_stay(tmp_path):
    frozen = ("aggregator.patch_embed.",)
    config = tiny_run(tmp_path, frozen=frozen, examples=6)
    before = {k: v.clone() for k, v in TrainState(config, ALONE).network.state_dict().items()}
    after = trained(config).state.network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any(name.startswith(frozen) for name in moved)
    with pytest.raises(DpmError, match="frozen 'encoder' fits no parameter; they begin with aggregator, camera_head"):
        TrainState(tiny_run(tmp_path, frozen=("encoder",)), ALONE)


def test_a_parameter_out_of_reach_is_named(tmp_path):
    with pytest.raises(
        DpmError, match=r"1 parameters take no part in the loss, such as .*mask_token; add them to froz"
    ):
        trained(tiny_run(tmp_path, frozen=()))


def test_the_average_follows_slowly(tmp_path):
    trainer = trained(tiny_run(tmp_path, optimiser=OptimiserConfig(lr=1e-3, ema=0.99)))
    start = dict(TrainState(trainer.config, ALONE).network.named_parameters())
    name = "point_head.scratch.output_conv1.weight"
    network, average = (dict(m.named_parameters())[name] for m in (trainer.state.network, trainer.state.average))
    assert 0 < (average - start[name]).norm() < (network - start[name]).norm()


def test_steps_without_a_finite_gradient_are_skipped_and_counted(tmp_path):
    trainer = trained(tiny_run(tmp_path, examples=12), WallSource(poison=(2, 5)))
    assert trainer.progress.skipped == 2
    assert all(p.isfinite().all() for p in trainer.state.network.parameters())


def test_stops_after_several_in_a_row_with_the_batch_saved(tmp_path):
    with pytest.raises(DpmError, match=r"no finite gradient in 3 steps in a row, the last 6; its batch is in (.*);"):
        trained(tiny_run(tmp_path, most_skipped=3), WallSource(poison=range(4, 99)))
    assert (tmp_path / "bad-batch-step-6-rank-0.safetensors").stat().st_size > 1000


def test_a_corrupt_checkpoint_is_refused_and_the_one_before_used(tmp_path):
    trained(tiny_run(tmp_path))
    newest, before = sorted((tmp_path / "checkpoints").glob("*.safetensors"), reverse=True)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    said = []
    trainer = Trainer(tiny_run(tmp_path), ALONE, WallSource(), said.append)
    assert "SHA-256 differs; using the one before" in said[0]
    assert trainer.progress.step == int(before.stem.split("-")[1])


def test_a_partial_checkpoint_is_refused(tmp_path):
    trained(tiny_run(tmp_path))
    newest, before = sorted((tmp_path / "checkpoints").glob("*.safetensors"), reverse=True)
    newest.write_bytes(newest.read_bytes()[:1000])
    said = []
    found = checkpoints.latest(tmp_path / "checkpoints", said.append)
    assert "has 1000 bytes, not" in said[0]
    assert found.step == int(before.stem.split("-")[1])


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    trained(tiny_run(tmp_path, examples=6))
    config = tiny_run(tmp_path)
    other = replace(config, network=replace(config.network, camera=replace(config.network.camera, depth=2)))
    with pytest.raises(DpmError, match="not of this network"):
        Trainer(other, ALONE, WallSource())


def test_keeps_only_the_newest_checkpoints(tmp_path):
    trained(tiny_run(tmp_path, save_every=2, keep=3))
    assert len(list((tmp_path / "checkpoints").iterdir())) == 6


def test_validates_the_same_windows_every_time(tmp_path):
    trained(tiny_run(tmp_path, validate_every=4, optimiser=OptimiserConfig(lr=0.0, least_lr=0.0)))
    lines = [line for line in logbook.read(tmp_path / "metrics.jsonl") if line["group"] == "validation"]
    assert len(lines) >= 3
    assert len({json.dumps({k: v for k, v in line.items() if k != "step"}) for line in lines}) == 1
