# SPDX-License-Identifier: Apache-2.0
"""Two processes with half the batch each have the gradient of one with all of it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_windows import WallSource, tiny_run
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

from training.checkpoints import latest, load
from training.distributed import World, wait_for_all, world
from training.sampling import Mixture, Part, Position, Sampler
from training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

EXAMPLES = 4


def gradients(here, kind, accumulate):
    """Of one step over the same EXAMPLES examples, shared by the processes."""
    parts = EXAMPLES // here.size // accumulate
    small = Mixture((Part("synthetic", 100),), ((3, parts),), (1, 1), "first", "one", "")
    config = tiny_run("unused", parallel=kind)
    config = replace(config, optimiser=replace(config.optimiser, accumulate=accumulate))
    trainer = Trainer(config, here, WallSource())
    sampler = Sampler(small, 0, here.rank, here.size)
    # The same length and time at every batch, as one batch would have: only then is the gradient the same.
    requests, position = [], Position()
    for _ in range(accumulate):
        requests.append(sampler.at(position))
        position = replace(requests[-1].after, step=0)
    trainer.backward(WallSource().batch(request, here.device) for request in requests)
    named = [(name, p.grad) for name, p in trainer.state.network.named_parameters() if p.requires_grad]
    return {name: grad.full_tensor() if isinstance(grad, DTensor) else grad.clone() for name, grad in named}


def run_twice(here, kind, folder):
    """Train to the end; again from the checkpoint before the last."""
    config = tiny_run(folder, parallel=kind, examples=12)
    Trainer(config, here, WallSource()).run()
    if here.first:
        for path in sorted((folder / "checkpoints").glob("step-*"))[-2:]:
            path.rename(folder / path.name)
    wait_for_all(here)
    Trainer(config, here, WallSource()).run()


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes(tmp_path, kind):
    """Have the gradient of one, also where each takes its share in two batches; and go on as if never stopped."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", __file__]
    paths = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path), kind], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=250)

    shared = load_file(tmp_path / "gradients.safetensors")
    alone = gradients(World(0, 1, torch.device("cpu")), "ddp", 1)
    assert alone.keys() == shared.keys()
    largest = max(gradient.abs().max().item() for gradient in alone.values())
    for name, gradient in alone.items():
        torch.testing.assert_close(shared[name], gradient, atol=1e-6 * max(1.0, largest), rtol=1e-6)

    whole = load(next(tmp_path.glob("step-*.json")))
    resumed = latest(tmp_path / "checkpoints", print)
    assert (whole.step, whole.plain) == (resumed.step, resumed.plain)
    assert all(torch.equal(tensor, resumed.tensors[name]) for name, tensor in whole.tensors.items())


if __name__ == "__main__":
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    with world("cpu") as here:
        found = gradients(here, kind, 2)
        if here.first:
            save_file(found, folder / "gradients.safetensors")
        run_twice(here, kind, folder)
