# SPDX-License-Identifier: Apache-2.0
"""What is true of every pixel at every time: P[v, t], whether it is seen there, flow, and what moves."""

from __future__ import annotations

import torch
from torch import Tensor

from training.records import Window

from .render import Seen, View, bundles_at, point_at, project, tiles, travel, untile
from .scene import PARTS
from .shade import surface_at, trace
from .shapes import dot
from .trace import NOTHING

MOVES = 0.005
"""A pixel is dynamic if its content moves in the world by more than this share of its depth within the window.
At a focal length of 200 pixels that is a motion of one pixel."""
_SAME = {torch.float32: 0.025, torch.float64: 0.0005}
"""Two materials are one where they are nearer than this many pixels: what the arithmetic can tell apart."""


def window_of(view: View, images: Tensor, seen: Seen, times: tuple[int, ...], names: tuple[str, ...]) -> Window:
    """The record of rendered scenes, without visibility: see `with_visibility`."""
    scenes = view.scenes
    S = scenes.seconds.shape[1]
    solid = seen.part != NOTHING
    asked = point_at(scenes, view.posed, seen, times)
    valid = solid[:, None].expand(-1, len(times), -1, -1, -1)
    pixel, in_front = _seen_from(view, asked, times)
    flow_valid = in_front & valid
    H, W = view.size
    v, u = torch.meshgrid(
        torch.arange(H, dtype=pixel.dtype, device=pixel.device),
        torch.arange(W, dtype=pixel.dtype, device=pixel.device),
        indexing="ij",
    )
    flow = pixel - torch.stack([u, v], -1)
    return Window(
        images=images,
        intrinsics=view.intrinsics[:, None].expand(-1, S, -1, -1).to(asked.dtype),
        world_from_camera=view.world_from_camera,
        depth=torch.where(solid, seen.depth, 0.0),
        points=asked * valid[..., None],
        valid=valid,
        times=times,
        seconds=scenes.seconds.double(),
        dynamic=solid & (travel(scenes, view.posed, seen) > MOVES * seen.depth),
        object_id=torch.where(seen.part >= 0, seen.part // PARTS + 1, torch.where(solid, 0, -1)).int(),
        flow=torch.where(flow_valid[..., None], flow, 0.0),
        flow_valid=flow_valid,
        names=names,
    )


def _seen_from(view: View, points: Tensor, times: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Pixels of P[v, t] [B, T, S, H, W, 3] in the cameras of their times t, and whether they are before them."""
    poses = view.world_from_camera[:, list(times)]
    S, H = points.shape[2:4]
    pixel, depth = project(points.flatten(2, 3), poses, view.intrinsics)
    return pixel.unflatten(2, (S, H)), (depth > 0.01).unflatten(2, (S, H))


def visibility(view: View, seen: Seen, times: tuple[int, ...]) -> Tensor:
    """Whether each pixel's content is inside the image at time t and the first thing on its ray. [B, T, S, H, W] bool.

    A ray is cast through where P[v, t] falls in camera t, between pixel centres; the point is seen if the ray meets the
    pixel's own material.
    """
    scenes = view.scenes
    B, S = scenes.seconds.shape
    H, W = view.size
    near = _SAME[seen.depth.dtype]
    everywhere = point_at(scenes, view.posed, seen, times)
    result = []
    for place, time in enumerate(times):
        poses = view.world_from_camera[:, time, None].expand(-1, S, -1, -1)
        pixel, depth = project(everywhere[:, place], poses, view.intrinsics)
        inside = (pixel > -0.5).all(-1) & (pixel[..., 0] < W - 0.5) & (pixel[..., 1] < H - 0.5)
        inside = inside & (depth > 0.01) & (seen.part != NOTHING)
        ask = tiles(inside.flatten(0, 1))
        frame = torch.arange(B, device=ask.device).repeat_interleave(S) * S + time
        frame = frame.repeat_interleave(len(ask) // (B * S))
        u, v = (tiles(pixel[..., i].flatten(0, 1)) for i in range(2))
        rows = ask.any(1).nonzero()[:, 0]
        weight = ask[rows].to(u)
        u, v = (_fill(x[rows], weight) for x in (u, v))
        bundles = bundles_at(view, u, v, frame[rows])
        hits = trace(bundles, scenes, view.posed)
        rest = surface_at(bundles, hits, scenes, view.posed).rest
        apart = [a - tiles(b.flatten(0, 1))[rows] for a, b in zip(rest, seen.rest, strict=True)]
        pixel_size = tiles(seen.depth.flatten(0, 1))[rows] / view.intrinsics[bundles.scene, 0, 0, None]
        same = dot((apart[0], apart[1], apart[2]), (apart[0], apart[1], apart[2])).sqrt() < near * pixel_size
        part = tiles(seen.part.flatten(0, 1))[rows]
        found = torch.zeros_like(ask)
        found[rows] = ask[rows] & (hits.part == part) & same
        result.append(untile(found, view.size).unflatten(0, (B, S)))
    return torch.stack(result, 1)


def _fill(pixels: Tensor, weight: Tensor) -> Tensor:
    """Rays that are not asked go with the mean of those that are, so that a bundle stays narrow. [Q, G]."""
    known = torch.where(weight > 0, pixels, 0.0)
    mean = known.sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    return torch.where(weight > 0, pixels, mean)
