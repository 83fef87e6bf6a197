# SPDX-License-Identifier: Apache-2.0
"""The nearest surface along many rays.

Rays come in *bundles* of G that see one instant of one scene and start close together: an 8 × 8 tile of a picture, the
samples of one pixel, a tile's shadow rays. A bundle is tested once against every part's bounding sphere; its rays meet
only the parts that remain. Positions along a ray are multiples s of its direction, which need not be of unit length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import shapes, softness
from .motion import Posed, turned, turned_rays
from .scene import Parts
from .shapes import Vec

NOTHING, SURROUNDINGS = -2, -1
_ROUNDS, _STEPS, _SECANTS = 24, 8, 6


@dataclass(frozen=True)
class Bundles:
    """Q bundles of G rays.

    Attributes:
        origin: [Q, 3, G] or [Q, 3, 1] world.
        direction: [Q, 3, G] world.
        instant: [Q] int64, index of the bundle's instant in `Posed`.
        scene: [Q] int64, index of its scene.
    """

    origin: Tensor
    direction: Tensor
    instant: Tensor
    scene: Tensor

    def rows(self, index: Tensor | slice) -> Bundles:
        """Some of the bundles."""
        return Bundles(self.origin[index], self.direction[index], self.instant[index], self.scene[index])


def nearest_part(bundles: Bundles, parts: Parts, posed: Posed, limit: Tensor) -> tuple[Tensor, Tensor]:
    """First meeting with any part that is nearer than `limit` [Q, G], which may be +inf.

    Returns:
        s [Q, G], the limit where there is none, and the part's number [Q, G], NOTHING where there is none.
    """
    best, which = limit.clone(), torch.full_like(limit, NOTHING, dtype=torch.int64)
    used = (parts.radius > 0).any(0).nonzero()[:, 0]
    near = candidates(bundles, parts, posed, used, limit)
    kinds, soft = parts.kind[:, used][bundles.scene], parts.soft_body[:, used][bundles.scene]
    # What is met in closed form comes first: it hides much of what takes steps.
    for kind in (*shapes.ANALYTIC, *shapes.TRACED):
        of_kind = near & (kinds == kind)
        for bends in (False, True) if kind in shapes.TRACED else (False,):
            row, column = (of_kind & (soft == bends)).nonzero(as_tuple=True)
            if len(row):
                part = used[column]
                _keep_nearer(best, which, row, part, _meet(bundles, parts, posed, kind, bends, (row, part, best[row])))
    return best, which


def _keep_nearer(best: Tensor, which: Tensor, row: Tensor, part: Tensor, s: Tensor) -> None:
    """Take in meetings s [M, G] of bundles `row` [M], rising, with `part` [M], where nearer than `best` [Q, G]."""
    # A bundle's meetings one after the other: within a rank every row occurs once, so that writing is safe.
    counts = torch.bincount(row, minlength=len(best))
    rank = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
    for place in range(int(counts.max())):
        at = (rank == place).nonzero()[:, 0]
        rows, distance = row[at], s[at]
        nearer = distance < best[rows]
        best[rows] = torch.where(nearer, distance, best[rows])
        which[rows] = torch.where(nearer, part[at][:, None], which[rows])


def candidates(bundles: Bundles, parts: Parts, posed: Posed, used: Tensor, limit: Tensor) -> Tensor:
    """Which of the `used` parts [U] a bundle may meet before `limit` [Q, G]. [Q, U] bool.

    Its cone of rays touches the bounding sphere, and this begins before the farthest ray ends.
    """
    direction: Vec = bundles.direction.unbind(1)  # type: ignore[assignment]
    unit = shapes.unit(direction)
    axis = shapes.unit((unit[0].mean(-1), unit[1].mean(-1), unit[2].mean(-1)))
    columns = (axis[0][:, None], axis[1][:, None], axis[2][:, None])
    cos = shapes.dot(unit, columns).amin(-1).clamp(-1, 1)
    sin = (1 - cos.square()).sqrt()
    middle = bundles.origin.mean(-1)
    offset: Vec = (bundles.origin - middle[..., None]).unbind(1)  # type: ignore[assignment]
    spread = shapes.dot(offset, offset).amax(-1).sqrt()
    farthest = (limit * shapes.dot(direction, direction).sqrt()).amax(-1)

    centres = posed.translation[:, used].unbind(-1)
    x, y, z = (centre[bundles.instant] - middle[:, i, None] for i, centre in enumerate(centres))
    radius = parts.radius[:, used][bundles.scene]
    reach = (radius * 1.0001 + spread[:, None] + 1e-4).clamp_min(0)
    distance = shapes.dot((x, y, z), (x, y, z)).sqrt().clamp_min(1e-9)
    towards = shapes.dot((x, y, z), columns) / distance
    sin_reach = (reach / distance).clamp(max=1)
    cos_reach = (1 - sin_reach.square()).sqrt()
    # Both angles are below a right angle, so the cosine falls over their sum.
    touches = towards >= cos[:, None] * cos_reach - sin[:, None] * sin_reach - 1e-5
    before = distance - reach <= farthest[:, None]
    return (radius > 0) & before & ((distance <= reach) | touches)


def _meet(
    bundles: Bundles, parts: Parts, posed: Posed, kind: int, soft: bool, pairs: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Where bundles meet parts of one kind, all rigid or all soft.

    Args:
        bundles, parts, posed: of all.
        kind: of the parts.
        soft: whether they bend.
        pairs: rows [M], parts [M], and how far each ray is of interest [M, G].

    Returns:
        s [M, G], +inf where there is none; one beyond the interest may be missed.
    """
    row, part, limit = pairs
    instant, scene = bundles.instant[row], bundles.scene[row]
    part_from_world = posed.rotation[instant, part].transpose(-1, -2)
    centre = turned(part_from_world, posed.translation[instant, part])
    o = turned_rays(part_from_world, bundles.origin[row].unbind(1))  # type: ignore[arg-type]
    d = turned_rays(part_from_world, bundles.direction[row].unbind(1))  # type: ignore[arg-type]
    o = (o[0] - centre[:, :1], o[1] - centre[:, 1:2], o[2] - centre[:, 2:])
    # Every ray is moved to its point nearest to the part, where numbers are small and float32 is exact enough.
    dd = shapes.dot(d, d)
    start = -shapes.dot(o, d) / dd
    o = shapes.along(o, d, start)
    size = parts.size[scene, part]
    if kind in shapes.ANALYTIC:
        return shapes.ANALYTIC[kind](o, d, (size[:, :1], size[:, 1:2], size[:, 2:]), start)

    s = torch.full_like(start, torch.inf)
    radius = parts.radius[scene, part]
    half_squared = (radius.square()[:, None] - shapes.dot(o, o)) / dd
    half = half_squared.clamp_min(0).sqrt()
    pair, ray = ((half_squared > 0) & (start + half > 0) & (start - half < limit)).nonzero(as_tuple=True)
    start, half = start[pair, ray], half[pair, ray]
    origin: Vec = (o[0][pair, ray], o[1][pair, ray], o[2][pair, ray])
    direction: Vec = (d[0][pair, ray], d[1][pair, ray], d[2][pair, ray])
    begin, end = -torch.minimum(half, start), torch.minimum(half, limit[pair, ray] - start)
    if kind == shapes.SUPERQUADRIC and not soft:
        exponents = parts.exponents[scene, part][pair]
        met = shapes.superquadric_hit(origin, direction, size[pair], exponents, begin, end)
    else:
        state = posed.soft[instant, part]
        reach = radius * (1 + state[:, 2].abs() * radius) + 2 * state[:, 3].abs()
        numbers = (size, parts.exponents[scene, part], softness.relaxation(state))
        field = _Field(kind, *(x.T.index_select(1, pair) for x in numbers))
        stretch = softness.stretch_bound(state, reach, reach)[pair]
        met = _march(field, origin, direction, begin, end, stretch)
    s[pair, ray] = start + met
    return s


@dataclass(frozen=True)
class _Field:
    """A lower bound of the distance at rest, for M rays of one kind.

    Attributes:
        kind: a key of `shapes.TRACED`.
        size, exponents: [3, M], [2, M].
        relaxation: [8, M] of `softness.relaxation`.
    """

    kind: int
    size: Tensor
    exponents: Tensor
    relaxation: Tensor

    def __call__(self, p: Vec) -> Tensor:
        x, y, z = self.size.unbind(0)
        across, up = self.exponents.unbind(0)
        return shapes.TRACED[self.kind](softness.relaxed(p, self.relaxation), (x, y, z), (across, up))

    def rows(self, index: Tensor) -> _Field:
        numbers = (self.size, self.exponents, self.relaxation)
        return _Field(self.kind, *(x.index_select(1, index) for x in numbers))


def _march(field: _Field, o: Vec, d: Vec, begin: Tensor, end: Tensor, stretch: Tensor) -> Tensor:
    """Sphere tracing (Hart 1996) until close, then the secant method until exact. [M] each -> s [M], +inf: a miss."""
    scale = field.size.amax(0)
    pace = 1 / (stretch * shapes.dot(d, d).sqrt())
    close = 3e-5 * scale
    s, near = begin.clone(), torch.zeros_like(begin, dtype=torch.bool)
    going = (field, o, d, begin, pace, end, close, torch.arange(len(begin), device=begin.device))
    for last in range(_ROUNDS):
        part, o_now, d_now, s_now, pace_now, end_now, close_now, ray = going
        for _ in range(_STEPS):
            value = part(shapes.along(o_now, d_now, s_now))
            s_now = s_now + value * pace_now
        s[ray] = s_now
        near[ray] = value < (close_now if last < _ROUNDS - 1 else 300 * close_now)
        keep = (~(value < close_now) & (s_now < end_now)).nonzero()[:, 0]
        if len(keep) == 0:
            break
        origin, direction = (tuple(x[keep] for x in v) for v in (o_now, d_now))
        left = (s_now[keep], pace_now[keep], end_now[keep], close_now[keep], ray[keep])
        going = (part.rows(keep), origin, direction, *left)  # type: ignore[assignment]
    at = near.nonzero()[:, 0]
    origin, direction = (tuple(x[at] for x in v) for v in (o, d))
    exact = _secant(field.rows(at), origin, direction, s[at], end[at], scale[at])  # type: ignore[arg-type]
    return torch.full_like(begin, torch.inf).index_copy(0, at, exact)


def _secant(field: _Field, o: Vec, d: Vec, s: Tensor, end: Tensor, scale: Tensor) -> Tensor:
    eps = torch.finfo(s.dtype).eps * scale
    step = 3e-4 * scale / shapes.dot(d, d).sqrt()
    before, value_before = s - step, field(shapes.along(o, d, s - step))
    value = field(shapes.along(o, d, s))
    for _ in range(_SECANTS):
        slope = value - value_before
        # At the last digits two values' difference is rounding, no slope.
        usable = (slope != 0) & (value.abs() > 8 * eps)
        move = torch.where(usable, value * (s - before) / torch.where(usable, slope, 1.0), 0.0)
        move = torch.maximum(torch.minimum(move, 100 * step), -100 * step)
        before, value_before = s, value
        s = s - move
        value = field(shapes.along(o, d, s))
    return torch.where((value.abs() < 256 * eps) & (s <= end), s, torch.inf)


def rest_points(world: Vec, parts: Parts, posed: Posed, scene: Tensor, instant: Tensor, part: Tensor) -> Vec:
    """The material of parts that is at `world` (each [M]): coordinates in the part at rest."""
    rotation, state = posed.rotation[instant, part], posed.soft[instant, part]
    moved = torch.stack(world, -1) - posed.translation[instant, part]
    x, y, z = turned(rotation.transpose(-1, -2), moved).unbind(-1)
    return softness.relax((x, y, z), state)


def world_points(rest: Vec, posed: Posed, instant: Tensor, part: Tensor) -> Tensor:
    """Where material is. rest: of shape [M] or to broadcast; instant, part: [..., M] -> [..., M, 3] world."""
    now = torch.stack(softness.deform(rest, posed.soft[instant, part]), -1)
    return turned(posed.rotation[instant, part], now) + posed.translation[instant, part]
