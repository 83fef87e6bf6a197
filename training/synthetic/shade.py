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
    """What is known where M rays end; rows that meet nothing hold any finite numbers.

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
    s, part = nearest_part(bundles, scenes.parts, posed)
    s_around, face = nearest_surroundings(bundles, scenes.surroundings)
    around = s_around < s
    return Hits(torch.minimum(s, s_around), torch.where(around, SURROUNDINGS, part), face)


def surface_at(bundles: Bundles, hits: Hits, scenes: Scenes, posed: Posed) -> Surface:
    """Points, normals and material coordinates, flat over M = Q · G."""
    G = hits.s.shape[1]
    scene, instant = (index.repeat_interleave(G) for index in (bundles.scene, bundles.instant))
    s, part, face = hits.s.flatten(), hits.part.flatten(), hits.face.flatten()
    direction: Vec = bundles.direction.movedim(1, 0).flatten(1).unbind(0)  # type: ignore[assignment]
    origin: Vec = bundles.origin.expand_as(bundles.direction).movedim(1, 0).flatten(1).unbind(0)  # type: ignore[assignment]
    point = along(origin, direction, torch.where(s.isinf(), 1.0, s))
    normal = surroundings_normals(scenes.surroundings, scene, face, point)
    rest, rest_normal = [x.clone() for x in point], [x.clone() for x in normal]

    at = (part >= 0).nonzero()[:, 0]
    scene, instant, part = scene[at], instant[at], part[at]
    material = rest_points(tuple(x[at] for x in point), scenes.parts, posed, scene, instant, part)  # type: ignore[arg-type]
    size: Vec = scenes.parts.size[scene, part].unbind(-1)  # type: ignore[assignment]
    exponents = scenes.parts.exponents[scene, part].unbind(-1)
    own = shapes.normals(scenes.parts.kind[scene, part], material, size, (exponents[0], exponents[1]))
    bent = shapes.unit(softness.deform_normal(own, material, posed.soft[instant, part]))
    facing = [x[:, None] for x in bent]
    out = turned_rays(posed.rotation[instant, part], (facing[0], facing[1], facing[2]))
    normal = tuple(whole.index_copy(0, at, new[:, 0]) for whole, new in zip(normal, out, strict=True))  # type: ignore[assignment]
    for axis in range(3):
        rest[axis][at], rest_normal[axis][at] = material[axis], own[axis]
    away = dot(normal, direction) > 0
    normal = tuple(torch.where(away, -x, x) for x in normal)  # type: ignore[assignment]
    return Surface(point, normal, (rest[0], rest[1], rest[2]), (rest_normal[0], rest_normal[1], rest_normal[2]))


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
    light, of = scenes.light, bundles.scene.repeat_interleave(G)
    to_lamp = tuple(light.position[of, i] - surface.point[i] for i in range(3))
    faces = dot(surface.normal, to_lamp) > -light.radius[of]  # type: ignore[arg-type]
    solid = (hits.part != NOTHING) & faces.view(Q, G)
    rows = (solid & asked).any(1).nonzero()[:, 0]
    some = asked.nonzero()[:, 0]
    solid, spot = solid[rows][:, some], spot[some]
    point = torch.stack([x.view(Q, G) for x in surface.point], 1)[rows][..., some]
    weight = solid[:, None].to(point)
    mean = (point * weight).sum(-1, keepdim=True) / weight.sum(-1, keepdim=True)
    point = torch.where(solid[:, None], point, mean)
    scene = bundles.scene[rows]
    turn = spot * 2.399963  # the golden angle spreads 16 spots evenly over a disc
    reach = ((spot + 0.5) / 16).sqrt()
    disc = torch.stack([reach * turn.cos(), reach * turn.sin(), torch.zeros_like(reach)]).to(point)
    origin = light.position[scene, :, None] + light.radius[scene, None, None] * disc
    rays = Bundles(origin, point - origin, bundles.instant[rows], scene)
    s, _ = nearest_part(rays, scenes.parts, posed)
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
        lit: [M] share of the lamp that is seen.
        scenes: of the bundles.
        paint_with: textures.
        pixel: [Q] size of a pixel at distance 1.

    Returns:
        [M, 3] float32.
    """
    G = hits.s.shape[1]
    scene = bundles.scene.repeat_interleave(G)
    part, face = hits.part.flatten(), hits.face.flatten()
    parts = scenes.parts.kind.shape[1]
    row = torch.where(part >= 0, part, parts + face)
    direction: Vec = bundles.direction.movedim(1, 0).flatten(1).unbind(0)  # type: ignore[assignment]
    length = dot(direction, direction).sqrt()
    distance = torch.where(hits.s.flatten().isinf(), 1.0, hits.s.flatten()) * length
    slant = (-dot(surface.normal, direction) / length).clamp_min(0.12)
    footprint = distance * pixel.repeat_interleave(G) / slant.sqrt()
    albedo = paint(paint_with, scenes.look, (scene, row), surface.rest, surface.rest_normal, footprint)

    light = scenes.light
    to_lamp = tuple(light.position[scene, i] - surface.point[i] for i in range(3))
    lamp_distance = dot(to_lamp, to_lamp).sqrt()
    towards = tuple(x / lamp_distance for x in to_lamp)
    facing = dot(surface.normal, towards).clamp_min(0)  # type: ignore[arg-type]
    strength = lit / (1 + (lamp_distance / light.reach[scene]).square())
    half = shapes.unit(tuple(t - d / length for t, d in zip(towards, direction, strict=True)))  # type: ignore[arg-type]
    gloss = scenes.look.gloss[scene, row]
    shine = gloss * dot(half, surface.normal).clamp_min(0) ** (4 + 60 * gloss)
    up = (0.5 + 0.5 * surface.normal[2])[:, None]
    around = torch.lerp(light.below[scene], light.above[scene], up) * _corners(scenes, scene, surface.point)[:, None]
    lamp = light.color[scene] * strength[:, None]
    color = albedo * (around + lamp * facing[:, None]) + lamp * (0.35 * shine * (facing > 0))[:, None]

    open_air = scenes.surroundings.kind[scene] != ROOM
    far = (distance / scenes.surroundings.far[scene]).clamp(0, 1)
    haze = 1 - (-scenes.surroundings.haze[scene] * far).exp()
    haze = torch.maximum(haze, ((far - 0.8) * 5).clamp(0, 1) * (part == SURROUNDINGS)) * open_air
    color = torch.lerp(color, scenes.surroundings.sky[scene, 0].to(color), haze[:, None].to(color))
    above = (part == NOTHING).nonzero()[:, 0]
    looking = shapes.unit((direction[0][above], direction[1][above], direction[2][above]))
    return color.float().index_copy(0, above, _sky(scenes, scene[above], looking, paint_with))


def _corners(scenes: Scenes, scene: Tensor, point: Vec) -> Tensor:
    """Less light comes from around near the edges of a room: 1 in the open, darker where two walls are close."""
    low, high = scenes.surroundings.low[scene], scenes.surroundings.high[scene]
    shade = torch.ones_like(point[0])
    for axis in range(3):
        gap = torch.minimum(point[axis] - low[:, axis], high[:, axis] - point[axis]).clamp_min(0)
        shade = shade * (1 - 0.28 * (-gap / 0.35).exp())
    return torch.where(scenes.surroundings.kind[scene] == ROOM, shade / 0.72, 1.0).clamp(max=1)


def _sky(scenes: Scenes, scene: Tensor, direction: Vec, paint_with: Paint) -> Tensor:
    """[M, 3]: from the horizon's colour to the zenith's, with clouds."""
    up = direction[2].clamp_min(0).float()
    colors = scenes.surroundings.sky[scene].float()
    color = torch.lerp(colors[:, 0], colors[:, 1], up.sqrt()[:, None])
    flat = 3 / (up + 0.15)
    where = scenes.look.offset[scene, -1].float()
    place = torch.stack([direction[0].float() * flat, direction[1].float() * flat, torch.zeros_like(flat)], -1) + where
    field = fractal(paint_with.noise, place, torch.full_like(up, 0.02), octaves=3)[0]
    cloud = ((field + 0.1) * 1.5).clamp(0, 1) * scenes.surroundings.clouds[scene].float() * (4 * up).clamp(0, 1)
    return torch.lerp(color, color.mean(-1, keepdim=True) * 1.5, cloud[:, None])
