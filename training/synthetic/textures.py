# SPDX-License-Identifier: Apache-2.0
"""Procedural paint in an object's own coordinates, so that it sticks to what moves and bends.

Everything is band-limited by the pixel's footprint on the surface: detail finer than a pixel fades to its mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .atlas import LEVELS, Atlas
from .scene import Look
from .shapes import Vec

PATTERNS = ("plain", "noise", "checks", "stripes", "bricks", "dots", "wood", "marks", "picture")
PLAIN, NOISE, CHECKS, STRIPES, BRICKS, DOTS, WOOD, MARKS, PICTURE = range(len(PATTERNS))
_NOISE_SIZE, _OCTAVES = 32, 4


@dataclass(frozen=True)
class Paint:
    """What textures are made of, on one device.

    Attributes:
        noise: [1, 4, 33, 33, 33] float32 in [-1, 1], periodic.
        atlas: pictures and pages of marks.
    """

    noise: Tensor
    atlas: Atlas


def noise_volume(device: torch.device) -> Tensor:
    """[1, 4, 33, 33, 33]: four independent fields of white noise whose opposite faces are equal. Always the same."""
    generator = torch.Generator().manual_seed(20250)
    n = _NOISE_SIZE
    core = torch.rand(1, 4, n, n, n, generator=generator) * 2 - 1
    return F.pad(core, (0, 1, 0, 1, 0, 1), mode="circular").to(device)


def noise_at(noise: Tensor, p: Tensor) -> Tensor:
    """A periodic field between its lattice points, trilinear.

    Two bilinear lookups in neighbouring slices: on a CPU several times as fast as one in three dimensions.

    Args:
        noise: [1, C, n, n, n], opposite faces equal.
        p: [3, M] in [0, 1), shares of the period along the last axis, the one before and the first.

    Returns:
        [C, M].
    """
    n = noise.shape[-1]
    depth = p[2] * (n - 1)
    slice_below = depth.floor()
    row = slice_below * n + p[1] * (n - 1)
    to_unit = 2 / (n * n - 1)
    grid = torch.empty(1, 2, p.shape[1], 2, dtype=p.dtype, device=p.device)
    grid[0, :, :, 0] = 2 * p[0] - 1
    grid[0, 0, :, 1] = row * to_unit - 1
    grid[0, 1, :, 1] = (row + n) * to_unit - 1
    below, above = F.grid_sample(noise.flatten(2, 3), grid, align_corners=True)[0].unbind(1)
    return torch.lerp(below, above, depth - slice_below)


def fractal(noise: Tensor, p: Tensor, footprint: Tensor, octaves: int = _OCTAVES) -> Tensor:
    """Octaves of noise. noise: [1, C, n, n, n], p: [3, M] with features of unit size, footprint: [M] -> [C, M], ±1."""
    total = torch.zeros(noise.shape[1], p.shape[1], device=p.device)
    for octave in range(octaves):
        frequency = 2.0**octave
        turn = p * (frequency / _NOISE_SIZE) + 0.37 * octave
        value = noise_at(noise, turn - turn.floor())
        total = total + value * (0.55**octave * (1.4 - 2 * footprint * frequency).clamp(0, 1))
    return total


def paint(material: Paint, look: Look, surface: Tensor, rest: Vec, normal: Vec, footprint: Tensor) -> Tensor:
    """The colour of M points.

    Args:
        material: noise and atlas.
        look: of B scenes with K surfaces each.
        surface: [M] int64, scene · K + surface.
        rest: [M] each, coordinates in the object at rest, metres.
        normal: [M] each, in the object at rest.
        footprint: [M] metres on the surface that a pixel covers.

    Returns:
        [3, M] float32 linear RGB in [0, 1].
    """
    (scale, warp, dirt, grain, layer), offset, colors = _numbers(look, surface)
    noise = material.noise
    p = torch.stack(rest).float()
    fine = (footprint.float() * scale).clamp(max=50)
    scaled = p * scale
    field = fractal(noise, 0.7 * scaled + offset, 0.7 * fine)
    warped = scaled + warp * field[:3]

    pattern = look.pattern.flatten().index_select(0, surface)
    value = _pattern(pattern, *_chart(warped, normal), warped, field[0], fine)
    drawn = (pattern >= MARKS).nonzero()[:, 0]
    u, v = (x[drawn] for x in _chart(scaled, normal))
    drawn_pattern = pattern[drawn]
    picture = _picture(material.atlas, layer[drawn], drawn_pattern, (u, v), 0.35 * fine[drawn])
    value = value.index_copy(0, drawn, picture.mean(0))

    color = torch.lerp(colors[0], colors[1], value.clamp(0, 1))
    color = color.index_copy(1, drawn, torch.where(drawn_pattern == MARKS, color[:, drawn], picture))
    coarse = fractal(noise[:, :2], 0.13 * scaled + offset, 0.13 * fine, octaves=2)
    color = torch.lerp(color, colors[2], (dirt * (coarse[1] * 0.8)).clamp(0, 0.8))
    speckle = fractal(noise[:, 2:3], 5.0 * scaled + offset, 5 * fine, octaves=2)[0]
    shade: Tensor = 1 + grain * (speckle + 0.6 * field[3]) + dirt * 0.4 * coarse[0]
    return (color * shade).clamp(0.005, 1)


def _numbers(look: Look, surface: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of M points: scale, warp, dirt, grain and layer [5, M], offset [3, M], colours [3, RGB, M]; one lookup."""
    single = torch.stack([look.scale, look.warp, look.dirt, look.grain, look.layer]).flatten(1)
    table = torch.cat([single, look.offset.flatten(0, 1).T, look.colors.flatten(0, 1).flatten(1).T]).float()
    found: Tensor = table.index_select(1, surface)
    colors: Tensor = found[8:].unflatten(0, (3, 3))
    return found[:5], found[5:8], colors


def _chart(p: Tensor, normal: Vec) -> tuple[Tensor, Tensor]:
    """Two coordinates across a surface: those of the axes least along the normal. p: [3, M]."""
    x, y, z = (component.abs().float() for component in normal)
    along_x = (x > y) & (x > z)
    along_y = ~along_x & (y > z)
    u = torch.where(along_x, p[1], p[0])
    v = torch.where(along_x | along_y, p[2], p[1])
    return u, v


def _pattern(pattern: Tensor, u: Tensor, v: Tensor, p: Tensor, field: Tensor, fine: Tensor) -> Tensor:
    """The mixing value in [0, 1] of every pattern, by number."""
    checks = _wave(u, fine) * _wave(v, fine)
    row = (v * 2).floor()
    bricks = torch.minimum(_groove(u + 0.5 * row, fine), _groove(2 * v, 2 * fine))
    radius = ((u - u.floor() - 0.5).square() + (v - v.floor() - 0.5).square()).sqrt()
    dots = _step(0.28 - radius, fine)
    rings = _wave((p[0].square() + p[1].square()).sqrt() * 2.5 + 0.15 * p[2], 2.5 * fine)
    values = torch.stack(
        [
            torch.zeros_like(u),
            0.5 + 0.75 * field,
            0.5 + 0.5 * checks,
            0.5 + 0.5 * _wave(u, fine),
            bricks,
            torch.lerp(dots, torch.full_like(dots, 0.246), (fine - 0.5).clamp(0, 1)),
            0.5 + 0.5 * rings,
            torch.zeros_like(u),
            torch.zeros_like(u),
        ]
    )
    return values.gather(0, pattern[None])[0]


def _wave(x: Tensor, fine: Tensor) -> Tensor:
    """A square wave of period 1 between ±1, its flanks as wide as the footprint and gone where that is a period."""
    triangle = 1 - 4 * (x - x.floor() - 0.5).abs()
    return (triangle / (4 * fine).clamp_min(0.02)).clamp(-1, 1) * (1.5 - 1.5 * fine).clamp(0, 1)


def _groove(x: Tensor, fine: Tensor) -> Tensor:
    """1 on a brick, 0 in the joint about each integer."""
    share = (x - x.floor() - 0.5).abs()
    return torch.lerp(_step(0.45 - share, fine), torch.full_like(x, 0.9), (2 * fine - 0.5).clamp(0, 1))


def _step(x: Tensor, fine: Tensor) -> Tensor:
    return (0.5 + x / fine.clamp_min(0.01)).clamp(0, 1)


def _picture(atlas: Atlas, layer: Tensor, pattern: Tensor, chart: tuple[Tensor, Tensor], fine: Tensor) -> Tensor:
    """[3, M] of the atlas: a page where the pattern is MARKS, else a picture; one repeat in 1 / 0.35 periods."""
    # Mirrored repeats have no seams.
    across, up = (2 * (x / 2 - (x / 2 + 0.5).floor()).abs() for x in (0.35 * chart[0], 0.35 * chart[1]))
    index = torch.where(pattern == MARKS, (layer * atlas.pages).floor(), atlas.pages + (layer * atlas.pictures).floor())
    level = (fine * atlas.resolution).clamp_min(1).log2().clamp(max=LEVELS - 1)
    deep = 2 * (index * LEVELS + level) / (atlas.volume.shape[2] - 1) - 1
    grid = torch.stack([2 * across - 1, 1 - 2 * up, deep], -1).view(1, 1, 1, -1, 3)
    return F.grid_sample(atlas.volume, grid, align_corners=True).view(3, -1)
