# SPDX-License-Identifier: Apache-2.0
"""The light that comes back along a ray: paint, lamp with soft shadows, light of the surroundings, haze."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import shapes, softness
from .motion import Posed, turned_rays
from .scene import ROOM, Scenes
from .shapes import Vec, along, dot
from .surroundings import nearest_surroundings, surroundings_normals
from .textures import Paint, fractal, paint
from .trace import NOTHING, SURROUNDINGS, Bundles, nearest_part, rest_points

SHADOW_GRID = 4
_BIAS = 0.015


@dataclass(frozen=True)
class Hits:
    """What rays meet first, [Q, G] each.

    Attributes:
        s: multiple of the ray's direction; +inf where nothing is met.
        part: the part's number, SURROUNDINGS or NOTHING.
        face: which surface of the surroundings.
    """

    s: Tensor
    part: Tensor
    face: Tensor


@dataclass(frozen=True)
class Surface:
    """What is known where rays end, [Q, G] each; rays that meet nothing hold any finite numbers.

    Attributes:
        point, normal: world; the normal looks at the camera's side.
        rest, rest_normal: in the object at rest; the world for the surroundings.
    """

    point: Vec
    normal: Vec
    rest: Vec
    rest_normal: Vec


def trace(bundles: Bundles, scenes: Scenes, posed: Posed) -> Hits:
    """The first meeting of every ray with anything."""
    s_around, face = nearest_surroundings(bundles, scenes.surroundings)
    s, part = nearest_part(bundles, scenes.parts, posed, s_around)
    return Hits(s, torch.where((part == NOTHING) & s.isfinite(), SURROUNDINGS, part), face)


def surface_at(bundles: Bundles, hits: Hits, scenes: Scenes, posed: Posed) -> Surface:
    """Points, normals and material coordinates."""
    origin: Vec = bundles.origin.unbind(1)  # type: ignore[assignment]
    direction: Vec = bundles.direction.unbind(1)  # type: ignore[assignment]
    point = along(origin, direction, torch.where(hits.s.isinf(), 1.0, hits.s))
    normal = surroundings_normals(scenes.surroundings, bundles.scene, hits.face, point)
    rest, rest_normal = tuple(x.clone() for x in point), tuple(x.clone() for x in normal)

    at = (hits.part >= 0).nonzero(as_tuple=True)
    row = at[0]
    scene, instant, part = bundles.scene[row], bundles.instant[row], hits.part[at]
    material = rest_points((point[0][at], point[1][at], point[2][at]), scenes.parts, posed, scene, instant, part)
    size: Vec = scenes.parts.size[scene, part].unbind(-1)  # type: ignore[assignment]
    exponents = scenes.parts.exponents[scene, part].unbind(-1)
    own = shapes.normals(scenes.parts.kind[scene, part], material, size, (exponents[0], exponents[1]))
    bent = shapes.unit(softness.deform_normal(own, material, posed.soft[instant, part]))
    turned = turned_rays(posed.rotation[instant, part], (bent[0][:, None], bent[1][:, None], bent[2][:, None]))
    for axis in range(3):
        rest[axis][at], rest_normal[axis][at], normal[axis][at] = material[axis], own[axis], turned[axis][:, 0]
    away = dot(normal, direction) > 0
    normal = tuple(torch.where(away, -x, x) for x in normal)  # type: ignore[assignment]
    return Surface(point, normal, rest, rest_normal)  # type: ignore[arg-type]


def lamp_seen(
    bundles: Bundles, hits: Hits, surface: Surface, scenes: Scenes, posed: Posed, spot: Tensor, asked: Tensor
) -> Tensor:
    """Whether points see their spot of the lamp.

    Args:
        bundles, hits, surface: rays and where they end.
        scenes: of the bundles.
        posed: of the bundles.
        spot: [G] int64 in [0, 16), where on the lamp.
        asked: [G] bool, which rays of each bundle; for the others the answer is 1.

    Returns:
        [Q, G] 0 or 1.
    """
    Q, G = hits.s.shape
    seen = torch.ones(Q, G, dtype=hits.s.dtype, device=hits.s.device)
    light = scenes.light
    lamp = light.position[bundles.scene, :, None].unbind(1)
    to_lamp: Vec = (lamp[0] - surface.point[0], lamp[1] - surface.point[1], lamp[2] - surface.point[2])
    solid = (hits.part != NOTHING) & (dot(surface.normal, to_lamp) > -light.radius[bundles.scene, None])
    rows = (solid & asked).any(1).nonzero()[:, 0]
    some = asked.nonzero()[:, 0]
    solid, spot = solid[rows][:, some], spot[some]
    point = torch.stack(surface.point, 1)[rows][..., some]
    weight = solid[:, None].to(point)
    mean = (point * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
    point = torch.where(solid[:, None], point, mean)
    scene = bundles.scene[rows]
    turn = spot * 2.399963  # the golden angle spreads 16 spots evenly over a disc
    reach = ((spot + 0.5) / 16).sqrt()
    disc = torch.stack([reach * turn.cos(), reach * turn.sin(), torch.zeros_like(reach)]).to(point)
    origin = light.position[scene, :, None] + light.radius[scene, None, None] * disc
    rays = Bundles(origin, point - origin, bundles.instant[rows], scene)
    s, _ = nearest_part(rays, scenes.parts, posed, torch.ones_like(rays.direction[:, 0]))
    ray: Vec = rays.direction.unbind(1)  # type: ignore[assignment]
    gap = (1 - s) * dot(ray, ray).sqrt()
    seen[rows[:, None], some] = ((s >= 1) | (gap < _BIAS)).to(seen)
    return seen


def shade(
    bundles: Bundles, hits: Hits, surface: Surface, lit: Tensor, scenes: Scenes, paint_with: Paint, pixel: Tensor
) -> Tensor:
    """Linear RGB of every ray.

    Args:
        bundles, hits, surface: the rays and where they end.
        lit: [Q, G] share of the lamp that is seen.
        scenes: of the bundles.
        paint_with: textures.
        pixel: [Q] size of a pixel at distance 1.

    Returns:
        [3, Q, G] float32.
    """
    Q, G = hits.s.shape
    direction: Vec = bundles.direction.unbind(1)  # type: ignore[assignment]
    length = dot(direction, direction).sqrt()
    distance = torch.where(hits.s.isinf(), 1.0, hits.s) * length
    slant = (-dot(surface.normal, direction) / length).clamp_min(0.12)
    footprint = distance * pixel[:, None] / slant.sqrt()
    parts, surfaces = scenes.parts.kind.shape[1], scenes.look.pattern.shape[1]
    row = torch.where(hits.part >= 0, hits.part, parts + hits.face).add(bundles.scene[:, None] * surfaces).flatten()
    flat_rest, flat_normal = (tuple(x.flatten() for x in v) for v in (surface.rest, surface.rest_normal))
    albedo = paint(paint_with, scenes.look, row, flat_rest, flat_normal, footprint.flatten()).view(3, Q, G)  # type: ignore[arg-type]
    towards = shapes.unit((direction[0] / -length, direction[1] / -length, direction[2] / -length))
    gloss = scenes.look.gloss.flatten().index_select(0, row).view(Q, G)
    color = _reflected(scenes, bundles.scene, surface, towards, (albedo, gloss, lit))
    color = _hazed(scenes, bundles.scene, color, distance, hits.part)
    above, ray = (hits.part == NOTHING).nonzero(as_tuple=True)
    looking = shapes.unit((direction[0][above, ray], direction[1][above, ray], direction[2][above, ray]))
    color = color.float()
    color[:, above, ray] = _sky(scenes, bundles.scene[above], looking, paint_with)
    return color


def _reflected(
    scenes: Scenes, scene: Tensor, surface: Surface, to_eye: Vec, look: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Light of the lamp and from around that surfaces send to the eye. [3, Q, G].

    Args:
        scenes: of B.
        scene: [Q].
        surface: [Q, G].
        to_eye: [Q, G] each, unit.
        look: paint [3, Q, G], gloss [Q, G] and share of the lamp that is seen [Q, G].
    """
    albedo, gloss, lit = look
    light = scenes.light
    lamp = light.position[scene, :, None].unbind(1)
    to_lamp: Vec = (lamp[0] - surface.point[0], lamp[1] - surface.point[1], lamp[2] - surface.point[2])
    lamp_distance = dot(to_lamp, to_lamp).sqrt()
    towards: Vec = (to_lamp[0] / lamp_distance, to_lamp[1] / lamp_distance, to_lamp[2] / lamp_distance)
    facing = dot(surface.normal, towards).clamp_min(0)
    strength = lit / (1 + (lamp_distance / light.reach[scene, None]).square())
    half = shapes.unit((towards[0] + to_eye[0], towards[1] + to_eye[1], towards[2] + to_eye[2]))
    # Blinn-Phong: narrow highlights on what is glossy.
    shine = gloss * dot(half, surface.normal).clamp_min(0) ** (4 + 60 * gloss)
    up = 0.5 + 0.5 * surface.normal[2]
    below, above, white = (x[scene].T[..., None] for x in (light.below, light.above, light.color))
    around = torch.lerp(below, above, up) * _corners(scenes, scene, surface.point)
    return albedo * (around + white * (strength * facing)) + white * (strength * 0.35 * shine * (facing > 0))


def _hazed(scenes: Scenes, scene: Tensor, color: Tensor, distance: Tensor, part: Tensor) -> Tensor:
    """Open ground fades into the horizon. color: [3, Q, G]; distance, part: [Q, G]."""
    around = scenes.surroundings
    far = (distance / around.far[scene, None]).clamp(0, 1)
    haze = 1 - (-around.haze[scene, None] * far).exp()
    haze = torch.maximum(haze, ((far - 0.8) * 5).clamp(0, 1) * (part == SURROUNDINGS))
    haze = haze * (around.kind[scene, None] != ROOM)
    return torch.lerp(color, around.sky[scene, 0].T[..., None].to(color), haze.to(color))


def _corners(scenes: Scenes, scene: Tensor, point: Vec) -> Tensor:
    """Less light comes from around near the edges of a room: 1 in the open, darker where two walls are close."""
    low, high = (corner[scene, :, None].unbind(1) for corner in (scenes.surroundings.low, scenes.surroundings.high))
    shade = torch.ones_like(point[0])
    for axis in range(3):
        gap = torch.minimum(point[axis] - low[axis], high[axis] - point[axis]).clamp_min(0)
        shade = shade * (1 - 0.28 * (-gap / 0.35).exp())
    return torch.where(scenes.surroundings.kind[scene, None] == ROOM, shade / 0.72, 1.0).clamp(max=1)


def _sky(scenes: Scenes, scene: Tensor, direction: Vec, paint_with: Paint) -> Tensor:
    """[3, M]: from the horizon's colour to the zenith's, with clouds."""
    up = direction[2].clamp_min(0).float()
    horizon, zenith = scenes.surroundings.sky[scene].float().movedim(0, -1).unbind(0)
    color = torch.lerp(horizon, zenith, up.sqrt())
    flat = 3 / (up + 0.15)
    where = scenes.look.offset[scene, -1].float().T
    place = torch.stack([direction[0].float() * flat, direction[1].float() * flat, torch.zeros_like(flat)]) + where
    field = fractal(paint_with.noise[:, :1], place, torch.full_like(up, 0.02), octaves=3)[0]
    cloud = ((field + 0.1) * 1.5).clamp(0, 1) * scenes.surroundings.clouds[scene].float() * (4 * up).clamp(0, 1)
    return torch.lerp(color, color.mean(0, keepdim=True) * 1.5, cloud)
