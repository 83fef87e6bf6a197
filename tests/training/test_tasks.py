# SPDX-License-Identifier: Apache-2.0
"""Each task against a network that knows the truth: its loss is zero, and grows with any error."""

from dataclasses import replace

import pytest
import torch
from random_windows import wall
from torch import nn

from dpm_core.errors import DpmError
from dpm_core.geometry.cameras import inverse_rigid
from dpm_core.geometry.pose_encoding import encode_pose
from dpm_core.models import (
    CrocoConfig,
    D2USt3RNetwork,
    PairDptConfig,
    PairOutput,
    PointMaps,
    POMATOConfig,
    POMATONetwork,
    WindowMaps,
)
from dpm_core.models.pair_config import D2USt3RConfig, FlowHeadConfig, TemporalConfig
from training.adapters import called
from training.losses import D2USt3RLoss, PomatoPairLoss, PomatoTemporalLoss, VDPMLoss, mean_distance
from training.records import collate
from training.runs import find_run
from training.sampling import Mixture, Part, Sampler
from training.state import freeze
from training.tasks import task_of

SIZE = (32, 32)


def windows(length, times, reference="first"):
    mixture = Mixture((Part("walls", 10),), ((length, 2),), (1, 1), reference, times, "")
    request = next(iter(Sampler(mixture, 0)))
    return collate([wall(example.seed, request, SIZE) for example in request.examples]), request


def points_in(window, view, time, camera):
    """P[view, time] in a camera: [B, H, W, 3]."""
    return window.in_camera(camera).points[:, window.times.index(time), view]


class Truth(nn.Module):
    """Answers with the truth and a confidence of 1, `error` apart."""

    def __init__(self, window, answer, error=0.0):
        super().__init__()
        self.window, self.answer, self.error = window, answer, error

    def forward(self, *inputs):
        return self.answer(self.window, self.error, *inputs)


def answer_window(window, error, images, targets, reference):
    local = window.in_camera(reference)
    own, valid = local.own_points()
    scale = mean_distance([(own, valid)])
    points = local.points / scale.view(-1, 1, 1, 1, 1, 1)
    poses = inverse_rigid(local.world_from_camera)
    poses[..., :3, 3] /= scale.view(-1, 1, 1)
    encoding = encode_pose(poses, local.intrinsics, SIZE)
    assert targets.tolist() == [[[t] for t in window.times]] * len(images)
    own = own / scale.view(-1, 1, 1, 1, 1)
    one = torch.ones(points.shape[:-1])
    return WindowMaps(PointMaps(own + error, one[:, 0]), PointMaps(points + error, one), encoding[None] + error)


def answer_pairs(window, error, first, second):
    """In any unit: pair networks have their own."""
    rows = []
    for one, two in ((0, 1), (1, 0)):
        rows.append(
            [points_in(window, one, one, one), points_in(window, two, two, one), points_in(window, two, one, one)]
        )
    points = [2 * torch.cat([order[k] for order in rows]) + error for k in range(3)]
    conf = torch.ones(points[0].shape[:-1])
    return PairOutput(points[0], conf, points[1], conf, points[2], conf)


def answer_moving_pairs(window, error, first, second):
    """D²USt3R's second map is at the first view's time where something moves."""
    truth = answer_pairs(window, error, first, second)
    return PairOutput(truth.points_1, truth.conf_1, truth.matched_2, truth.conf_2)


def answer_clip(window, error, first, second):
    T = window.images.shape[1]
    junk = torch.full((3 * len(window.images) * T, *SIZE, 3), 99.0)
    depth, recon, tracks = (junk.clone().unflatten(0, (3, -1, T)) for _ in range(3))
    for t in range(T):
        depth[0, :, t] = 2 * points_in(window, t, t, t) + error
        recon[1, :, t] = 3 * points_in(window, t, t, T - 1) + error
        tracks[2, :, t] = 5 * points_in(window, 0, t, t) + error
    images = window.images
    for mode, (one, two) in enumerate(((None, None), (T - 1, None), (None, 0))):
        for stream, key in ((first, one), (second, two)):
            seen = stream.unflatten(0, (3, -1, T))[mode]
            assert torch.equal(seen, images if key is None else images[:, key : key + 1].expand_as(images))
    conf = torch.ones(junk.shape[:-1])
    return PairOutput(depth.flatten(0, 2), conf, recon.flatten(0, 2), conf, tracks.flatten(0, 2), conf)


@pytest.mark.parametrize(
    ("loss", "answer", "length", "times", "reference"),
    [
        (VDPMLoss(), answer_window, 5, "one", "central"),
        (PomatoPairLoss(), answer_pairs, 2, "all", "first"),
        (PomatoTemporalLoss(), answer_clip, 4, "all", "first"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, (str, int)) and not callable(value) else None,
)
def test_the_truth_costs_nothing(loss, answer, length, times, reference):
    window, request = windows(length, times, reference)
    found = task_of(loss)(Truth(window, answer), window, request)
    assert found["loss"].item() == pytest.approx(0, abs=1e-5)
    assert task_of(loss)(Truth(window, answer, 0.1), window, request)["loss"] > 0.03


def test_d2ust3r_wants_moving_pixels_at_the_first_time():
    window, request = windows(2, "all")
    moving = torch.zeros(len(window.images), 2, *SIZE, dtype=torch.bool)
    moving[..., SIZE[1] // 2 :] = True
    window = replace(window, dynamic=moving)
    found = task_of(D2USt3RLoss())(Truth(window, answer_moving_pairs), window, request)
    # The two maps of a pair share one scale, which the moved pixels shift a little (eq. 2).
    assert found["loss"].item() == pytest.approx(0, abs=0.03)
    assert found["loss"] < 0.3 * task_of(D2USt3RLoss())(Truth(window, answer_pairs), window, request)["loss"]


@pytest.mark.parametrize("temporal", [None, TemporalConfig(frames=3, heads=2, groups=4)])
def test_gradients_reach_pomato(temporal):
    croco = CrocoConfig(dim=32, depth=1, heads=2, decoder_dim=32, decoder_depth=4, decoder_heads=2)
    head = PairDptConfig(taps=(0, 1, 2, 4), channels=(8, 8, 8, 8), features=8, last=8, temporal=temporal)
    torch.manual_seed(0)
    network = POMATONetwork(POMATOConfig(croco, head))
    loss = PomatoPairLoss() if temporal is None else PomatoTemporalLoss()
    window, request = windows(2 if temporal is None else 3, "all")
    task_of(loss)(network, window, request)["loss"].backward()
    for name in ("patch_embed.proj.weight", "downstream_head3.dpt.head.4.weight"):
        gradient = network.get_parameter(name).grad
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", ["d2ust3r", "pomato", "pomato-12"])
def test_named_runs_of_pair_networks_train_all_that_they_do_not_freeze(name):
    config = find_run(name)
    croco = CrocoConfig(dim=32, depth=1, heads=2, decoder_dim=32, decoder_depth=4, decoder_heads=2)
    head = replace(config.network.head, taps=(0, 1, 2, 4), channels=(8, 8, 8, 8), features=8, last=8)
    if head.temporal is not None:
        head = replace(head, temporal=TemporalConfig(frames=3, heads=2, groups=4))
    kind = D2USt3RNetwork if name == "d2ust3r" else POMATONetwork
    network = kind(replace(config.network, croco=croco, head=head))
    freeze(network, config.frozen)
    window, request = windows(2 if head.temporal is None else 3, "all")
    task_of(config.loss)(called(network), window, request)["loss"].backward()
    trained = {name: p.grad is not None for name, p in network.named_parameters() if p.requires_grad}
    assert trained
    assert all(trained.values())
    assert not any(name.startswith(("enc_blocks", "patch_embed")) for name in trained)


def test_the_heads_of_d2ust3r_learn_too():
    croco = CrocoConfig(dim=32, depth=1, heads=2, decoder_dim=32, decoder_depth=4, decoder_heads=2)
    head = PairDptConfig(taps=(0, 1, 2, 4), channels=(8, 8, 8, 8), features=8, last=8)
    torch.manual_seed(0)
    sizes = FlowHeadConfig(maps=2, levels=2, radius=1, hidden=16, iterations=2)
    network = D2USt3RNetwork(D2USt3RConfig(croco, head, mask=head, flow=sizes))
    window, request = windows(2, "all")
    shape = window.valid.shape
    moving = torch.rand(shape[0], *shape[2:]) > 0.5
    flow = {"flow": torch.randn(*shape, 2), "flow_valid": torch.ones(shape, dtype=torch.bool)}
    found = task_of(D2USt3RLoss())(called(network), replace(window, dynamic=moving, **flow), request)
    assert {"mask", "flow"} <= set(found)
    found["loss"].backward()
    for part in (network.mask_head2, network.flow_head):
        grads = {name: p.grad for name, p in part.named_parameters()}
        dead = {name for name, grad in grads.items() if grad is None or not grad.isfinite().all()}
        assert not {name for name in dead if ".refinenet4.resConfUnit1." not in name}
    # Without truth of motion, the point maps alone.
    assert not {"mask", "flow"} & set(task_of(D2USt3RLoss())(called(network), window, request))


def test_a_loss_without_a_task_is_named():
    with pytest.raises(DpmError, match="nothing is trained with int; known are VDPMLoss"):
        task_of(3)
