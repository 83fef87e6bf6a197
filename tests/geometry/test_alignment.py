# SPDX-License-Identifier: Apache-2.0
"""Global alignment of a known scene: it comes back, and what cannot be aligned is named."""

import math

import pytest
import torch

from dpm_core.geometry.alignment import (
    DUST3R_ALIGNMENT,
    MONST3R_ALIGNMENT,
    POMATO_ALIGNMENT,
    AlignmentConfig,
    align,
    matched_flow,
    measured_flow,
)
from dpm_core.geometry.alignment.flow import consistent, ego_flow
from dpm_core.geometry.alignment.losses import flow_loss
from dpm_core.geometry.alignment.masks import matching_frame_masks, matching_pair_masks
from dpm_core.geometry.cameras import camera_matrix, inverse_rigid, rigid, transform, unproject
from dpm_core.geometry.pairs import PairMaps, complete_edges, sliding_edges, symmetrised
from dpm_core.geometry.rotations import rotation_from_quaternion

SIZE = HEIGHT, WIDTH = 20, 28
IMAGES = 4
K = camera_matrix(torch.tensor([30.0]), torch.tensor([WIDTH / 2, HEIGHT / 2]))


def pose(index):
    turn = torch.tensor([0.03 * index, -0.05 * index, 0.02 * index, 1.0])
    return rigid(rotation_from_quaternion(turn), torch.tensor([0.2 * index, -0.05 * index, 0.1 * index]))


def depth(index):
    v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return 3 + torch.sin(0.4 * u + index) * torch.cos(0.3 * v)


def pairs(edges, noise=0.0, moved=None):
    """Perfect pairs, each in a unit of its own, with a little noise."""
    random = torch.Generator().manual_seed(0)

    def seen(view, camera, unit, shift=0.0):
        world = transform(pose(view), unproject(depth(view), K)) + shift
        points = unit * transform(inverse_rigid(pose(camera)), world)
        return points + noise * torch.randn(points.shape, generator=random)

    units = [math.exp(math.sin(5 * i + 2 * j)) for i, j in edges]
    own = [seen(i, i, unit) for (i, _), unit in zip(edges, units, strict=True)]
    other = [seen(j, i, unit) for (i, j), unit in zip(edges, units, strict=True)]
    conf = torch.full((len(edges), *SIZE), 4.0)
    maps = (torch.stack(own), conf, torch.stack(other), conf)
    if moved is None:
        return PairMaps(edges, *maps)
    matched = [seen(j, i, unit, moved) for (i, j), unit in zip(edges, units, strict=True)]
    return PairMaps(edges, *maps, torch.stack(matched), conf)


def expect_the_scene(alignment, tolerance):
    """Up to the gauge: relative poses, with one unit for all."""
    found = inverse_rigid(alignment.world_from_camera[:1]) @ alignment.world_from_camera
    truth = torch.stack([inverse_rigid(pose(0)) @ pose(index) for index in range(IMAGES)])
    unit = float(alignment.depth[0].median() / depth(0).median())
    torch.testing.assert_close(found[:, :3, :3], truth[:, :3, :3], atol=tolerance, rtol=0)
    torch.testing.assert_close(found[:, :3, 3] / unit, truth[:, :3, 3], atol=tolerance, rtol=0)
    true_depth = torch.stack([depth(index) for index in range(IMAGES)])
    torch.testing.assert_close(alignment.depth / unit, true_depth, atol=3 * tolerance, rtol=0)
    torch.testing.assert_close(alignment.intrinsics, K.expand(IMAGES, 3, 3), atol=30 * tolerance, rtol=0)


def true_flows(edges):
    flows = [ego_flow(depth(i), K, K, pose(i), pose(j)) for i, j in edges]
    return torch.stack(flows)


@pytest.mark.parametrize("edges", [complete_edges(IMAGES), sliding_edges(IMAGES, 1)], ids=["complete", "chain"])
def test_the_tree_alone_finds_a_scene_that_has_no_noise(edges):
    expect_the_scene(align(pairs(symmetrised(edges)), AlignmentConfig(steps=0)), 1e-3)


def test_optimisation_mends_noise():
    noisy = pairs(symmetrised(complete_edges(IMAGES)), noise=0.02)
    before, after = (align(noisy, AlignmentConfig(steps=steps)) for steps in (1, 100))
    assert after.loss < before.loss
    expect_the_scene(after, 5e-2)


def test_flow_of_the_same_scene_does_no_harm():
    edges = symmetrised(complete_edges(IMAGES))
    maps = pairs(edges)
    flow = measured_flow(maps, true_flows(edges), torch.zeros(IMAGES, *SIZE, dtype=torch.bool))
    config = AlignmentConfig(steps=50, shared_focal=True, flow=0.01)
    expect_the_scene(align(maps, config, flow), 5e-2)


def test_published_settings_run_on_what_a_network_gave_in_inference_mode():
    with torch.inference_mode():
        maps = pairs(symmetrised(complete_edges(3)), moved=0.0)
    for config in (DUST3R_ALIGNMENT, MONST3R_ALIGNMENT, POMATO_ALIGNMENT):
        few = AlignmentConfig(steps=3, shared_focal=config.shared_focal, smoothing=config.smoothing, flow=config.flow)
        assert math.isfinite(align(maps, few, matched_flow(maps)).loss)


def test_pairs_that_do_not_connect_the_images_are_named():
    with pytest.raises(ValueError, match="connect only some of the 4 images"):
        align(pairs(symmetrised(((0, 1), (2, 3)))))


def test_flow_needs_both_directions():
    with pytest.raises(ValueError, match=r"\(1, 0\) is missing"):
        measured_flow(pairs(((0, 1),)), torch.zeros(1, *SIZE, 2), torch.zeros(2, *SIZE, dtype=torch.bool))


def test_matching_masks_need_matched_points():
    maps = pairs(symmetrised(complete_edges(2)))
    with pytest.raises(ValueError, match="no matched points"):
        matching_pair_masks(maps)
    with pytest.raises(ValueError, match=r"\(1, 2\) is missing"):
        matching_frame_masks(pairs(symmetrised(((0, 1), (0, 2))), moved=0.0))


def test_flow_that_comes_home_is_consistent_and_flow_that_leaves_is_not():
    forward = torch.zeros(1, 8, 8, 2)
    forward[..., 0] = 2.0
    good = consistent(forward, -forward)[0]
    assert good[:, :6].all()
    assert not good[:, 6:].any()
    assert not consistent(forward, forward)[0].any()


def test_flow_loss_leaves_outliers_out():
    target = torch.zeros(1, 2, 2, 2)
    predicted = target.clone()
    predicted[0, 0, 0] = 3.0
    predicted[0, 1, 1] = 1000.0
    use = torch.tensor([[[True, True], [False, True]]])
    assert flow_loss(predicted, target, use) == pytest.approx((2.5 + 2.5 + 0 + 0) / 4)
    assert flow_loss(predicted, target, torch.zeros_like(use)) == 0
