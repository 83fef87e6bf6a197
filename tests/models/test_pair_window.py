# SPDX-License-Identifier: Apache-2.0
"""Perfect pairs make a perfect window: pairs are put together without loss, whatever unit each is in."""

import math

import numpy as np
import pytest
import torch

from dpm_core.geometry.cameras import camera_matrix, inverse_rigid, rigid, transform, unproject
from dpm_core.geometry.rotations import rotation_from_quaternion
from dpm_core.models.pair_window import predict_from_pairs
from dpm_core.models.pairs import PairOutput
from dpm_core.models.pomato_window import predict_from_window

SIZE = HEIGHT, WIDTH = 24, 32
FRAMES = 4
FOCAL = 35.0
MOVING = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
MOVING[6:12, 5:13] = True
VELOCITY = torch.tensor([0.2, 0.05, 0.1])
INTRINSICS = camera_matrix(torch.tensor([FOCAL]), torch.tensor([WIDTH / 2, HEIGHT / 2]))


def world_from_camera(index):
    turn = torch.tensor([0.02 * index, -0.03 * index, 0.01 * index, 1.0])
    return rigid(rotation_from_quaternion(turn), torch.tensor([0.1 * index, -0.02 * index, 0.05 * index]))


def in_camera(index):
    """[H, W, 3] a wavy wall."""
    v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return unproject(3 + torch.sin(0.4 * u + index) * torch.cos(0.3 * v), INTRINSICS)


def content(view, time):
    """[H, W, 3] in the world, the pixels of a view at a frame's time."""
    moved = transform(world_from_camera(view), in_camera(view))
    return moved + MOVING[..., None] * VELOCITY * (time - view)


class PerfectPairs:
    """Answers every pair in the first camera, in a unit of the pair's own."""

    def __init__(self, moving="matched"):
        self.moving = moving
        self.knows_motion = moving is not None
        self.asked = []

    def relate_frames(self, tokens, edges, size):
        self.asked += edges
        parts = [self.relate(i, j) for i, j in edges]
        return PairOutput(*(None if field[0] is None else torch.stack(field) for field in zip(*parts, strict=True)))

    def relate(self, i, j):
        unit = math.exp(math.sin(7 * i + 3 * j))
        seen = [unit * transform(inverse_rigid(world_from_camera(i)), content(*at)) for at in ((i, i), (j, j), (j, i))]
        own, other, matched = seen
        conf = torch.full(SIZE, 3.0)
        if self.moving == "second":
            return PairOutput(own, conf, matched, conf, dynamic_1=i + conf, flow_21=torch.full((*SIZE, 2), 1.0 * i - j))
        return PairOutput(own, conf, other, conf, matched, conf)

    def second_at_first(self, output):
        return (output.matched_2, output.conf_matched) if self.moving == "matched" else (output.points_2, output.conf_2)


class PerfectWindow(PerfectPairs):
    frames = 6

    def reconstruct(self, window, size, key):
        last = FRAMES - 1
        seen = [min(view, last) for view in range(self.frames)]
        unit = math.exp(math.sin(7 * key))
        to_key = inverse_rigid(world_from_camera(key))
        own = torch.stack([unit * transform(to_key, content(view, view)) for view in seen])
        matched = torch.stack([unit * transform(to_key, content(view, key)) for view in seen])
        conf = torch.full((self.frames, *SIZE), 3.0)
        return PairOutput(own, conf, own, conf, matched, conf)


def expect(prediction, reference, times, moving=True, tolerance=2e-3):
    """All right up to one unit."""
    in_reference = inverse_rigid(world_from_camera(reference))
    own = torch.stack([transform(in_reference, content(view, view)) for view in range(FRAMES)])
    unit = float((prediction.own_points[reference] / own[reference]).nanmedian())
    close = dict(atol=tolerance * unit, rtol=0)
    torch.testing.assert_close(prediction.own_points, unit * own, **close)
    for row, time in enumerate(times):
        asked = [transform(in_reference, content(view, time if moving else view)) for view in range(FRAMES)]
        torch.testing.assert_close(prediction.points[row], unit * torch.stack(asked), **close)
    poses = torch.stack([in_reference @ world_from_camera(view) for view in range(FRAMES)])
    poses[:, :3, 3] *= unit
    torch.testing.assert_close(prediction.world_from_camera, poses, atol=tolerance * max(unit, 1), rtol=0)
    torch.testing.assert_close(prediction.intrinsics, INTRINSICS.expand(FRAMES, 3, 3), atol=0.05, rtol=0)
    assert prediction.times == tuple(times)


@pytest.mark.parametrize("reference", [0, 2])
@pytest.mark.parametrize("moving", ["matched", "second"])
def test_pairs_of_any_unit_make_one_window(moving, reference):
    times = (3, 0, 2)
    prediction = predict_from_pairs(PerfectPairs(moving), torch.zeros(FRAMES, 1, 1), SIZE, times, reference)
    expect(prediction, reference, times)


def test_without_motion_every_time_shows_each_view_at_its_own():
    prediction = predict_from_pairs(PerfectPairs(None), torch.zeros(FRAMES, 1, 1), SIZE, (3, 0), 0)
    expect(prediction, 0, (3, 0), moving=False)


def test_only_needed_pairs_are_asked_and_none_twice():
    network = PerfectPairs()
    predict_from_pairs(network, torch.zeros(FRAMES, 1, 1), SIZE, (3, 0), 0)
    star = {edge for view in (1, 2, 3) for edge in ((0, view), (view, 0))}
    assert sorted(network.asked) == sorted(star | {(3, 1), (3, 2)})


def test_masks_are_the_frames_own_and_flows_lead_to_the_asked_time():
    prediction = predict_from_pairs(PerfectPairs("second"), torch.zeros(FRAMES, 1, 1), SIZE, (3, 1), 0)
    np.testing.assert_allclose(prediction.dynamic_logit[:, 0, 0], [3, 4, 5, 6])
    np.testing.assert_allclose(prediction.flow[:, :, 0, 0, 0], [[3, 2, 1, 0], [1, 0, -1, -2]])


def test_one_frame_is_paired_with_itself():
    network = PerfectPairs()
    prediction = predict_from_pairs(network, torch.zeros(1, 1, 1), SIZE, (0,), 0)
    assert network.asked == [(0, 0)]
    torch.testing.assert_close(prediction.world_from_camera, torch.eye(4)[None])
    torch.testing.assert_close(prediction.points[0], prediction.own_points)


def test_a_frame_that_cannot_be_placed_is_nowhere_not_somewhere():
    network = PerfectPairs()
    answer = network.relate

    def flat(i, j):
        out = answer(i, j)
        return out._replace(points_1=torch.zeros(*SIZE, 3)) if i == 2 else out

    network.relate = flat
    prediction = predict_from_pairs(network, torch.zeros(FRAMES, 1, 1), SIZE, (0,), 0)
    assert prediction.own_points[2].isnan().all()
    assert prediction.own_points[[0, 1, 3]].isfinite().all()
    assert prediction.world_from_camera.isfinite().all()


@pytest.mark.parametrize("reference", [0, 3])
def test_windows_with_different_keys_make_one(reference):
    times = (3, 0)
    prediction = predict_from_window(PerfectWindow(), torch.zeros(FRAMES, 1, 1), SIZE, times, reference)
    expect(prediction, reference, times, tolerance=2e-2)
