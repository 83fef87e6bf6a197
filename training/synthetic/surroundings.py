# SPDX-License-Identifier: Apache-2.0
"""What stands still around everything: a room from inside, flat ground, or hills; above the last two is sky."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .scene import GROUND, ROOM, TERRAIN, Surroundings
from .shapes import Vec, along, unit
from .trace import Bundles

_ROUNDS, _STEPS, _SECANTS = 16, 8, 6
_NEAR = 1e-5


def nearest_surroundings(bundles: Bundles, surroundings: Surroundings) -> tuple[Tensor, Tensor]:
    """First meeting with the surroundings: s [Q, G], +inf in the sky, and which of the `FACES` [Q, G] int64."""
    Q, _, G = bundles.direction.shape
    s = torch.full((Q, G), torch.inf, dtype=bundles.direction.dtype, device=bundles.direction.device)
    face = torch.zeros(Q, G, dtype=torch.int64, device=s.device)
    kind = surroundings.kind[bundles.scene]
    for which, meet in ((ROOM, _room), (GROUND, _flat), (TERRAIN, _hills)):
        rows = (kind == which).nonzero()[:, 0]
        if len(rows):
            s[rows], face[rows] = meet(bundles.rows(rows), surroundings)
    return s, face


def _room(bundles: Bundles, surroundings: Surroundings) -> tuple[Tensor, Tensor]:
    """Where a ray leaves the box. Faces: 0 floor, 1 ceiling, 2 and 3 the walls at low and high x, 4 and 5 at y."""
    exits = []
    for axis in range(3):
        o, d = bundles.origin[:, axis], bundles.direction[:, axis]
        d = torch.where(d.abs() < 1e-12, 1e-12, d)
        low, high = surroundings.low[bundles.scene, axis, None], surroundings.high[bundles.scene, axis, None]
        exits.append((torch.where(d > 0, high - o, low - o) / d, d > 0))
    (x, x_up), (y, y_up), (z, z_up) = exits
    s = torch.minimum(torch.minimum(x, y), z)
    face = torch.where(s == z, z_up.long(), torch.where(s == x, 2 + x_up.long(), 4 + y_up.long()))
    return s, face


def _flat(bundles: Bundles, surroundings: Surroundings) -> tuple[Tensor, Tensor]:
    o, d = bundles.origin[:, 2], bundles.direction[:, 2]
    s = torch.where(d < 0, -o / torch.where(d < 0, d, -1.0), torch.inf)
    return _within(bundles, surroundings, s), torch.zeros_like(s, dtype=torch.int64)


@dataclass(frozen=True)
class _OverHills:
    """R bundles of G rays over hills.

    Attributes:
        origin, direction: [R, G] each.
        wave, height, phase: [R, 6, 2], [R, 6], [R, 6] of `Surroundings`.
        closing: [R, G] how fast a ray may come nearer to the ground, at most, metres a unit of s.
        far: [R, G] where open ground ends.
    """

    origin: Vec
    direction: Vec
    wave: Tensor
    height: Tensor
    phase: Tensor
    closing: Tensor
    far: Tensor

    def above(self, s: Tensor) -> Tensor:
        """Metres over the ground. s: [R, G]."""
        x, y, z = along(self.origin, self.direction, s)
        for i in range(self.height.shape[1]):
            turn = torch.addcmul(self.phase[:, i, None], self.wave[:, i, 0, None], x)
            turn = torch.addcmul(turn, self.wave[:, i, 1, None], y)
            z = torch.addcmul(z, self.height[:, i, None], turn.sin_(), value=-1)
        return z

    def rows(self, index: Tensor) -> _OverHills:
        origin, direction = (tuple(x[index] for x in v) for v in (self.origin, self.direction))
        rest = (self.wave, self.height, self.phase, self.closing, self.far)
        return _OverHills(origin, direction, *(x[index] for x in rest))  # type: ignore[arg-type]


def _hills(bundles: Bundles, surroundings: Surroundings) -> tuple[Tensor, Tensor]:
    """Safe steps by the steepest slope, then the secant method."""
    scene = bundles.scene
    o: Vec = bundles.origin.expand_as(bundles.direction).unbind(1)  # type: ignore[assignment]
    d: Vec = bundles.direction.unbind(1)  # type: ignore[assignment]
    wave, height, phase = surroundings.wave[scene], surroundings.height[scene], surroundings.phase[scene]
    steepest = (height.abs() * wave.norm(dim=-1)).sum(-1, keepdim=True)
    flat = (d[0].square() + d[1].square()).sqrt()
    closing = (flat * steepest - d[2]).clamp_min(1e-6)
    far = surroundings.far[scene, None] / flat.clamp_min(1e-9)
    rays = _OverHills(o, d, wave, height, phase, closing, far)
    top = height.abs().sum(-1, keepdim=True)
    s = torch.where(d[2] < 0, (top - o[2]) / torch.where(d[2] < 0, d[2], -1.0), 0.0).clamp_min(0)
    s = _first_near(rays, s)
    value = rays.above(s)
    before, value_before = s * (1 - 1e-3), rays.above(s * (1 - 1e-3))
    close = value.abs() < 2e-2 * (1 + s)
    limit = 0.1 * s + 0.1
    eps = torch.finfo(s.dtype).eps * (bundles.origin.abs().amax(1) + s)
    for _ in range(_SECANTS):
        slope = value - value_before
        # At the last digits two values' difference is rounding, no slope.
        usable = (slope != 0) & (value.abs() > 4 * eps)
        move = torch.where(usable, value * (s - before) / torch.where(usable, slope, 1.0), 0.0)
        before, value_before = s, value
        s = s - torch.maximum(torch.minimum(move, limit), -limit)
        value = rays.above(s)
    met = close & (value.abs() < 64 * eps) & (s > 0)
    s = torch.where(met, s, torch.inf)
    return _within(bundles, surroundings, s), torch.zeros_like(s, dtype=torch.int64)


def _first_near(rays: _OverHills, s: Tensor) -> Tensor:
    """As near to the first meeting after s [R, G] as safe steps come, or `far`; bundles that are there step no more."""
    s = s.clone()
    row = torch.arange(len(s), device=s.device)
    for _ in range(_ROUNDS):
        reached = s[row]
        for _ in range(_STEPS):
            gap = rays.above(reached)
            reached = torch.minimum(reached + gap / rays.closing, rays.far)
        s[row] = reached
        keep = ((gap > _NEAR * (1 + reached)) & (reached < rays.far)).any(1).nonzero()[:, 0]
        if len(keep) == 0:
            break
        rays, row = rays.rows(keep), row[keep]
    return s


def _within(bundles: Bundles, surroundings: Surroundings, s: Tensor) -> Tensor:
    """Open ground ends `far` from the ray's start."""
    flat = (bundles.direction[:, 0].square() + bundles.direction[:, 1].square()).sqrt()
    return torch.where(s * flat < surroundings.far[bundles.scene, None], s, torch.inf)


def surroundings_normals(surroundings: Surroundings, scene: Tensor, face: Tensor, point: Vec) -> Vec:
    """Unit normals towards the inside. scene: [Q]; face: [Q, G]; point: [Q, G] each."""
    one, zero = torch.ones_like(point[0]), torch.zeros_like(point[0])
    side = torch.where(face % 2 == 0, one, -one)
    is_room = (surroundings.kind[scene] == ROOM)[:, None]
    axis = torch.where(is_room, face // 2, 0)  # 0: up, 1: x, 2: y
    x = torch.where(axis == 1, side, zero)
    y = torch.where(axis == 2, side, zero)
    z = torch.where(axis == 0, torch.where(is_room, side, one), zero)
    at = (surroundings.kind[scene] == TERRAIN).nonzero()[:, 0]
    hill = _hill_normals(surroundings, scene[at], point[0][at], point[1][at])
    return x.index_copy(0, at, hill[0]), y.index_copy(0, at, hill[1]), z.index_copy(0, at, hill[2])


def _hill_normals(surroundings: Surroundings, scene: Tensor, x: Tensor, y: Tensor) -> Vec:
    slope_x, slope_y = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(surroundings.height.shape[1]):
        wave = surroundings.wave[scene, i, :, None]
        turn = wave[:, 0] * x + wave[:, 1] * y + surroundings.phase[scene, i, None]
        rise = surroundings.height[scene, i, None] * turn.cos()
        slope_x, slope_y = slope_x + rise * wave[:, 0], slope_y + rise * wave[:, 1]
    return unit((-slope_x, -slope_y, torch.ones_like(x)))
