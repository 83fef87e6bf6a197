# SPDX-License-Identifier: Apache-2.0
"""The shortcuts of tracing lose nothing."""

import pytest
import torch

from training.synthetic import shapes
from training.synthetic.compose import compose
from training.synthetic.config import SyntheticConfig
from training.synthetic.draws import scene_seeds
from training.synthetic.render import look_at, tile_bundles
from training.synthetic.scene import TERRAIN
from training.synthetic.surroundings import nearest_surroundings
from training.synthetic.trace import NOTHING, Bundles, candidates, nearest_part

CONFIG = SyntheticConfig(height=40, width=56, frames=2)


@pytest.fixture(scope="module")
def view():
    return look_at(compose(scene_seeds(5, torch.arange(10)), CONFIG), CONFIG.height, CONFIG.width)


def test_a_limit_hides_what_is_beyond_it_and_nothing_else(view):
    """Against tracing to the end of the world and comparing afterwards."""
    bundles = tile_bundles(view)
    around, _ = nearest_surroundings(bundles, view.scenes.surroundings)
    limit = around.clamp(max=4.0)
    everything, every_part = nearest_part(bundles, view.scenes.parts, view.posed, torch.full_like(limit, torch.inf))
    found, part = nearest_part(bundles, view.scenes.parts, view.posed, limit)
    expected = torch.where(everything < limit, everything, limit)
    agree = (found - expected).abs() <= 1e-9 * expected
    # A ray that grazes a bent body may be lost or found by the last digit of where its steps begin.
    assert agree.double().mean() > 0.9999
    assert torch.equal(part[agree], torch.where(everything < limit, every_part, NOTHING)[agree])
    assert 0.05 < (part != NOTHING).double().mean() < (every_part != NOTHING).double().mean()


def test_every_part_that_is_met_was_a_candidate(view):
    bundles = tile_bundles(view)
    limit = torch.full_like(bundles.direction[:, 0], torch.inf)
    parts = view.scenes.parts
    everyone = torch.arange(parts.kind.shape[1])
    near = candidates(bundles, parts, view.posed, everyone, limit)
    alone = [
        Bundles(bundles.origin, bundles.direction[..., i : i + 1], bundles.instant, bundles.scene) for i in (0, 63)
    ]
    for rays, place in zip(alone, (0, 63), strict=True):
        # Bundles of one ray are narrow: what they meet is met whatever the tile's other rays do.
        _, part = nearest_part(rays, parts, view.posed, limit[:, place : place + 1])
        met = (part[:, 0] >= 0).nonzero()[:, 0]
        assert len(met) > 100
        assert near[met, part[met, 0]].all()


def test_the_distance_to_a_superquadric_is_that_to_the_plane_behind_which_it_lies():
    generator = torch.Generator().manual_seed(2)
    p = torch.randn(3, 500, generator=generator, dtype=torch.float64).requires_grad_()
    size = 0.3 + torch.rand(3, 500, generator=generator, dtype=torch.float64)
    across, up = 1.2 + 6 * torch.rand(2, 500, generator=generator, dtype=torch.float64)
    u, v, w = (p / size).abs().unbind(0)
    g = ((u**across + v**across) ** (up / across) + w**up) ** (1 / up)
    (gradient,) = torch.autograd.grad(g.sum(), p)
    expected = (g - 1) / gradient.norm(dim=0)
    with torch.no_grad():
        found = shapes.superquadric_distance(p.unbind(0), size.unbind(0), (across, up))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_hills_are_met_where_a_ray_first_goes_under_them():
    """Against the heights of many even samples of each ray."""
    scenes = compose(scene_seeds(3, torch.arange(4)), SyntheticConfig(16, 24, 1, rooms=0.0, open_ground=0.0))
    assert (scenes.surroundings.kind == TERRAIN).all()
    bundles = tile_bundles(look_at(scenes, 16, 24))
    found, _ = nearest_surroundings(bundles, scenes.surroundings)
    around = scenes.surroundings
    flat = bundles.direction[:, :2].norm(dim=1)
    reach = (around.far[bundles.scene, None] / flat)[..., None]
    s = reach * torch.linspace(0, 1, 3001, dtype=torch.float64)
    x, y, z = (bundles.origin[:, i, :, None] + s * bundles.direction[:, i, :, None] for i in range(3))
    ground = torch.zeros_like(z)
    for i in range(around.height.shape[1]):
        wave, height, phase = (v[bundles.scene, i] for v in (around.wave, around.height, around.phase))
        turn = wave[:, 0, None, None] * x + wave[:, 1, None, None] * y + phase[:, None, None]
        ground += height[:, None, None] * turn.sin()
    under = z < ground
    first = s.gather(-1, under.to(torch.uint8).argmax(-1, keepdim=True))[..., 0]
    expected = torch.where(under.any(-1), first, torch.inf)
    agree = ((found - expected).abs() <= 1.01 * s[..., 1]) | (found.isinf() & expected.isinf())
    assert agree.double().mean() > 0.997
    assert 0.2 < found.isfinite().double().mean() < 0.95
