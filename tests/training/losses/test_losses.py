# SPDX-License-Identifier: Apache-2.0
"""Each loss against the paper's formula, written out pixel by pixel in NumPy, on random input with invalid pixels."""

import math

import numpy as np
import pytest
import torch

from dpm_core.models.trunk import PointMaps
from dpm_core.models.vdpm import WindowMaps
from training.losses import (
    D2USt3RLoss,
    PairMaps,
    PairTruth,
    PomatoPairLoss,
    PomatoTemporalLoss,
    PomatoTemporalTruth,
    PomatoTruth,
    VDPMLoss,
    dynamic_mask_loss,
    flow_sequence_loss,
    mixture_of_laplace_loss,
)
from training.records import Window

B, H, W = 3, 5, 6


@pytest.fixture
def random():
    return np.random.default_rng(7)


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def pixels(mask):
    return list(zip(*np.nonzero(mask), strict=True))


def norm(maps):
    """D²USt3R eq. 2."""
    distances = [np.linalg.norm(points[i]) for points, valid in maps for i in pixels(valid)]
    return sum(distances) / len(distances) if distances else 1.0


def rotation(random):
    q, _ = np.linalg.qr(random.standard_normal((3, 3)))
    return q * np.sign(np.linalg.det(q))


def poses(random, *shape):
    result = np.tile(np.eye(4), (*shape, 1, 1))
    for index in np.ndindex(*shape):
        result[(*index, slice(3), slice(3))] = rotation(random)
        result[(*index, slice(3), 3)] = random.uniform(-1, 1, 3)
    return result


def quaternion(R):
    """xyzw, w >= 0, by the trace where it is safe and by the eigenvector of 1 elsewhere: the definition, not speed."""
    angle = math.acos(np.clip((np.trace(R) - 1) / 2, -1, 1))
    values, vectors = np.linalg.eig(R)
    axis = np.real(vectors[:, np.argmin(abs(values - 1))])
    turn = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    axis = axis * (1 if axis @ turn >= 0 else -1)
    return np.array([*axis * math.sin(angle / 2), math.cos(angle / 2)])


class TestVDPM:
    S, T = 3, 2

    @pytest.fixture
    def batch(self, random):
        S, T = self.S, self.T
        world_from_camera = poses(random, B, S)
        world_from_camera[:, 1] = np.eye(4)
        K = np.tile(np.array([[5.0, 0, 2.5], [0, 4.5, 2], [0, 0, 1]]), (B, S, 1, 1))
        depth = random.uniform(0.5, 3, (B, S, H, W)) * (random.random((B, S, H, W)) > 0.3)
        valid = random.random((B, T, S, H, W)) > 0.4
        valid[2] = False  # an example that says nothing about other times
        points = random.standard_normal((B, T, S, H, W, 3)) * valid[..., None]
        truth = Window(*tensors(np.zeros((B, S, 3, H, W)), K, world_from_camera, depth, points, valid), times=(0, 2))
        own = PointMaps(*tensors(random.standard_normal((B, S, H, W, 3)), 1 + random.random((B, S, H, W))))
        moved = PointMaps(*tensors(random.standard_normal((B, T, S, H, W, 3)), 1 + random.random((B, T, S, H, W))))
        return WindowMaps(own, moved, torch.from_numpy(random.standard_normal((4, B, S, 9)))), truth

    def literal(self, maps, truth):
        losses = []
        for b in range(B):
            K, pose, depth = (t[b].numpy() for t in (truth.intrinsics, truth.world_from_camera, truth.depth))
            own_truth = np.zeros((self.S, H, W, 3))
            for s, v, u in pixels(depth > 0):
                ray = np.linalg.inv(K[s]) @ [u, v, 1]
                own_truth[s, v, u] = pose[s, :3, :3] @ (ray * depth[s, v, u]) + pose[s, :3, 3]
            z = norm([(own_truth, depth > 0)])
            example = 0
            for predicted, target, valid in [
                (maps.own, own_truth, depth > 0),
                (maps.at_targets, truth.points[b].numpy(), truth.valid[b].numpy()),
            ]:
                points, conf = predicted.points[b].numpy(), predicted.conf[b].numpy()
                terms = [
                    conf[i] * np.linalg.norm(points[i] - target[i] / z) - 0.2 * math.log(conf[i]) for i in pixels(valid)
                ]
                example += sum(terms) / len(terms) if terms else 0
            camera = 0
            for i in range(4):
                for s in range(self.S):
                    R = pose[s, :3, :3].T
                    t = -R @ pose[s, :3, 3] / z
                    fov = [2 * math.atan(H / 2 / K[s, 1, 1]), 2 * math.atan(W / 2 / K[s, 0, 0])]
                    p = maps.pose_encodings[i, b, s].numpy()
                    parts = abs(p[:3] - t).mean() + abs(p[3:7] - quaternion(R)).mean() + 0.5 * abs(p[7:] - fov).mean()
                    camera += 0.6 ** (3 - i) * parts / 4 / self.S
            losses.append(example + 5 * camera)
        return sum(losses) / B

    def test_equals_the_formula(self, batch):
        torch.testing.assert_close(VDPMLoss()(*batch)["loss"].item(), self.literal(*batch), rtol=1e-9, atol=1e-9)

    def test_is_the_mean_of_the_examples_alone(self, batch):
        """One with few annotated pixels counts as much as one with many."""
        maps, truth = batch
        alone = []
        for b in range(B):
            one = slice(b, b + 1)
            part = WindowMaps(
                PointMaps(maps.own.points[one], maps.own.conf[one]),
                PointMaps(maps.at_targets.points[one], maps.at_targets.conf[one]),
                maps.pose_encodings[:, one],
            )
            alone.append(VDPMLoss()(part, truth.map(lambda tensor, one=one: tensor[one]))["loss"])
        torch.testing.assert_close(VDPMLoss()(maps, truth)["loss"], torch.stack(alone).mean())

    def test_invalid_pixels_give_no_gradient(self, batch):
        maps, truth = batch
        points = maps.at_targets.points.clone()
        points[~truth.valid] = torch.nan
        points.requires_grad_()
        VDPMLoss()(maps._replace(at_targets=PointMaps(points, maps.at_targets.conf)), truth)["loss"].backward()
        assert points.grad[~truth.valid].eq(0).all()
        assert points.grad[truth.valid].isfinite().all()


def pair(random):
    shape = (B, H, W)
    maps = PairMaps(
        *tensors(
            random.standard_normal((*shape, 3)),
            1 + random.random(shape),
            random.standard_normal((*shape, 3)),
            1 + random.random(shape),
        )
    )
    masks = [random.random(shape) > share for share in (0.3, 0.3, 0.6, 0.4)]
    points = [random.standard_normal((*shape, 3)) for _ in range(3)]
    names = ("points_1", "valid_1", "points_2", "valid_2", "dynamic_2", "aligned_2", "aligned_valid_2")
    values = (points[0], masks[0], points[1], masks[1], masks[2], points[2], masks[3])
    return maps, PairTruth(**dict(zip(names, tensors(*values), strict=True)))


def literal_order(maps, truth, b):
    """Eq. 6, 7 and one sum of eq. 8 of one example; each sum over D¹ or D² divided by its pixels."""
    X1, C1, X2, C2 = (getattr(maps, name)[b].numpy() for name in ("points_1", "conf_1", "points_2", "conf_2"))
    G1, D1, G2, D2, M_dyn, aligned, seen = (getattr(truth, name)[b].numpy() for name in truth.__dataclass_fields__)
    z, z_true = norm([(X1, D1), (X2, D2)]), norm([(G1, D1), (G2, D2)])
    static = 0
    for X, C, G, D, M in [(X1, C1, G1, D1, np.zeros_like(M_dyn)), (X2, C2, G2, D2, M_dyn)]:
        terms = [C[i] * (1 - M[i]) * np.linalg.norm(X[i] / z - G[i] / z_true) - 0.2 * math.log(C[i]) for i in pixels(D)]
        static += sum(terms) / len(terms)
    terms = [
        M_dyn[i] * seen[i] * C2[i] * np.linalg.norm(aligned[i] / z_true - X2[i] / z) if M_dyn[i] else 0.0
        for i in pixels(D2)
    ]
    return static, sum(terms) / len(terms)


def test_d2ust3r_equals_the_formula(random):
    orders, truths = zip(pair(random), pair(random), strict=True)
    literal = np.array([[literal_order(m, t, b) for b in range(B)] for m, t in zip(orders, truths, strict=True)])
    static, dynamic = literal.sum(0).mean(0)
    found = D2USt3RLoss()(orders, truths)
    torch.testing.assert_close(found["static"].item(), static, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found["dynamic"].item(), dynamic, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found["loss"].item(), static + dynamic, rtol=1e-10, atol=1e-10)


def test_mask_loss_equals_eq_10(random):
    logit, dynamic, known = random.standard_normal((B, H, W)), random.random((B, H, W)) > 0.5, np.ones((B, H, W), bool)
    p = 1 / (1 + np.exp(-logit))
    expected = -np.mean(dynamic * np.log(p) + (1 - dynamic) * np.log(1 - p))
    found = dynamic_mask_loss(*tensors(logit, dynamic, known))
    torch.testing.assert_close(found.item(), expected, rtol=1e-10, atol=1e-10)


def literal_laplace(flow, mixture, truth, valid):
    examples = []
    for b in range(B):
        terms = []
        for i in pixels(valid[b]):
            a = 1 / (1 + math.exp(-mixture[b][i][0]))
            scale = math.exp(min(max(mixture[b][i][1], 0), 10))
            for x in abs(flow[b][i] - truth[b][i]):
                terms.append(-math.log(a * math.exp(-x) / 2 + (1 - a) * math.exp(-x / scale) / (2 * scale)))
        examples.append(sum(terms) / len(terms))
    return sum(examples) / B


def test_mixture_of_laplace_equals_the_formula(random):
    flow, mixture, truth = (3 * random.standard_normal((B, H, W, 2)) for _ in range(3))
    valid = random.random((B, H, W)) > 0.3
    found = mixture_of_laplace_loss(*tensors(flow, mixture, truth, valid))
    torch.testing.assert_close(found.item(), literal_laplace(flow, mixture, truth, valid), rtol=1e-10, atol=1e-10)


def test_mixture_of_laplace_bears_large_errors():
    flow = torch.full((1, 2, 2, 2), 1e6, requires_grad=True)
    mixture = torch.zeros(1, 2, 2, 2, requires_grad=True)
    loss = mixture_of_laplace_loss(flow, mixture, torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite()
    assert flow.grad.isfinite().all()


def test_later_refinements_count_more(random):
    flows, mixtures = (tensors(*(random.standard_normal((B, H, W, 2)) for _ in range(3))) for _ in range(2))
    truth, valid = tensors(random.standard_normal((B, H, W, 2)), random.random((B, H, W)) > 0.3)
    single = [mixture_of_laplace_loss(f, m, truth, valid) for f, m in zip(flows, mixtures, strict=True)]
    expected = 0.85**2 * single[0] + 0.85 * single[1] + single[2]
    torch.testing.assert_close(flow_sequence_loss(flows, mixtures, truth, valid), expected)


def literal_part(X, C, G, D, scale_maps, b):
    z, z_true = (norm([(points[b].numpy(), valid[b].numpy()) for points, valid in maps]) for maps in scale_maps)
    X, C, G, D = (t[b].numpy() for t in (X, C, G, D))
    terms = [C[i] * np.linalg.norm(X[i] / z - G[i] / z_true) - 0.2 * math.log(C[i]) for i in pixels(D)]
    return sum(terms) / len(terms)


def test_pomato_pair_equals_three_confidence_losses(random):
    points = tensors(*(random.standard_normal((B, H, W, 3)) for _ in range(3)))
    confs = tensors(*(1 + random.random((B, H, W)) for _ in range(3)))
    targets = tensors(*(random.standard_normal((B, H, W, 3)) for _ in range(3)))
    masks = tensors(*(random.random((B, H, W)) > 0.3 for _ in range(3)))
    truth = PomatoTruth(*(value for both in zip(targets, masks, strict=True) for value in both))
    scales = [list(zip(maps[:2], masks[:2], strict=True)) for maps in (points, targets)]
    expected = [
        np.mean([literal_part(points[k], confs[k], targets[k], masks[k], scales, b) for b in range(B)])
        for k in range(3)
    ]
    found = PomatoPairLoss()(tuple(points), tuple(confs), truth)
    torch.testing.assert_close(
        [found[name].item() for name in ("points_1", "points_2", "matching")], expected, rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(found["loss"].item(), sum(expected), rtol=1e-10, atol=1e-10)


def test_pomato_temporal_has_one_scale_a_clip(random):
    T = 4
    points = tensors(*(random.standard_normal((B, T, H, W, 3)) for _ in range(3)))
    confs = tensors(*(1 + random.random((B, T, H, W)) for _ in range(3)))
    targets = tensors(*(random.standard_normal((B, T, H, W, 3)) for _ in range(3)))
    masks = tensors(*(random.random((B, T, H, W)) > 0.3 for _ in range(3)))
    truth = PomatoTemporalTruth(*(value for both in zip(targets, masks, strict=True) for value in both))
    expected = []
    for k in range(3):
        scales = [[(maps[k], masks[k])] for maps in (points, targets)]
        expected.append(np.mean([literal_part(points[k], confs[k], targets[k], masks[k], scales, b) for b in range(B)]))
    found = PomatoTemporalLoss()(tuple(points), tuple(confs), truth)
    torch.testing.assert_close(found["loss"].item(), sum(expected), rtol=1e-10, atol=1e-10)
    rescaled = PomatoTemporalLoss()(tuple(7 * p for p in points), tuple(confs), truth)
    torch.testing.assert_close(rescaled["loss"], found["loss"])
