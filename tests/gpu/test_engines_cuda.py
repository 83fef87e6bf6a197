# SPDX-License-Identifier: Apache-2.0
"""Engines on a GPU: what they record says what the network says, and plans built here are their graphs."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))

from small_exports import cameras_frames, export, frames, loaded, size_of

from dpm_core.engines import open_engine
from dpm_core.engines.tensorrt_check import check_plans, run_here
from dpm_core.engines.tensorrt_library import libraries
from dpm_core.engines.tensorrt_plans import build_plans, choose_target
from dpm_core.engines.torch_cuda import WARM_UPS, TorchCudaEngine
from dpm_core.engines.torch_engine import TorchEngine
from dpm_core.errors import DpmError

FIELDS = ("own_points", "own_conf", "points", "conf", "world_from_camera", "intrinsics")


@pytest.fixture
def device():
    return torch.device("cuda", torch.cuda.current_device())


def predicted(engine, name, seed):
    size = size_of(name)
    with torch.inference_mode():
        tokens = [engine.encode(image.to(engine.device)) for image in frames(3, size, seed)]
        return engine.predict(tokens, size, (2, 0))


@pytest.mark.parametrize("name", ["vdpm", "vggt"])
def test_a_recorded_window_says_what_an_eager_one_says(device, name):
    recording = TorchCudaEngine(loaded(name), device)
    for run in range(WARM_UPS + 3):
        said, eager = predicted(recording, name, run), predicted(TorchCudaEngine(loaded(name), device), name, run)
        for field in FIELDS:
            torch.testing.assert_close(getattr(said, field), getattr(eager, field), rtol=1e-3, atol=1e-3)
    assert recording._recorded is not None


@pytest.mark.parametrize("name", ["vdpm", "vggt", "d2ust3r heads", "pomato"])
def test_bfloat16_is_near_float32(device, name):
    ours, exact = (predicted(each(loaded(name), device), name, 1) for each in (TorchCudaEngine, TorchEngine))
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(ours.own_points.flatten(), exact.own_points.flatten(), dim=0) > 0.99


def test_memory_stays_flat_over_recorded_windows(device):
    engine = TorchCudaEngine(loaded("vdpm"), device)
    for run in range(WARM_UPS + 2):
        predicted(engine, "vdpm", run)
    before = torch.cuda.memory_allocated(device)
    for run in range(100):
        predicted(engine, "vdpm", run)
    assert torch.cuda.memory_allocated(device) == before


class Quiet:
    def plan(self, graph):
        return lambda fraction: None

    def waiting(self, graph):
        raise AssertionError("nobody else builds")


@pytest.mark.skipif(not libraries(), reason="no TensorRT imports")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["vdpm", "vggt", "d2ust3r heads", "pomato"])
def test_plans_are_built_checked_and_run(device, tmp_path, name, precision):
    folder = tmp_path / "export"
    export(name, folder, precision)
    try:
        found = build_plans(folder, choose_target(libraries(), []), Quiet())
    except DpmError as error:
        pytest.skip(str(error))  # tensorrt_rtx does not build for every GPU
    check_plans(folder, found, run_here(folder, found), cameras_frames(2, size_of(name)), tmp_path)
    engine = open_engine(str(folder), device="cuda", backend="tensorrt")
    for run in range(3):  # queued, recorded, replayed
        said, exact = predicted(engine, name, run), predicted(TorchEngine(loaded(name), device), name, run)
        cosine = torch.nn.functional.cosine_similarity(said.own_points.flatten(), exact.own_points.flatten(), dim=0)
        assert cosine > (0.99999 if precision == "fp32" else 0.99)
