# SPDX-License-Identifier: Apache-2.0
"""Windows varied from a stored scene: what they say of the world is what the scene says."""

import pytest
import torch

from training.recipes.stored import Stored, known_scenes, make, read
from training.recipes.vary import VaryConfig, mirrored, vary
from training.synthetic import SyntheticConfig, SyntheticScenes

SIZE = (36, 48)
STILL = VaryConfig(*SIZE, zoom=(1, 1), turn=0, shake=0, mirror=0, reverse=0, colour=0)


@pytest.fixture(scope="module")
def scenes():
    return SyntheticScenes(SyntheticConfig(*SIZE, frames=3, period=(0.2, 0.3), still_world=0.0), 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, scenes):
    folder = tmp_path_factory.mktemp("scenes")
    make(scenes, folder, range(2))
    return folder


@pytest.fixture(scope="module")
def stored(folder, scenes):
    return read(make(scenes, folder, [1])[0])


@pytest.fixture(scope="module")
def truth(scenes):
    return scenes.window([1])


def wall(frames=2, size=(40, 60), depth=2.0):
    """A wall across the view, painted with its own coordinates: colour is (x + 2, y + 2) / 4 of the world's metres."""
    H, W = size
    K = torch.tensor([[40.0, 0, 29.5], [0, 40, 19.5], [0, 0, 1]])
    poses = torch.eye(4).repeat(frames, 1, 1)
    poses[:, 0, 3] = 0.1 * torch.arange(frames)
    v, u = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    images = []
    for pose in poses:
        x, y = (u - 29.5) / 40 * depth + pose[0, 3], (v - 19.5) / 40 * depth
        images.append(torch.stack([(x + 2) / 4, (y + 2) / 4, torch.full_like(x, 0.5)]))
    still = torch.zeros(frames, frames, H, W, 3)
    dynamic = torch.zeros(frames, H, W, dtype=torch.bool)
    pixels = (torch.stack(images) * 255).round().to(torch.uint8)
    return Stored(pixels, torch.full((frames, H, W), depth), dynamic, still, K.expand(frames, 3, 3), poses)


def test_a_stored_scene_is_the_scene(stored, truth):
    assert (stored.images / 255 - truth.images[0]).abs().max() < 0.003
    assert torch.allclose(stored.depth, truth.depth[0], rtol=1e-3)
    own, _ = truth.own_points()
    moving = truth.dynamic[0]
    travel = (truth.points[0] - own[0])[:, moving]
    assert (stored.travel[:, moving] - travel).abs().max() < 2e-3 * travel.abs().max() + 1e-4


def test_scenes_that_are_there_are_not_made_again(folder, scenes):
    paths = make(scenes, folder, range(2))
    before = [path.stat().st_mtime_ns for path in paths]
    assert [path.stat().st_mtime_ns for path in make(scenes, folder, range(2))] == before


def test_a_window_not_varied_is_the_scene_seen_through_a_centred_lens(stored):
    window = vary(stored, 3, (2,), STILL, 0)
    centre = (stored.intrinsics[:, :2, 2] - window.intrinsics[0, :, :2, 2]).abs()
    assert torch.equal(window.world_from_camera[0], stored.world_from_camera)
    assert (centre <= 0.05 * SIZE[1]).all()
    seen = window.depth[0] > 0
    assert seen.float().mean() > 0.5 * (stored.depth > 0).float().mean()


@pytest.mark.parametrize("seed", range(6))
def test_points_and_colours_of_turned_mirrored_and_zoomed_views_agree(seed):
    """The wall's paint tells where it is, so every pixel's colour must be that of the point said to be there."""
    config = VaryConfig(28, 42, zoom=(0.8, 1.2), turn=5, shake=5, colour=0)
    window = vary(wall(), 2, (0,), config, seed)
    own, valid = window.own_points()
    flipped = window.intrinsics.new_tensor([1.0, 1.0, 1.0])
    painted = window.images[0].movedim(1, -1)[..., :2] * 4 - 2
    mirror = (painted[..., 0] - own[0, ..., 0])[valid[0]].abs().mean() > 0.2
    if mirror:
        flipped[0] = -1
    apart = (painted - (own[0] * flipped)[..., :2])[valid[0]].abs()
    assert valid.float().mean() > 0.5
    assert apart.max() < 0.08  # a stored pixel is 0.05 wide


def test_the_same_seed_gives_the_same_window_and_another_another(stored):
    config = VaryConfig(28, 42)
    one, again, other = (vary(stored, 2, (1,), config, seed) for seed in (3, 3, 4))
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.points, again.points)
    assert not torch.equal(one.images, other.images)


def test_what_moves_is_at_the_asked_time_where_the_scene_says(stored, truth):
    window = vary(stored, 3, (0,), STILL, 0)
    own, _ = window.own_points()
    travel = (window.points[:, 0] - own)[0].norm(dim=-1)
    assert travel[~window.dynamic[0]].max() == 0
    expected = (truth.points[0, 0] - truth.own_points()[0][0]).norm(dim=-1)
    assert travel.max() == pytest.approx(float(expected[truth.dynamic[0]].max()), rel=0.05)


def test_the_mirrored_world_has_proper_rotations_and_mirrored_points(stored):
    travel, intrinsics, poses = mirrored(stored.travel, stored.intrinsics, stored.world_from_camera, SIZE[1])
    assert torch.allclose(torch.linalg.det(poses[:, :3, :3]), torch.ones(3), atol=1e-5)
    ray = torch.tensor([0.3, -0.2, 1.0])
    there = stored.world_from_camera[:, :3, :3] @ ray + stored.world_from_camera[:, :3, 3]
    flip = torch.tensor([-1.0, 1.0, 1.0])
    assert torch.allclose(poses[:, :3, :3] @ (ray * flip) + poses[:, :3, 3], there * flip, atol=1e-5)
    assert torch.equal(travel[..., 0], -stored.travel[..., 0])
    assert torch.allclose(intrinsics[:, 0, 2] + stored.intrinsics[:, 0, 2], torch.full((3,), SIZE[1] - 1.0))


def test_scenes_become_known_with_examples_never_with_time():
    assert [known_scenes(examples, 10, 4.0, 14) for examples in (0, 3, 4, 15, 16, 999)] == [10, 10, 11, 13, 14, 14]
