# SPDX-License-Identifier: Apache-2.0
"""Pictures of scenes, and what every pixel of them shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from . import sensor as camera
from .motion import Posed, camera_pose, intrinsics, pose, turned_rays
from .scene import Scenes
from .shade import SHADOW_GRID, Hits, Surface, lamp_seen, shade, surface_at, trace
from .shapes import Vec
from .textures import Paint
from .trace import NOTHING, Bundles, world_points

TILE = 8


@dataclass(frozen=True)
class View:
    """B scenes at their S frame times, seen at one image size.

    Attributes:
        scenes: with `posed` of F = B · S instants, frame after frame of a scene.
        world_from_camera: [B, S, 4, 4]. intrinsics: [B, 3, 3]. size: (H, W).
    """

    scenes: Scenes
    posed: Posed
    world_from_camera: Tensor
    intrinsics: Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class Seen:
    """What the centre of every pixel shows, [B, S, H, W] each.

    Attributes:
        depth: along the optical axis, +inf where there is nothing.
        part: the part's number, SURROUNDINGS or NOTHING.
        face: which surface of the surroundings.
        point, rest, normal: [3] first: world, material coordinates, world.
    """

    depth: Tensor
    part: Tensor
    face: Tensor
    point: Tensor
    rest: Tensor
    normal: Tensor


def look_at(scenes: Scenes, height: int, width: int) -> View:
    """The scenes' cameras and poses at their frame times."""
    return View(
        scenes,
        pose(scenes, scenes.seconds),
        camera_pose(scenes.camera, scenes.seconds),
        intrinsics(scenes.camera, height, width),
        (height, width),
    )


def pixel_rays(view: View, u: Tensor, v: Tensor, frame: Tensor) -> Tensor:
    """World directions of length 1 along the optical axis. u, v: [Q, G] pixels; frame: [Q] of F -> [Q, 3, G]."""
    S = view.scenes.seconds.shape[1]
    K = view.intrinsics[frame // S]
    x = (u - K[:, 0, 2, None]) / K[:, 0, 0, None]
    y = (v - K[:, 1, 2, None]) / K[:, 1, 1, None]
    return torch.stack(turned_rays(view.world_from_camera.flatten(0, 1)[frame, :3, :3], (x, y, torch.ones_like(x))), 1)


def bundles_at(view: View, u: Tensor, v: Tensor, frame: Tensor) -> Bundles:
    """Camera rays through pixels. u, v: [Q, G]; frame: [Q] of F."""
    origin = view.world_from_camera.flatten(0, 1)[frame, :3, 3]
    return Bundles(origin[..., None], pixel_rays(view, u, v, frame), frame, frame // view.scenes.seconds.shape[1])


def tiles(picture: Tensor) -> Tensor:
    """[F, H, W] -> [F · tiles, TILE²], the edges repeated to whole tiles."""
    H, W = picture.shape[-2:]
    if H % TILE or W % TILE:
        rows = torch.arange(-(-H // TILE) * TILE, device=picture.device).clamp(max=H - 1)
        columns = torch.arange(-(-W // TILE) * TILE, device=picture.device).clamp(max=W - 1)
        picture = picture[..., rows, :][..., columns]
    grid: Tensor = picture.unflatten(-2, (-1, TILE)).unflatten(-1, (-1, TILE))
    return grid.transpose(-3, -2).flatten(-2).flatten(0, -2)


def untile(values: Tensor, size: tuple[int, int]) -> Tensor:
    """The inverse of `tiles`: [F · tiles, TILE², ...] -> [F, H, W, ...]."""
    H, W = size
    down, across = -(-H // TILE), -(-W // TILE)
    grid: Tensor = values.unflatten(1, (TILE, TILE)).unflatten(0, (-1, down, across)).transpose(2, 3)
    return grid.flatten(3, 4).flatten(1, 2)[:, :H, :W]


def tile_bundles(view: View) -> Bundles:
    """The rays through all pixel centres, tile by tile."""
    H, W = view.size
    frames = view.scenes.seconds.numel()
    like = view.intrinsics
    v, u = torch.meshgrid(
        torch.arange(H, dtype=like.dtype, device=like.device),
        torch.arange(W, dtype=like.dtype, device=like.device),
        indexing="ij",
    )
    u, v = tiles(u[None]).repeat(frames, 1), tiles(v[None]).repeat(frames, 1)
    frame = torch.arange(frames, device=like.device).repeat_interleave(len(u) // frames)
    return bundles_at(view, u, v, frame)


def render(view: View, material: Paint, samples: int) -> tuple[Tensor, Seen]:
    """Images [B, S, 3, H, W] in [0, 1] and what their pixels show."""
    scenes, posed = view.scenes, view.posed
    bundles = tile_bundles(view)
    hits = trace(bundles, scenes, posed)
    surface = surface_at(bundles, hits, scenes, posed)
    seen = _seen(view, hits, surface)
    lit = _soft_shadow(view, bundles, hits, surface)
    pixel = 1 / view.intrinsics[bundles.scene, 0, 0]
    light = shade(bundles, hits, surface, lit, scenes, material, pixel)
    light = torch.stack([untile(channel, view.size) for channel in light], 1)
    if samples > 1:
        light = _smooth_edges(view, material, seen, light, untile(lit, view.size), samples)
    light = camera.motion_blur(light, shutter_motion(view, seen).flatten(0, 1).float())
    light = light.unflatten(0, scenes.seconds.shape)
    light = camera.lens(camera.expose(light, scenes.sensor, scenes.seconds), scenes.sensor)
    images = camera.develop(camera.noise(light, scenes.sensor, scenes.seconds))
    return camera.compress(images, scenes.sensor.quality), seen


def _seen(view: View, hits: Hits, surface: Surface) -> Seen:
    shape = view.scenes.seconds.shape

    def picture(values: Tensor) -> Tensor:
        frames: Tensor = untile(values, view.size).unflatten(0, shape)
        return frames

    def vector(values: Vec) -> Tensor:
        return torch.stack([picture(x) for x in values])

    return Seen(
        picture(hits.s),
        picture(hits.part),
        picture(hits.face),
        vector(surface.point),
        vector(surface.rest),
        vector(surface.normal),
    )


def _soft_shadow(view: View, bundles: Bundles, hits: Hits, surface: Surface) -> Tensor:
    """Every second pixel sees one of 16 spots of the lamp; each takes the mean of 4 × 4 of its surface. -> [Q, G]."""
    place = torch.arange(TILE, device=hits.s.device)
    spot = (place[:, None] % SHADOW_GRID * SHADOW_GRID + place % SHADOW_GRID).flatten()
    asked = ((place[:, None] + place) % 2 == 0).flatten()
    found = lamp_seen(bundles, hits, surface, view.scenes, view.posed, spot, asked)
    seen, counts = (untile(x, view.size) for x in (found, asked.to(found).expand_as(found)))
    part = untile(_surface_number(hits.part, hits.face), view.size)
    total, weight = torch.zeros_like(seen), torch.zeros_like(seen)
    reach = SHADOW_GRID // 2
    around = (reach, reach - 1, reach, reach - 1)
    H, W = view.size
    wide = [F.pad(x[:, None].float(), around, mode="replicate")[:, 0] for x in (seen * counts, counts, part)]
    for dy in range(SHADOW_GRID):
        for dx in range(SHADOW_GRID):
            lit, counted, number = (x[:, dy : dy + H, dx : dx + W] for x in wide)
            same = number == part
            total = total + lit * same
            weight = weight + counted * same
    return tiles(torch.where(weight > 0, total / weight.clamp_min(1), 1.0))


def _smooth_edges(view: View, material: Paint, seen: Seen, light: Tensor, lit: Tensor, samples: int) -> Tensor:
    """Pixels on an edge take the mean of several rays. light: [F, 3, H, W], lit: [F, H, W]."""
    frame, row, column = _edges(seen).flatten(0, 1).nonzero(as_tuple=True)
    if len(frame) == 0:
        return light
    turn = torch.arange(samples, device=light.device, dtype=view.intrinsics.dtype)
    # Points of the golden ratio's lattice: even in both directions for any number.
    across, down = (turn + 0.5) / samples - 0.5, (turn * 0.61803398875 + 0.31) % 1 - 0.5
    bundles = bundles_at(view, column[:, None] + across, row[:, None] + down, frame)
    hits = trace(bundles, view.scenes, view.posed)
    surface = surface_at(bundles, hits, view.scenes, view.posed)
    numbers = _surface_number(seen.part, seen.face).flatten(0, 1)
    near = _lit_near(lit, numbers, (frame, row, column), _surface_number(hits.part, hits.face))
    pixel = 1 / view.intrinsics[bundles.scene, 0, 0]
    light = light.clone()
    light[frame, :, row, column] = shade(bundles, hits, surface, near, view.scenes, material, pixel).mean(-1).T
    return light


def _lit_near(lit: Tensor, numbers: Tensor, at: tuple[Tensor, Tensor, Tensor], wanted: Tensor) -> Tensor:
    """Mean of `lit` over the 3 × 3 pixels about each place that show the wanted surface; 1 where none does.

    Args:
        lit, numbers: [F, H, W] light and surface of every pixel.
        at: frame, row and column of E places.
        wanted: [E, G] surfaces.
    """
    frame, row, column = at
    H, W = lit.shape[1:]
    total, weight = torch.zeros_like(wanted, dtype=lit.dtype), torch.zeros_like(wanted, dtype=lit.dtype)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y, x = (row + dy).clamp(0, H - 1), (column + dx).clamp(0, W - 1)
            same = numbers[frame, y, x][:, None] == wanted
            total = total + lit[frame, y, x][:, None] * same
            weight = weight + same
    return torch.where(weight > 0, total / weight.clamp_min(1), 1.0)


def _surface_number(part: Tensor, face: Tensor) -> Tensor:
    """One integer a surface: parts, faces of the surroundings, nothing."""
    return torch.where(part >= 0, part, torch.where(part == NOTHING, NOTHING, -face - 3))


def _edges(seen: Seen) -> Tensor:
    """Pixels whose right or lower neighbour shows another surface, and those neighbours. [B, S, H, W] bool."""
    surface = _surface_number(seen.part, seen.face)
    edge = torch.zeros_like(surface, dtype=torch.bool)
    for axis in (-1, -2):
        n = surface.shape[axis]
        differ = surface.narrow(axis, 0, n - 1) != surface.narrow(axis, 1, n - 1)
        bend = (seen.normal.narrow(axis, 0, n - 1) * seen.normal.narrow(axis, 1, n - 1)).sum(0) < 0.7
        differ = differ | (bend & (surface.narrow(axis, 0, n - 1) >= 0))
        edge.narrow(axis, 0, n - 1).logical_or_(differ)
        edge.narrow(axis, 1, n - 1).logical_or_(differ)
    return edge


def shutter_motion(view: View, seen: Seen) -> Tensor:
    """How far each pixel's content moves in the image while the shutter is open. [B, S, H, W, 2] pixels (u, v)."""
    scenes = view.scenes
    later = replace(scenes, seconds=scenes.seconds + scenes.sensor.shutter[:, None])
    moved = point_at(scenes, pose(later, later.seconds), seen, None)
    poses = camera_pose(later.camera, later.seconds)
    pixel, depth = project(moved, poses, view.intrinsics)
    H, W = view.size
    v, u = torch.meshgrid(
        torch.arange(H, dtype=pixel.dtype, device=pixel.device),
        torch.arange(W, dtype=pixel.dtype, device=pixel.device),
        indexing="ij",
    )
    motion = pixel - torch.stack([u, v], -1)
    known = (depth > 0.01) & (seen.part != NOTHING)
    return torch.where(known[..., None], motion, 0.0)


def point_at(scenes: Scenes, posed: Posed, seen: Seen, times: tuple[int, ...] | None) -> Tensor:
    """Where the content of every pixel is at other times.

    Args:
        scenes: of `posed`.
        posed: F = B · S instants.
        seen: what the pixels show.
        times: T of the S instants, for each pixel all of them; None: its own frame's instant of `posed`.

    Returns:
        [B, T, S, H, W, 3] world, or [B, S, H, W, 3] without times. What never moves is the same to the last bit.
    """
    S = scenes.seconds.shape[1]
    own = seen.point.movedim(0, -1)
    (b, s, row, column), part, rest = _moving(scenes, seen)
    if times is None:
        points = own.clone()
        points[b, s, row, column] = world_points(rest, posed, b * S + s, part)
        return points
    points = own[:, None].repeat(1, len(times), 1, 1, 1, 1)
    for place, time in enumerate(times):
        points[b, place, s, row, column] = world_points(rest, posed, b * S + time, part)
    return points


def travel(scenes: Scenes, posed: Posed, seen: Seen) -> Tensor:
    """How far the content of every pixel gets from where it is seen, within the window. [B, S, H, W] metres."""
    S = scenes.seconds.shape[1]
    at, part, rest = _moving(scenes, seen)
    own = world_points(rest, posed, at[0] * S + at[1], part)
    away = torch.zeros_like(rest[0])
    for time in range(S):
        then = world_points(rest, posed, at[0] * S + time, part)
        away = torch.maximum(away, (then - own).norm(dim=-1))
    farthest = torch.zeros_like(seen.depth)
    farthest[at] = away
    return farthest


def _moving(scenes: Scenes, seen: Seen) -> tuple[tuple[Tensor, ...], Tensor, Vec]:
    """The M pixels whose content ever moves: their places, parts [M] and material coordinates [M] each."""
    moving = (seen.part >= 0) & scenes.parts.moving.gather(1, seen.part.clamp_min(0).flatten(1)).view_as(seen.part)
    b, s, row, column = at = moving.nonzero(as_tuple=True)
    rest: Vec = seen.rest[:, b, s, row, column].unbind(0)  # type: ignore[assignment]
    return at, seen.part[at], rest


def project(points: Tensor, world_from_camera: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (u, v) [..., 2] and depth [...] of points [B, S, H, W, 3] in cameras [B, S, 4, 4] with K [B, 3, 3]."""
    pose = world_from_camera[:, :, None, None]
    east, north, up = (points[..., i] - pose[..., i, 3] for i in range(3))
    x, y, z = (pose[..., 0, i] * east + pose[..., 1, i] * north + pose[..., 2, i] * up for i in range(3))
    safe = torch.where(z.abs() > 1e-6, z, 1e-6)
    K = K[:, None, None, None]
    return torch.stack([K[..., 0, 0] * x / safe + K[..., 0, 2], K[..., 1, 1] * y / safe + K[..., 1, 2]], -1), z
