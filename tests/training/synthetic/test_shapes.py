# SPDX-License-Identifier: Apache-2.0
"""Rays and primitives, against brute force."""

import pytest
import torch

from training.synthetic import shapes, softness
from training.synthetic.trace import _Field, _march

RAYS = 1000
REACH = 2.0  # of a sphere that holds every case, bent or not


def inside(kind, p, size, exponents):
    """Whether points are within, straight from the definitions. p: [..., 3]."""
    x, y, z = p.unbind(-1)
    a, b, c = size
    if kind == shapes.ELLIPSOID:
        return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1
    if kind == shapes.BOX:
        return (x.abs() < a) & (y.abs() < b) & (z.abs() < c)
    if kind == shapes.FRUSTUM:
        return (z.abs() < c) & ((x**2 + y**2).sqrt() < a + (b - a) * (z + c) / (2 * c))
    if kind == shapes.TORUS:
        return ((x**2 + y**2).sqrt() - a) ** 2 + z**2 < b**2
    p_, q = exponents
    return ((x / a).abs() ** p_ + (y / b).abs() ** p_) ** (q / p_) + (z / c).abs() ** q < 1


CASES = [
    (shapes.ELLIPSOID, (0.5, 0.9, 0.3), (2.0, 2.0)),
    (shapes.BOX, (0.5, 0.9, 0.3), (2.0, 2.0)),
    (shapes.FRUSTUM, (0.7, 0.3, 0.6), (2.0, 2.0)),
    (shapes.FRUSTUM, (0.5, 0.5, 0.6), (2.0, 2.0)),
    (shapes.FRUSTUM, (0.0, 0.8, 0.6), (2.0, 2.0)),
    (shapes.TORUS, (0.7, 0.25, 0.25), (2.0, 2.0)),
    (shapes.SUPERQUADRIC, (0.5, 0.9, 0.3), (1.5, 6.0)),
    (shapes.SUPERQUADRIC, (0.4, 0.6, 0.5), (8.0, 2.0)),
]


def rays():
    generator = torch.Generator().manual_seed(3)
    origin = torch.nn.functional.normalize(torch.randn(RAYS, 3, generator=generator, dtype=torch.float64), dim=-1) * 4
    target = torch.randn(RAYS, 3, generator=generator, dtype=torch.float64) * 0.5
    return origin, (target - origin) * (0.2 + torch.rand(RAYS, 1, generator=generator, dtype=torch.float64))


def within_reach(origin, direction):
    """Where each ray enters and leaves the sphere of radius REACH; all do."""
    dd = (direction**2).sum(-1)
    middle = -(origin * direction).sum(-1) / dd
    half = ((REACH**2 - ((origin + middle[:, None] * direction) ** 2).sum(-1)) / dd).clamp_min(0).sqrt()
    return middle - half, middle + half


def first_inside(kind, size, exponents, origin, direction, state):
    """The first of many even samples of a ray that is inside, and their distance: +inf where none is."""
    begin, end = within_reach(origin, direction)
    s = begin[:, None] + (end - begin)[:, None] * torch.linspace(0, 1, 2001, dtype=torch.float64)
    p = origin[:, None] + s[..., None] * direction[:, None]
    rest = torch.stack(softness.relax(p.unbind(-1), state), -1)
    within = inside(kind, rest, size, exponents)
    first = within.to(torch.uint8).argmax(1)
    return torch.where(within.any(1), s.gather(1, first[:, None])[:, 0], torch.inf), s[:, 1] - s[:, 0]


def meet(kind, size, exponents, origin, direction, state):
    o, d = origin.unbind(-1), direction.unbind(-1)
    sizes = torch.tensor(size, dtype=torch.float64)
    if kind in shapes.ANALYTIC:
        return shapes.ANALYTIC[kind](o, d, sizes.unbind(), torch.zeros(RAYS, dtype=torch.float64))
    begin, end = within_reach(origin, direction)
    many = (sizes.expand(RAYS, 3), torch.tensor(exponents, dtype=torch.float64).expand(RAYS, 2))
    if kind == shapes.SUPERQUADRIC and not state.any():
        return shapes.superquadric_hit(o, d, *many, begin, end)
    field = _Field(kind, *(x.T for x in (*many, softness.relaxation(state.expand(RAYS, 6)))))
    bound = softness.stretch_bound(state, torch.tensor(REACH), torch.tensor(REACH)).expand(RAYS)
    return _march(field, o, d, begin, end, bound)


@pytest.mark.parametrize("rigid", [True, False])
@pytest.mark.parametrize(("kind", "size", "exponents"), CASES)
def test_a_ray_meets_a_primitive_where_it_first_gets_inside(kind, size, exponents, rigid):
    if not rigid and kind in shapes.ANALYTIC:
        pytest.skip("only tori and superquadrics are made soft")
    bent = [0.0] * 6 if rigid else [0.15, 0.8, 0.3, 0.08, 4.0, 0.7]
    state = torch.tensor(bent, dtype=torch.float64)
    origin, direction = rays()
    found = meet(kind, size, exponents, origin, direction, state)
    expected, step = first_inside(kind, size, exponents, origin, direction, state)
    # A ray may graze a corner between two samples: then only brute force misses it.
    agree = ((found - expected).abs() <= 1.01 * step) | (found.isinf() & expected.isinf())
    grazing = expected.isinf() & found.isfinite()
    assert (agree | grazing).float().mean() >= 0.997
    assert grazing.float().mean() < 0.02
    assert 0.05 < found.isfinite().float().mean() < 0.9


@pytest.mark.parametrize(("kind", "size", "exponents"), CASES)
def test_normals_are_the_surfaces_own(kind, size, exponents):
    origin, direction = rays()
    s = meet(kind, size, exponents, origin, direction, torch.zeros(6, dtype=torch.float64))
    hit = s.isfinite()
    p = (origin + s.where(hit, 0.0)[:, None] * direction)[hit]
    many = tuple(torch.tensor(size, dtype=torch.float64).expand(len(p), 3).unbind(-1))
    powers = tuple(torch.tensor(exponents, dtype=torch.float64).expand(len(p), 2).unbind(-1))
    normal = torch.stack(shapes.normals(torch.full((len(p),), kind), p.unbind(-1), many, powers), -1)
    torch.testing.assert_close(normal.norm(dim=-1), torch.ones(len(p), dtype=torch.float64))
    assert (~inside(kind, p + 1e-5 * normal, size, exponents)).all()
    assert inside(kind, p - 1e-4 * normal, size, exponents).float().mean() > 0.99
    assert ((normal * direction[hit]).sum(-1) < 1e-6).float().mean() > 0.999


def test_relaxing_undoes_deforming_and_normals_follow():
    generator = torch.Generator().manual_seed(1)
    rest = torch.randn(500, 3, generator=generator, dtype=torch.float64)
    state = torch.rand(500, 6, generator=generator, dtype=torch.float64)
    now = softness.deform(rest.unbind(-1), state)
    torch.testing.assert_close(torch.stack(softness.relax(now, state), -1), rest)

    def moved(point, one):
        return torch.stack(softness.deform(point.unbind(-1), one), -1)

    jacobian = torch.func.vmap(torch.func.jacrev(moved))(rest, state)
    normal = torch.randn(500, 3, generator=generator, dtype=torch.float64)
    expected = torch.linalg.solve(jacobian.mT, normal[..., None])[..., 0]
    found = torch.stack(softness.deform_normal(normal.unbind(-1), rest.unbind(-1), state), -1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.linalg.det(jacobian), torch.ones(500, dtype=torch.float64))

    back = torch.linalg.inv(jacobian)
    height = moved(rest, state)[:, 2].abs()
    reach = rest.norm(dim=-1) * state[:, 0].exp()
    bound = softness.stretch_bound(state, reach, height)
    assert (torch.linalg.matrix_norm(back, 2) <= bound * (1 + 1e-9)).all()
