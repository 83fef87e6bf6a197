# SPDX-License-Identifier: Apache-2.0
"""What the generator says of its scenes is what is there."""

from dataclasses import replace

import pytest
import torch

from training.synthetic.compose import compose
from training.synthetic.config import SyntheticConfig
from training.synthetic.draws import scene_seeds
from training.synthetic.render import Seen, View, bundles_at, look_at, point_at, project, tile_bundles, untile
from training.synthetic.shade import surface_at, trace
from training.synthetic.shapes import BOX, ELLIPSOID, FRUSTUM, SUPERQUADRIC, TORUS
from training.synthetic.trace import NOTHING, world_points
from training.synthetic.truth import visibility, window_of

CONFIG = SyntheticConfig(height=42, width=56, frames=3)
SCENES = 14


def seen_by(view):
    """What the pixels show, without painting them."""
    bundles = tile_bundles(view)
    hits = trace(bundles, view.scenes, view.posed)
    surface = surface_at(bundles, hits, view.scenes, view.posed)

    def picture(values):
        return untile(values, view.size).unflatten(0, view.scenes.seconds.shape)

    vectors = [torch.stack([picture(x) for x in v]) for v in (surface.point, surface.rest, surface.normal)]
    return Seen(picture(hits.s), picture(hits.part), picture(hits.face), *vectors)


def scenes_seen(dtype, config=CONFIG, count=SCENES, seed=5) -> tuple[View, Seen]:
    scenes = compose(scene_seeds(seed, torch.arange(count)), config).to(dtype=dtype)
    view = look_at(scenes, config.height, config.width)
    return view, seen_by(view)


@pytest.fixture(scope="module")
def exact():
    return scenes_seen(torch.float64)


@pytest.fixture(scope="module")
def visible(exact):
    return visibility(*exact, (0, 2))


def there_and_back(view, seen, visible, times):
    """For every visible P[v, t]: from its pixel in camera t back to view v. Errors [M] pixels, kinds [M], soft [M]."""
    S = view.scenes.seconds.shape[1]
    points = point_at(view.scenes, view.posed, seen, times)
    errors, kinds, softs = [], [], []
    for place, time in enumerate(times):
        poses = view.world_from_camera[:, time, None].expand(-1, S, -1, -1)
        pixel, _ = project(points[:, place], poses, view.intrinsics)
        b, s, row, column = visible[:, place].nonzero(as_tuple=True)
        at = pixel[b, s, row, column]
        rays = bundles_at(view, at[:, :1], at[:, 1:], b * S + time)
        hits = trace(rays, view.scenes, view.posed)
        surface = surface_at(rays, hits, view.scenes, view.posed)
        part = hits.part[:, 0]
        then = torch.stack(surface.point, -1)[:, 0]
        on = part >= 0
        then[on] = world_points(tuple(x[on, 0] for x in surface.rest), view.posed, (b * S + s)[on], part[on])
        offset = then - view.world_from_camera[b, s, :3, 3]
        camera = (view.world_from_camera[b, s, :3, :3].mT @ offset[..., None])[..., 0]
        K = view.intrinsics[b]
        back = (K @ camera[..., None])[..., 0]
        back = back[:, :2] / back[:, 2:]
        errors.append((back - torch.stack([column, row], -1)).norm(dim=-1))
        kinds.append(torch.where(on, view.scenes.parts.kind[b, part.clamp_min(0)], -1))
        softs.append(on & view.scenes.parts.soft_body[b, part.clamp_min(0)])
    return torch.cat(errors), torch.cat(kinds), torch.cat(softs)


def test_points_seen_again_are_the_same_material_to_a_thousandth_of_a_pixel(exact, visible):
    errors, kinds, softs = there_and_back(*exact, visible, (0, 2))
    assert errors.max() < 1e-3
    assert {ELLIPSOID, BOX, FRUSTUM, TORUS, SUPERQUADRIC, -1} == set(kinds.tolist())
    assert softs.sum() > 100


def test_points_seen_again_are_the_same_material_to_a_twentieth_of_a_pixel_in_float32():
    view, seen = scenes_seen(torch.float32)
    errors, _, _ = there_and_back(view, seen, visibility(view, seen, (0, 2)), (0, 2))
    assert errors.max() < 0.05


def test_a_point_is_visible_where_nothing_is_nearer_in_that_cameras_picture(exact, visible):
    """Against the picture: where the four pixels about a projection agree on the surface, there is no doubt."""
    view, seen = exact
    H, W = view.size
    B, S = view.scenes.seconds.shape
    points = point_at(view.scenes, view.posed, seen, (0, 2))
    agree = doubtless = 0
    for place, time in enumerate((0, 2)):
        poses = view.world_from_camera[:, time, None].expand(-1, S, -1, -1)
        pixel, depth = project(points[:, place], poses, view.intrinsics)
        inside = (pixel > 0).all(-1) & (pixel[..., 0] < W - 1) & (pixel[..., 1] < H - 1) & (depth > 0.01)
        inside &= seen.part != NOTHING
        b = torch.arange(B)[:, None, None, None].expand_as(depth)
        x, y = (pixel[..., i].nan_to_num(0).clamp(0, n - 2).floor().long() for i, n in ((0, W), (1, H)))
        around = torch.stack([seen.depth[b, time, y + j, x + i] for j in (0, 1) for i in (0, 1)])
        same_part = torch.stack([seen.part[b, time, y + j, x + i] == seen.part for j in (0, 1) for i in (0, 1)]).all(0)
        hidden = inside & (around < 0.9 * depth).all(0)
        shown = inside & same_part & ((around - depth).abs() < 0.01 * depth).all(0)
        agree += (hidden & ~visible[:, place]).sum() + (shown & visible[:, place]).sum()
        doubtless += hidden.sum() + shown.sum()
    assert doubtless > 20_000
    assert agree / doubtless > 0.998


def test_every_pixel_sees_itself_at_its_own_time(exact):
    view, seen = exact
    own = visibility(view, seen, (1,))[:, 0, 1]
    solid = seen.part[:, 1] != NOTHING
    assert (own == solid).float().mean() > 0.9995


def test_nothing_moves_in_a_still_world_to_the_last_bit():
    view, seen = scenes_seen(torch.float32, replace(CONFIG, still_world=1.0), 6)
    window = window_of(view, torch.zeros(6, 3, 3, 42, 56), seen, (0, 1, 2), ("",) * 6)
    assert torch.equal(window.points[:, 0], window.points[:, 2])
    assert torch.equal(window.points[:, 0], window.points[:, 1])
    assert not window.dynamic.any()


def test_points_at_their_own_time_are_depth_and_camera(exact):
    view, seen = exact
    window = window_of(view, torch.zeros(SCENES, 3, 3, 42, 56), seen, (0, 1, 2), ("",) * SCENES)
    own, valid = window.own_points()
    for time in range(3):
        torch.testing.assert_close(
            window.points[:, time, time][valid[:, time]], own[:, time][valid[:, time]], rtol=1e-9, atol=1e-9
        )


def test_flow_is_where_points_project_and_what_moves_is_marked(exact):
    view, seen = exact
    window = window_of(view, torch.zeros(SCENES, 3, 3, 42, 56), seen, (2, 0), ("",) * SCENES)
    pixel, depth = project(window.points[:, 0], view.world_from_camera[:, [2, 2, 2]], view.intrinsics)
    v, u = torch.meshgrid(torch.arange(42.0), torch.arange(56.0), indexing="ij")
    known = window.flow_valid[:, 0]
    assert torch.equal(known, window.valid[:, 0] & (depth > 0.01))
    torch.testing.assert_close((torch.stack([u, v], -1) + window.flow[:, 0])[known], pixel[known])
    own = window.own_points()[0]
    far = ((window.points - own[:, None]).norm(dim=-1) > 0.006 * window.depth[:, None]).any(1)
    assert (far & ~window.dynamic & window.valid[:, 0]).sum() == 0
    assert 0.02 < window.dynamic.float().mean() < 0.6
