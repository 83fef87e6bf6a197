# SPDX-License-Identifier: Apache-2.0
"""Many windows out of one stored scene, each with exact truth: frames, mirror, turned cameras, zoom, colours.

A camera that turns about its centre, or changes its lens, sees what the old one saw, resampled: no content appears from
behind anything. So a stored view gives any number of views, as long as they stay inside its image. What lies where in
the world does not change, only poses and intrinsics do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from training.records import Window

from .stored import Stored

_GRAY = (0.299, 0.587, 0.114)
_HALVINGS = 4
"""Turns that leave the image are halved this often, then dropped."""


@dataclass(frozen=True)
class VaryConfig:
    """How much a window is varied.

    Attributes:
        height, width: of the result, pixels.
        zoom: least and largest focal length, in pixels, to that of the stored view; below width / stored width the new
            view sees more than the old one and has borders without depth.
        turn: largest turn of all cameras alike about each axis, degrees.
        shake: largest turn of single cameras beside it, degrees; the largest of a window is drawn below it, since a
            camera held still is as common as a shaken one.
        mirror: share of windows that are mirrored.
        reverse: share of windows that run backwards.
        colour: 0 leaves colours alone, 1 changes them by up to a third.
    """

    height: int
    width: int
    zoom: tuple[float, float] = (0.85, 1.3)
    turn: float = 6.0
    shake: float = 6.0
    mirror: float = 0.5
    reverse: float = 0.5
    colour: float = 1.0


def vary(scene: Stored, frames: int, times: tuple[int, ...], config: VaryConfig, seed: int) -> Window:
    """One window of a stored scene.

    Args:
        scene: at least `frames` views.
        frames: S of the window.
        times: the asked positions t of P[v, t] in the window.
        config: how much.
        seed: decides everything drawn.

    Returns:
        A batch of one.
    """
    draw = torch.Generator().manual_seed(seed)
    chosen = _frames(len(scene.images), frames, config.reverse, draw)
    images = scene.images[chosen].float() / 255
    depth, dynamic = scene.depth[chosen], scene.dynamic[chosen]
    travel = scene.travel[[chosen[time] for time in times]][:, chosen]
    intrinsics, poses = scene.intrinsics[chosen], scene.world_from_camera[chosen]
    if _chance(config.mirror, draw):
        images, depth, dynamic, travel = images.flip(-1), depth.flip(-1), dynamic.flip(-1), travel.flip(-2)
        travel, intrinsics, poses = mirrored(travel, intrinsics, poses, scene.images.shape[-1])
    turned, lens = _cameras((intrinsics, scene.size), config, draw)
    place, inside = source_pixels((intrinsics, scene.size), turned, lens, config)
    images = _colours(_sampled(images, place), config.colour, draw)
    row, column = _nearest(place, depth.shape[-2:])
    pixel = (row * depth.shape[-1] + column).flatten(1)
    points = _directions(intrinsics, row, column) * _taken(depth, pixel).view(row.shape)[..., None]
    # The material nearest to the new ray, at its depth along the new axis: at most half a stored pixel beside the ray.
    z = (points * turned[:, None, None, :, 2]).sum(-1)
    depth = torch.where(inside & (points[..., 2] > 0), z.clamp_min(0), 0.0)
    poses = poses.clone()
    poses[:, :3, :3] = poses[:, :3, :3] @ turned
    window = Window(
        images=images[None],
        intrinsics=lens[None],
        world_from_camera=poses[None],
        depth=depth[None],
        points=torch.zeros(1, len(times), frames, config.height, config.width, 3),
        valid=torch.zeros(1, len(times), frames, config.height, config.width, dtype=torch.bool),
        times=times,
        dynamic=(_taken(dynamic, pixel).view(row.shape) & (depth > 0))[None],
    )
    own, valid = window.own_points()
    valid = valid[:, None].expand_as(window.valid)
    xyz = pixel[None, :, :, None].expand(len(times), -1, -1, 3)
    moved = own[:, None] + travel.flatten(2, 3).gather(2, xyz).view(1, len(times), *row.shape, 3)
    return replace(window, points=moved * valid[..., None], valid=valid)


def mirrored(travel: Tensor, intrinsics: Tensor, poses: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The world with x negated, as seen in images flipped left to right. Determinants of rotations stay +1."""
    flip = torch.tensor([-1.0, 1.0, 1.0])
    intrinsics, poses = intrinsics.clone(), poses.clone()
    intrinsics[:, 0, 2] = width - 1 - intrinsics[:, 0, 2]
    poses[:, :3, :3] = flip[:, None] * poses[:, :3, :3] * flip
    poses[:, :3, 3] *= flip
    return travel * flip, intrinsics, poses


def source_pixels(
    stored: tuple[Tensor, tuple[int, int]], turned: Tensor, lens: Tensor, config: VaryConfig
) -> tuple[Tensor, Tensor]:
    """Where new pixels were in the stored views.

    Args:
        stored: intrinsics [S, 3, 3] of the stored views, and their (height, width).
        turned: [S, 3, 3] old_from_new rotations.
        lens: [S, 3, 3] of the new views.
        config: their size.

    Returns:
        [S, H, W, 2] pixels (u, v), and [S, H, W] bool whether they are inside the stored image.
    """
    row, column = torch.meshgrid(torch.arange(config.height), torch.arange(config.width), indexing="ij")
    return _sources(stored, turned, _directions(lens, row, column))


def _all_inside(stored: tuple[Tensor, tuple[int, int]], turned: Tensor, lens: Tensor, config: VaryConfig) -> Tensor:
    """Whether a whole new view lies inside the stored one, [S] bool; its corners decide, for lines stay lines."""
    row, column = torch.tensor([[0, 0], [config.height - 1] * 2]), torch.tensor([[0, config.width - 1]] * 2)
    _, inside = _sources(stored, turned, _directions(lens, row, column))
    return inside.all(-1).all(-1)


def _sources(stored: tuple[Tensor, tuple[int, int]], turned: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    intrinsics, (rows, columns) = stored
    old = (rays.flatten(1, 2) @ (intrinsics @ turned).mT).view_as(rays)
    in_front = old[..., 2] > 1e-3
    place = old[..., :2] / old[..., 2:].clamp_min(1e-3)
    edge = place.new_tensor([columns, rows]) - 0.5
    return place, in_front & ((place > -0.5) & (place < edge)).all(-1)


def _frames(there: int, wanted: int, reverse: float, draw: torch.Generator) -> list[int]:
    """Positions in time order or against it; gaps differ."""
    chosen = sorted(torch.randperm(there, generator=draw)[:wanted].tolist())
    return chosen[::-1] if _chance(reverse, draw) else chosen


def _cameras(
    stored: tuple[Tensor, tuple[int, int]], config: VaryConfig, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Turns (old_from_new) [S, 3, 3] and intrinsics [S, 3, 3] of the new views; turns stay inside the stored images."""
    intrinsics = stored[0]
    frames = len(intrinsics)
    low, high = config.zoom
    zoom = low * (high / low) ** float(torch.rand((), generator=draw))
    lens = torch.zeros(frames, 3, 3)
    lens[:, 0, 0], lens[:, 1, 1] = intrinsics[:, 0, 0] * zoom, intrinsics[:, 1, 1] * zoom
    lens[:, 0, 2], lens[:, 1, 2], lens[:, 2, 2] = (config.width - 1) / 2, (config.height - 1) / 2, 1
    common = _uniform((1, 3), config.turn, draw)
    shake = config.shake * float(torch.rand((), generator=draw))
    angles = torch.deg2rad(common + _uniform((frames, 3), shake, draw))
    share = torch.ones(frames, 1)
    for _ in range(_HALVINGS):
        inside = _all_inside(stored, _rotations(share * angles), lens, config)
        share = torch.where(inside[:, None], share, share / 2)
    inside = _all_inside(stored, _rotations(share * angles), lens, config)
    share = torch.where(inside[:, None], share, 0.0)
    return _rotations(share * angles), lens


def _rotations(angles: Tensor) -> Tensor:
    """Rotation vectors [S, 3] -> [S, 3, 3]."""
    x, y, z = angles.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).view(-1, 3, 3)
    rotations: Tensor = torch.linalg.matrix_exp(skew)
    return rotations


def _directions(intrinsics: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Rays with z = 1 through pixels: [S, 3, 3], [S, H, W] or [H, W] twice -> [S, H, W, 3]."""
    fx, fy, cx, cy = (intrinsics[:, i, j, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    x, y = (column - cx) / fx, (row - cy) / fy
    return torch.stack([x, y, torch.ones_like(x)], -1)


def _sampled(images: Tensor, place: Tensor) -> Tensor:
    """Bilinear, borders go on. images: [S, 3, h, w]; place: [S, H, W, 2] -> [S, 3, H, W]."""
    h, w = images.shape[-2:]
    grid = (2 * place + 1) / place.new_tensor([w, h]) - 1
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _nearest(place: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    column, row = place.round().long().unbind(-1)
    return row.clamp(0, size[0] - 1), column.clamp(0, size[1] - 1)


def _taken(values: Tensor, pixel: Tensor) -> Tensor:
    """Of each view the values at its pixels' places in the flattened image: [S, h, w], [S, n] -> [S, n]."""
    return values.flatten(1).gather(1, pixel)


def _colours(images: Tensor, strength: float, draw: torch.Generator) -> Tensor:
    """Gain, contrast, saturation and white balance of the window, some gain a frame. [S, 3, H, W] in [0, 1]."""
    gain, contrast, saturation = (1 + strength * _uniform((3,), 0.33, draw)).unbind()
    white = 1 + strength * _uniform((1, 3, 1, 1), 0.1, draw)
    flicker = 1 + strength * _uniform((len(images), 1, 1, 1), 0.05, draw)
    mean = images.mean()
    gray = (images * images.new_tensor(_GRAY)[:, None, None]).sum(1, keepdim=True)
    images = gray + saturation * (images - gray)
    return ((images - mean) * contrast + mean).mul(gain * white * flicker).clamp(0, 1)


def _uniform(shape: tuple[int, ...], largest: float, draw: torch.Generator) -> Tensor:
    return largest * (2 * torch.rand(shape, generator=draw) - 1)


def _chance(share: float, draw: torch.Generator) -> bool:
    return bool(torch.rand((), generator=draw) < share)
