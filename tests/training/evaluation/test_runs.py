# SPDX-License-Identifier: Apache-2.0
"""`dpm-eval` whole: an engine that knows the truth gets it right, and the command says what went wrong."""

import json

import numpy as np
import pytest
import torch

from dpm_core.geometry.fit import Fit
from dpm_core.types import Frame, Prediction
from training.cli import eval as command
from training.evaluation import runs
from training.evaluation.rgbd import RgbdFrame
from training.synthetic import SyntheticConfig, SyntheticScenes

H, W = 42, 56
SCENES, SEED = 4, 5


class Oracle:
    """Knows the scenes: finds each image among them and answers the truth, in units of its own."""

    name = "oracle"
    notice = None
    device = torch.device("cpu")

    def __init__(self, wrong=0.0):
        self.window = SyntheticScenes(SyntheticConfig(H, W, 9), SEED).window(range(SCENES))
        self.images = (self.window.images * 255).round() / 255
        self.wrong = wrong

    def fit(self, height, width):
        return Fit((height, width), (H, W), (0, 0), (H, W))

    def encode(self, image):
        index = int((self.images - image).abs().flatten(2).amax(-1).argmin())
        assert (self.images.flatten(0, 1)[index] - image).abs().max() < 1e-3
        return torch.tensor([[float(index)]])

    def predict(self, tokens, size, times):
        places = [int(token) for token in tokens]
        scene, frames = places[0] // 9, [place % 9 for place in places]
        seen = self.window.in_camera(frames[0])
        asked = [frames[time] for time in times]
        points = 3 * seen.points[scene][asked][:, frames] * (1 + self.wrong)
        own = 3 * seen.points[scene][frames, frames]
        poses = seen.world_from_camera[scene, frames].clone()
        poses[:, :3, 3] *= 3
        conf = torch.full(points.shape[:-1], 5.0)
        valid = seen.valid[scene][0, frames]
        own = torch.where(valid[..., None], own, torch.nan)
        points = torch.where(valid[None, ..., None], points, torch.nan)
        return Prediction(own, conf[0], points, conf, tuple(times), poses, seen.intrinsics[scene, frames])


@pytest.fixture(scope="module")
def oracle():
    return Oracle()


def test_an_engine_that_knows_the_truth_errs_nowhere(oracle):
    done = []
    figures = runs.on_synthetic(oracle, SCENES, SEED, done.append)
    assert done == [1, 2, 3, 4]
    for gap in ("gap_2", "gap_8"):
        judged = figures["two_view"][gap]
        assert set(judged) == {"model", "constant_depth", "tilted_plane", "zero_motion", "still_world"}
        model = judged["model"]
        assert model["pairs"] == SCENES
        assert max(model[name] for name in ("P0(t0)", "P0(t1)", "P1(t0)", "P1(t1)", "abs_rel")) < 1e-4
        assert model["delta_1"] > 0.9999
        assert model["rotation"] < 1e-2
        assert all(judged[name]["P0(t1)"] > model["P0(t1)"] for name in judged if name != "model")
    assert figures["mask"]["model"]["mask_iou"] > 0.5
    assert figures["mask"]["model"]["mask_iou"] > figures["mask"]["everything_moves"]["mask_iou"]


def test_a_constant_factor_is_forgiven(oracle):
    wrong = Oracle.__new__(Oracle)
    wrong.__dict__.update(oracle.__dict__, wrong=0.5)
    figures = runs.on_synthetic(wrong, 1, SEED, lambda _: None)
    assert figures["two_view"]["gap_2"]["model"]["P0(t1)"] < 1e-4


def recording(oracle, frames=9, poses=True):
    """Scene 0 as a camera with depth would have recorded it."""
    window = oracle.window
    for index in range(frames):
        frame = Frame(
            1_000_000_000 + index * 50_000_000,
            (oracle.images[0, index] * 255).round().byte().movedim(0, -1).contiguous().numpy(),
            intrinsics=window.intrinsics[0, index].double().numpy(),
        )
        pose = window.world_from_camera[0, index].double().numpy() if poses else None
        yield RgbdFrame(frame, window.depth[0, index].numpy(), pose)


def test_a_recording_is_judged_by_depth_path_and_pairs(oracle):
    figures = runs.on_recording(oracle, recording(oracle), lambda _: None)
    assert figures["frames"] == 9
    assert figures["depth"]["model"]["abs_rel"] < 0.02
    assert figures["depth"]["model"]["abs_rel"] < figures["depth"]["tilted_plane"]["abs_rel"]
    assert set(figures["path"]) == {"model", "zero_motion", "constant_velocity"}
    model = figures["two_view"]["gap_8"]["model"]
    assert model["P0(t0)"] < 1e-3
    assert model["P1(t1)"] < 1e-3
    assert "P0(t1)" not in model
    json.dumps(figures)


def test_a_recording_without_poses_has_depth_alone(oracle):
    figures = runs.on_recording(oracle, recording(oracle, poses=False), lambda _: None)
    assert figures["path"] is None
    assert set(figures["two_view"]["gap_2"]["model"]) == {"pairs", "P0(t0)", "abs_rel", "delta_1"}


def test_the_best_standing_and_straight_paths_are_beside_the_models(oracle):
    frames = list(recording(oracle))
    places = np.stack([seen.world_from_camera[:3, 3] for seen in frames])
    path = runs.on_recording(oracle, frames, lambda _: None)["path"]
    spread = np.sqrt(((places - places.mean(0)) ** 2).sum(1).mean())
    assert path["zero_motion"]["ate"] == pytest.approx(spread, rel=1e-6, abs=1e-9)
    assert path["constant_velocity"]["ate"] <= path["zero_motion"]["ate"]


def test_the_command_prints_tables_and_writes_figures(oracle, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("dpm_core.engines.open_engine", lambda *_: oracle)
    out = tmp_path / "figures.json"
    assert command.main(["synthetic", "oracle", "--scenes", "1", "--seed", str(SEED), "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert figures["scenes"] == 1
    assert figures["seed"] == SEED
    printed = capsys.readouterr().out
    for word in ("oracle", "constant_depth", "gap 8", "dynamic mask"):
        assert word in printed


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["synthetic", "vdpm-minni"], "vdpm-mini"),
        (["synthetic", "vdpm-mini", "--scenes", "0"], "--scenes is 0"),
        (["rgbd", "vdpm-mini", "nowhere"], "nowhere is not there"),
        (["rgbd", "vdpm-mini", ".", "--depth-units", "0"], "--depth-units"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(argv, told, capsys):
    assert command.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("dpm: ")
    assert error.count("\n") == 1
    assert told in error


def test_too_short_a_recording_is_refused(oracle):
    with pytest.raises(runs.DpmError, match="has 5 frames"):
        runs.on_recording(oracle, recording(oracle, 5), lambda _: None)
