# SPDX-License-Identifier: Apache-2.0
"""The primitives, each about its own origin: where a ray meets them, their normals, how far a point is from them.

Points and directions come as three tensors (x, y, z) of one shape, so that every operation is a plain element-wise one.
A ray is o + s d; d need not be of unit length. Misses are +inf.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Vec: TypeAlias = tuple[Tensor, Tensor, Tensor]

ELLIPSOID, BOX, FRUSTUM, TORUS, SUPERQUADRIC = range(5)
KINDS = (ELLIPSOID, BOX, FRUSTUM, TORUS, SUPERQUADRIC)
NONE = -1
_TINY = 1e-12


def dot(a: Vec, b: Vec) -> Tensor:
    """a · b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def along(o: Vec, d: Vec, s: Tensor) -> Vec:
    """o + s d."""
    return o[0] + s * d[0], o[1] + s * d[1], o[2] + s * d[2]


def _away_from_zero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < _TINY, torch.full_like(x, _TINY), x)


def _first_positive(near: Tensor, far: Tensor, met: Tensor) -> Tensor:
    """The nearer of an entry and an exit that is ahead. The caller's s counts from the ray's own start."""
    return torch.where(met & (far > 0), torch.where(near > 0, near, far), torch.inf)


def ellipsoid_hit(o: Vec, d: Vec, size: Vec, start: Tensor) -> Tensor:
    """First meeting with (x/a)² + (y/b)² + (z/c)² = 1, size = (a, b, c), at s > -start; `start` is added."""
    o = (o[0] / size[0], o[1] / size[1], o[2] / size[2])
    d = (d[0] / size[0], d[1] / size[1], d[2] / size[2])
    # From the point nearest to the centre: the roots are symmetric and nothing cancels.
    dd = dot(d, d)
    middle = -dot(o, d) / dd
    nearest = along(o, d, middle)
    half_squared = (1 - dot(nearest, nearest)) / dd
    half = half_squared.clamp_min(0).sqrt()
    return _first_positive(start + middle - half, start + middle + half, half_squared > 0)


def box_hit(o: Vec, d: Vec, size: Vec, start: Tensor) -> Tensor:
    """First meeting with the box |x| <= a, |y| <= b, |z| <= c."""
    near = far = None
    for o_i, d_i, size_i in zip(o, d, size, strict=True):
        inverse = 1 / _away_from_zero(d_i)
        centre, half = -o_i * inverse, (size_i * inverse).abs()
        near = centre - half if near is None else torch.maximum(near, centre - half)
        far = centre + half if far is None else torch.minimum(far, centre + half)
    assert near is not None
    assert far is not None
    return _first_positive(start + near, start + far, near < far)


def frustum_hit(o: Vec, d: Vec, size: Vec, start: Tensor) -> Tensor:
    """First meeting with the closed frustum about z, size = (radius at the bottom, at the top, half height).

    Equal radii are a cylinder, a zero radius a cone.
    """
    bottom, top, height = size
    middle, slope = (bottom + top) / 2, (top - bottom) / (2 * height)
    radius_o, radius_d = middle + slope * o[2], slope * d[2]
    a = _away_from_zero(d[0].square() + d[1].square() - radius_d.square())
    b = o[0] * d[0] + o[1] * d[1] - radius_o * radius_d
    c = o[0].square() + o[1].square() - radius_o.square()
    discriminant = b.square() - a * c
    root = discriminant.clamp_min(0).sqrt()
    q = _away_from_zero(-(b + torch.where(b < 0, -root, root)))
    best = torch.full_like(q, torch.inf)
    for s in (q / a, c / q):
        z = o[2] + s * d[2]
        met = (discriminant > 0) & (z.abs() <= height) & (radius_o + s * radius_d >= 0) & (start + s > 0)
        best = torch.where(met & (start + s < best), start + s, best)
    inverse = 1 / _away_from_zero(d[2])
    for z, radius in ((-height, bottom), (height, top)):
        s = (z - o[2]) * inverse
        met = ((o[0] + s * d[0]).square() + (o[1] + s * d[1]).square() <= radius.square()) & (start + s > 0)
        best = torch.where(met & (start + s < best), start + s, best)
    return best


ANALYTIC: dict[int, Callable[[Vec, Vec, Vec, Tensor], Tensor]] = {
    ELLIPSOID: ellipsoid_hit,
    BOX: box_hit,
    FRUSTUM: frustum_hit,
}


def torus_distance(p: Vec, size: Vec, exponents: tuple[Tensor, Tensor]) -> Tensor:
    """Signed distance to the torus about z: ring radius size[0], tube radius size[1]. `exponents` are not used."""
    ring = (p[0].square() + p[1].square()).sqrt() - size[0]
    return (ring.square() + p[2].square()).sqrt() - size[1]


def superquadric_distance(p: Vec, size: Vec, exponents: tuple[Tensor, Tensor]) -> Tensor:
    """A lower bound of the signed distance to ((|x/a|^p + |y/b|^p)^(q/p) + |z/c|^q)^(1/q) = 1, exponents (p, q) >= 1.

    The left side g is a norm, so convex: {g <= 1} lies behind the plane where its tangent falls to 1, and
    (g - 1) / |grad g| is the distance to that plane.
    """
    across, up = exponents
    u, v, w = (p_i.abs() / size_i + 1e-9 for p_i, size_i in zip(p, size, strict=True))
    u_power, v_power, w_power = u ** (across - 1), v ** (across - 1), w ** (up - 1)
    flat = u * u_power + v * v_power
    disc = flat ** (up / across)
    full = disc + w * w_power
    g = full ** (1 / up)
    # |grad g| without its common factor g / full.
    inner = disc / flat
    steep = (inner * u_power / size[0]).square() + (inner * v_power / size[1]).square() + (w_power / size[2]).square()
    return (g - 1) * full / (g * steep.sqrt().clamp_min(_TINY))


def _superquadric_gauge(p: Vec, size: Vec, exponents: tuple[Tensor, Tensor]) -> tuple[Tensor, Vec]:
    across, up = exponents
    u, v, w = (p_i.abs() / size_i + 1e-9 for p_i, size_i in zip(p, size, strict=True))
    u_power, v_power = u ** (across - 1), v ** (across - 1)
    flat = u * u_power + v * v_power
    r = flat ** (1 / across)
    r_power, w_power = r ** (up - 1), w ** (up - 1)
    full = r * r_power + w * w_power
    g = full ** (1 / up)
    outer = g / full
    inner = outer * r_power * r / flat
    gradient = (
        inner * u_power / size[0] * p[0].sign(),
        inner * v_power / size[1] * p[1].sign(),
        outer * w_power / size[2] * p[2].sign(),
    )
    return g, gradient


TRACED: dict[int, Callable[[Vec, Vec, tuple[Tensor, Tensor]], Tensor]] = {
    TORUS: torus_distance,
    SUPERQUADRIC: superquadric_distance,
}


def superquadric_hit(
    o: Vec, d: Vec, size: Tensor, exponents: Tensor, begin: Tensor, end: Tensor, steps: int = 14
) -> Tensor:
    """First meeting with a rigid superquadric between `begin` and `end`, all [M]; size: [M, 3], exponents: [M, 2].

    Along a ray g is convex: Newton's steps from outside never pass the entry, and where g no longer falls it is missed.
    """
    result = torch.full_like(begin, torch.inf)
    ray, s = torch.arange(len(begin), device=begin.device), begin
    for step in range(steps):
        p = along(o, d, s)
        a, b, c = size.unbind(-1)
        g, gradient = _superquadric_gauge(p, (a, b, c), (exponents[:, 0], exponents[:, 1]))
        fall = dot(gradient, d)
        exact = (g - 1).abs() < 64 * torch.finfo(g.dtype).eps
        result[ray] = torch.where(exact, s, result[ray])
        s = s - (g - 1) / torch.where(fall < 0, fall, -1.0)
        if step % 3 == 2:
            keep = (~exact & (g > 1) & (fall < 0) & (s < end)).nonzero()[:, 0]
            o, d = (o[0][keep], o[1][keep], o[2][keep]), (d[0][keep], d[1][keep], d[2][keep])
            size, exponents, end, s, ray = size[keep], exponents[keep], end[keep], s[keep], ray[keep]
    return torch.where(result > begin, result, torch.inf)


def normals(kind: Tensor, p: Vec, size: Vec, exponents: tuple[Tensor, Tensor]) -> Vec:
    """Outward unit normals at points on the surfaces; every argument of one shape."""
    normal = _superquadric_gauge(p, size, exponents)[1]
    x, y, z = p
    rho = (x.square() + y.square()).sqrt().clamp_min(_TINY)

    ring = 1 - size[0] / rho
    normal = _choose(kind == TORUS, (x * ring, y * ring, z), normal)

    height = size[2]
    slope = (size[1] - size[0]) / (2 * height)
    aside = (rho - (size[0] + size[1]) / 2 - slope * z).abs()
    on_cap = height - z.abs() < aside
    zero = torch.zeros_like(x)
    frustum = _choose(on_cap, (zero, zero, z.sign()), (x / rho, y / rho, -slope))
    normal = _choose(kind == FRUSTUM, frustum, normal)

    share = [p_i.abs() / size_i for p_i, size_i in zip(p, size, strict=True)]
    most = torch.maximum(torch.maximum(share[0], share[1]), share[2])
    box = [torch.where(share_i == most, p_i.sign(), 0.0) for p_i, share_i in zip(p, share, strict=True)]
    normal = _choose(kind == BOX, (box[0], box[1], box[2]), normal)

    round_ = (x / size[0].square(), y / size[1].square(), z / size[2].square())
    return unit(_choose(kind == ELLIPSOID, round_, normal))


def unit(v: Vec) -> Vec:
    """v / |v|."""
    length = dot(v, v).sqrt().clamp_min(_TINY)
    return v[0] / length, v[1] / length, v[2] / length


def _choose(mask: Tensor, a: Vec, b: Vec) -> Vec:
    return torch.where(mask, a[0], b[0]), torch.where(mask, a[1], b[1]), torch.where(mask, a[2], b[2])
