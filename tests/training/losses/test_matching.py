# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from random_windows import NETWORK, wall

from dpm_core.errors import DpmError
from dpm_core.models import VDPMNetwork, initialise
from training.adapters import between_frames
from training.losses import MatchingLoss, VDPMLoss, patch_matches
from training.sampling import BatchRequest, Example, Position
from training.tasks import vdpm_task

PATCH = 14


def request(frames=2, times=(0,)):
    example = Example("walls", 5)
    return BatchRequest((example,), frames, (1, 1), times, 0, Position(1, 1))


def window(frames=2, times=()):
    """A wall at one place in the world, seen from several; its right half moves, and is told where at `times`."""
    made = wall(5, request(frames, times or (0,)), (56, 70))
    distance = 2 - made.world_from_camera[0, :, 2, 3]
    moves = (torch.arange(70) >= 35).expand(1, frames, 56, 70)
    made = replace(made, depth=distance[None, :, None, None].expand(1, frames, 56, 70).contiguous(), dynamic=moves)
    own, valid = made.own_points()
    count = len(times)
    points = own[:, None].expand(1, count, frames, 56, 70, 3)
    return replace(made, times=times, points=points, valid=valid[:, None].expand(1, count, frames, 56, 70))


def plain_matches(window, patch, tolerance):
    """Patch by patch: (v, p, w) -> (row, column) of the place in w, in patches."""
    own, valid = window.own_points()
    H, W = window.size
    found = {}
    for v in range(own.shape[1]):
        for row in range(patch // 2, H, patch):
            for column in range(patch // 2, W, patch):
                for w in range(own.shape[1]):
                    if v == w or not valid[0, v, row, column] or window.dynamic[0, v, row, column]:
                        continue
                    pose = window.world_from_camera[0, w].double()
                    x = pose[:3, :3].T @ (own[0, v, row, column].double() - pose[:3, 3])
                    u, y, _ = (window.intrinsics[0, w].double() @ x / x[2]).tolist()
                    if not (x[2] > 0 and -0.5 < u < W - 0.5 and -0.5 < y < H - 0.5):
                        continue
                    surface = window.depth[0, w, round(y), round(u)]
                    if abs(surface - x[2]) <= tolerance * x[2]:
                        place = (row // patch) * (W // patch) + column // patch
                        found[v, place, w] = tuple((c - (patch - 1) / 2) / patch for c in (y, u))
    return found


def test_matches_are_those_of_a_plain_search():
    truth = window(3)
    matches = patch_matches(truth, PATCH)
    expected = plain_matches(truth, PATCH, 0.05)
    assert {tuple(place) for place in matches.known[0].nonzero().tolist()} == set(expected)
    assert len(expected) > 20
    rows, columns = 56 // PATCH, 70 // PATCH
    for (v, patch, w), (row, column) in expected.items():
        weights = matches.weights[0, v, patch, w].view(rows, columns)
        assert weights.sum().item() == pytest.approx(1, abs=1e-5)
        told = (weights.sum(1) @ torch.arange(rows).float(), weights.sum(0) @ torch.arange(columns).float())
        assert told == pytest.approx((min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)), abs=1e-3)


def test_what_moves_is_matched_where_the_window_tells_where_it_went():
    still, told = patch_matches(window(2), PATCH), patch_matches(window(2, times=(0, 1)), PATCH)
    assert told.known.sum() > still.known.sum()


def test_a_view_that_sees_nearer_hides_the_point():
    truth = window(2)
    hidden = replace(truth, depth=truth.depth * torch.tensor([1.0, 0.5])[None, :, None, None])
    assert patch_matches(truth, PATCH).known[0, 0, :, 1].any()
    assert not patch_matches(hidden, PATCH).known[0, 0, :, 1].any()


def test_the_loss_is_zero_for_attention_that_looks_where_it_should():
    matches = patch_matches(window(2), PATCH)
    loss = MatchingLoss(weight=1.0)
    perfect = matches.weights.clamp(min=1e-20).log()
    assert loss([perfect], matches)["match"].item() == pytest.approx(0, abs=1e-5)
    assert loss([perfect], matches)["match_right"] == 1
    assert loss([torch.zeros_like(perfect)], matches)["match"] > 1


def test_teaching_reaches_the_named_head_alone():
    network = VDPMNetwork(NETWORK)
    initialise(network, 0)
    task = vdpm_task(VDPMLoss(matching=MatchingLoss(weight=1.0, blocks=(2,), head=1)))
    losses = task(network, window(2, times=(0,)), request())
    assert losses["match"] > 0
    plain = vdpm_task(VDPMLoss())(network, window(2, times=(0,)), request())
    difference = losses["loss"] - plain["loss"]
    assert difference.item() == pytest.approx(losses["match"].item(), abs=1e-5)
    (gradient,) = torch.autograd.grad(difference, network.aggregator.global_blocks[2].attn.qkv.weight)
    queries, keys, values = gradient.chunk(3)
    assert queries[8:].abs().sum() > 0
    assert keys[8:].abs().sum() > 0
    assert torch.stack([queries[:8], keys[:8], values[8:]]).abs().max() < 1e-6


def test_scores_are_what_attention_looks_by():
    network = VDPMNetwork(NETWORK)
    initialise(network, 0)
    attention = network.aggregator.global_blocks[1].attn
    outputs = []
    attention.proj.register_forward_pre_hook(lambda module, given: outputs.append(given[0]))
    with between_frames(network, (1,), 2) as found:
        network(window(2).images, torch.zeros(1, 0, 1, dtype=torch.int64))
    ((seen),) = found
    values = seen.attention.qkv(seen.tokens).chunk(3, dim=-1)[2][..., :8]
    looked = seen.attention.scores(seen.tokens, seen.table, 0).softmax(-1) @ values
    assert torch.allclose(looked, outputs[0][..., :8], atol=1e-6)
    assert seen.scores(0).shape == (1, 2, 20, 2, 20)


def test_a_block_that_is_not_there_is_named():
    with pytest.raises(DpmError, match="positions of the 4 blocks"), between_frames(VDPMNetwork(NETWORK), (4,), 2):
        pass
