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


def fractal(noise: Tensor, p: Tensor, footprint: Tensor, octaves: int = _OCTAVES) -> Tensor:
    """Octaves of noise. p: [M, 3] with features of unit size, footprint: [M] -> [4, M], about ±1."""
    total = torch.zeros(4, len(p), device=p.device)
    for octave in range(octaves):
        frequency = 2.0**octave
        turn = p * frequency / _NOISE_SIZE + 0.37 * octave
        wrapped = (turn - turn.floor()) * 2 - 1
        value = F.grid_sample(noise, wrapped.view(1, 1, 1, -1, 3), align_corners=True).view(4, -1)
        total = total + value * (0.55**octave * (1.4 - 2 * footprint * frequency).clamp(0, 1))
    return total


def paint(
    material: Paint, look: Look, surface: tuple[Tensor, Tensor], rest: Vec, normal: Vec, footprint: Tensor
) -> Tensor:
    """The colour of M points.

    Args:
        material: noise and atlas.
        look: of B scenes.
        surface: scene [M] and surface [M], the rows of `look`.
        rest: [M] each, coordinates in the object at rest, metres.
        normal: [M] each, in the object at rest.
        footprint: [M] metres on the surface that a pixel covers.

    Returns:
        [M, 3] float32 linear RGB in [0, 1].
    """
    scale = look.scale[surface].float()
    offset = look.offset[surface].float()
    p = torch.stack(rest, -1).float()
    fine = (footprint.float() * scale).clamp(max=50)
    field = fractal(material.noise, p * scale[:, None] * 0.7 + offset, 0.7 * fine)
    warped = p * scale[:, None] + (look.warp[surface].float() * field[:3]).T

    u, v = _chart(warped, normal)
    pattern = look.pattern[surface]
    value = _pattern(pattern, u, v, warped, field[0], fine)
    plain_u, plain_v = _chart(p * scale[:, None], normal)
    picture = _picture(material.atlas, look.layer[surface].float(), pattern, plain_u, plain_v, 0.35 * fine)
    value = torch.where(pattern == MARKS, picture.mean(-1), value)

    colors = look.colors[surface].float()
    color = torch.lerp(colors[:, 0], colors[:, 1], value[:, None].clamp(0, 1))
    color = torch.where((pattern == PICTURE)[:, None], picture, color)
    coarse = fractal(material.noise, p * (0.13 * scale)[:, None] + offset, 0.13 * fine, octaves=2)
    color = torch.lerp(color, colors[:, 2], (look.dirt[surface].float() * (coarse[1] * 0.8)).clamp(0, 0.8)[:, None])
    grain = fractal(material.noise, p * (5.0 * scale)[:, None] + offset, 5 * fine, octaves=2)
    shade = 1 + look.grain[surface].float() * (grain[2] + 0.6 * field[3]) + look.dirt[surface].float() * 0.4 * coarse[0]
    return (color * shade[:, None]).clamp(0.005, 1)


def _chart(p: Tensor, normal: Vec) -> tuple[Tensor, Tensor]:
    """Two coordinates across a surface: those of the axes least along the normal."""
    x, y, z = (component.abs().float() for component in normal)
    along_x = (x > y) & (x > z)
    along_y = ~along_x & (y > z)
    u = torch.where(along_x, p[:, 1], p[:, 0])
    v = torch.where(along_x | along_y, p[:, 2], p[:, 1])
    return u, v


def _pattern(pattern: Tensor, u: Tensor, v: Tensor, p: Tensor, field: Tensor, fine: Tensor) -> Tensor:
    """The mixing value in [0, 1] of every pattern, by number."""
    checks = _wave(u, fine) * _wave(v, fine)
    row = (v * 2).floor()
    bricks = torch.minimum(_groove(u + 0.5 * row, fine), _groove(2 * v, 2 * fine))
    radius = ((u - u.floor() - 0.5).square() + (v - v.floor() - 0.5).square()).sqrt()
    dots = _step(0.28 - radius, fine)
    rings = _wave((p[:, 0].square() + p[:, 1].square()).sqrt() * 2.5 + 0.15 * p[:, 2], 2.5 * fine)
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


def _picture(atlas: Atlas, layer: Tensor, pattern: Tensor, u: Tensor, v: Tensor, fine: Tensor) -> Tensor:
    """[M, 3] of the atlas: a page where the pattern is MARKS, else a picture; one repeat in 1 / 0.35 periods."""
    u, v = 0.35 * u, 0.35 * v
    # Mirrored repeats have no seams.
    turn = [2 * (x / 2 - (x / 2 + 0.5).floor()).abs() for x in (u, v)]
    index = torch.where(pattern == MARKS, (layer * atlas.pages).floor(), atlas.pages + (layer * atlas.pictures).floor())
    level = (fine * atlas.resolution).clamp_min(1).log2().clamp(max=LEVELS - 1)
    deep = 2 * (index * LEVELS + level) / (atlas.volume.shape[2] - 1) - 1
    grid = torch.stack([2 * turn[0] - 1, 1 - 2 * turn[1], deep], -1).view(1, 1, 1, -1, 3)
    return F.grid_sample(atlas.volume, grid, align_corners=True).view(3, -1).T
