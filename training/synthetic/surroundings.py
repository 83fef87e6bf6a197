# SPDX-License-Identifier: Apache-2.0
"""What stands still around everything: a room from inside, flat ground, or hills; above the last two is sky."""

from __future__ import annotations

import torch
from torch import Tensor

from .scene import GROUND, ROOM, TERRAIN, Surroundings
from .shapes import Vec, along, unit
from .trace import Bundles

_STEPS, _SECANTS = 56, 5


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


def _hills(bundles: Bundles, surroundings: Surroundings) -> tuple[Tensor, Tensor]:
    """Safe steps by the steepest slope, then the secant method."""
    scene = bundles.scene
    o: Vec = bundles.origin.expand_as(bundles.direction).unbind(1)  # type: ignore[assignment]
    d: Vec = bundles.direction.unbind(1)  # type: ignore[assignment]
    waves = (surroundings.wave[scene], surroundings.height[scene], surroundings.phase[scene])
    steepest = (waves[1].abs() * waves[0].norm(dim=-1)).sum(-1, keepdim=True)
    flat = (d[0].square() + d[1].square()).sqrt()
    closing = (flat * steepest - d[2]).clamp_min(1e-6)
    top = waves[1].abs().sum(-1, keepdim=True)
    far = surroundings.far[scene, None] / flat.clamp_min(1e-9)

    def above(s: Tensor) -> Tensor:
        x, y, z = along(o, d, s)
        return z - _height(waves, x, y)

    s = torch.where(d[2] < 0, (top - o[2]) / torch.where(d[2] < 0, d[2], -1.0), 0.0).clamp_min(0)
    for _ in range(_STEPS):
        s = torch.minimum(s + above(s) / closing, far)
    value = above(s)
    before, value_before = s * (1 - 1e-3), above(s * (1 - 1e-3))
    close = value.abs() < 2e-2 * (1 + s)
    limit = 0.1 * s + 0.1
    for _ in range(_SECANTS):
        slope = value - value_before
        usable = (slope.abs() > torch.finfo(s.dtype).tiny) & (value.abs() > 0)
        move = torch.where(usable, value * (s - before) / torch.where(usable, slope, 1.0), 0.0)
        before, value_before = s, value
        s = s - torch.maximum(torch.minimum(move, limit), -limit)
        value = above(s)
    exact = 64 * torch.finfo(s.dtype).eps
    met = close & (value.abs() < exact * (bundles.origin.abs().amax(1) + s)) & (s > 0)
    s = torch.where(met, s, torch.inf)
    return _within(bundles, surroundings, s), torch.zeros_like(s, dtype=torch.int64)


def _height(waves: tuple[Tensor, Tensor, Tensor], x: Tensor, y: Tensor) -> Tensor:
    wave, height, phase = waves
    total = torch.zeros_like(x)
    for i in range(height.shape[1]):
        turn = torch.addcmul(torch.addcmul(phase[:, i, None], wave[:, i, 0, None], x), wave[:, i, 1, None], y)
        total = torch.addcmul(total, height[:, i, None], turn.sin())
    return total


def _within(bundles: Bundles, surroundings: Surroundings, s: Tensor) -> Tensor:
    """Open ground ends `far` from the ray's start."""
    flat = (bundles.direction[:, 0].square() + bundles.direction[:, 1].square()).sqrt()
    return torch.where(s * flat < surroundings.far[bundles.scene, None], s, torch.inf)


def surroundings_normals(surroundings: Surroundings, scene: Tensor, face: Tensor, point: Vec) -> Vec:
    """Unit normals towards the inside. scene, face: [M]; point: [M] each."""
    one, zero = torch.ones_like(point[0]), torch.zeros_like(point[0])
    side = torch.where(face % 2 == 0, one, -one)
    is_room = surroundings.kind[scene] == ROOM
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
        wave = surroundings.wave[:, i][scene]
        turn = wave[:, 0] * x + wave[:, 1] * y + surroundings.phase[:, i][scene]
        rise = surroundings.height[:, i][scene] * turn.cos()
        slope_x, slope_y = slope_x + rise * wave[:, 0], slope_y + rise * wave[:, 1]
    return unit((-slope_x, -slope_y, torch.ones_like(x)))
