# SPDX-License-Identifier: Apache-2.0
"""From seeds to scenes: surroundings, camera, things, looks, light and sensor, drawn together so that they fit."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from . import textures
from .config import SyntheticConfig
from .draws import Draws
from .motion import camera_pose, ground_height, pose
from .paths import camera_path
from .scene import (
    FACES,
    PARTS,
    ROOM,
    TERRAIN,
    THINGS,
    CameraPath,
    Light,
    Look,
    Parts,
    Scenes,
    Sensor,
    Surroundings,
    Things,
    Waves,
)
from .templates import PANEL
from .things import Plan, build_parts, place_things, plan_things

_CLEARANCE = 0.12


def compose(seeds: Tensor, config: SyntheticConfig) -> Scenes:
    """Scenes in float64. seeds: [B] int64, one a scene; a scene depends on its own seed alone."""
    draws = Draws(seeds)
    kinds = torch.tensor([config.rooms, config.open_ground, config.hills], dtype=torch.float64, device=seeds.device)
    kind = draws.choice("kind", kinds)
    seconds = _frame_times(draws, config)
    span = seconds[:, -1]
    path = camera_path(draws, config, kind, span)
    surroundings = _surroundings(draws, kind, path, seconds)
    path = _above_ground(path, surroundings, seconds)

    plan = plan_things(draws, kind, draws.chance("still_world", config.still_world))
    middle = camera_pose(path, seconds.mean(1, keepdim=True))[:, 0]
    heading = torch.atan2(middle[:, 1, 2], middle[:, 0, 2])
    half_view = torch.atan(0.5 / path.focal[:, 0])
    things = place_things(draws, plan, surroundings, (middle[:, :3, 3], heading, half_view), span)
    speed = things.position.velocity[..., :2].norm(dim=-1)
    parts = build_parts(draws, plan, speed)
    parts = replace(parts, moving=_moves(things, parts))
    plain = draws.chance("plain_walls", config.plain_walls)
    scenes = Scenes(
        things=things,
        parts=parts,
        look=_look(draws, plan, parts, kind, plain),
        surroundings=surroundings,
        light=_light(draws, surroundings),
        camera=path,
        sensor=_sensor(draws, config, span),
        seconds=seconds,
    )
    return _clear_of_camera(scenes)


def _frame_times(draws: Draws, config: SyntheticConfig) -> Tensor:
    """[B, S] seconds, evenly spaced but for a little jitter."""
    steps = max(config.frames - 1, 1)
    period = draws.log_uniform("period", *config.period).clamp(max=config.longest / steps)
    jitter = draws.uniform("period.jitter", -0.06, 0.06, config.frames)
    jitter[:, 0] = 0
    return (torch.arange(config.frames, dtype=torch.float64, device=period.device) + jitter) * period[:, None]


def _surroundings(draws: Draws, kind: Tensor, path: CameraPath, seconds: Tensor) -> Surroundings:
    """A room is built around the whole path, deeper where the camera looks."""
    poses = camera_pose(path, seconds)
    eyes = poses[..., :3, 3]
    gaze = poses[..., :3, 2].mean(1)
    hall = torch.where(draws.chance("room.hall", 0.15), 2.2, 1.0)[:, None]
    ahead = gaze[:, :2].sign()
    deep = draws.uniform("room.deep", 2.0, 6.0, 2) * hall
    behind = draws.uniform("room.behind", 0.5, 2.5, 2)
    low_margin = torch.where(ahead < 0, deep, behind)
    high_margin = torch.where(ahead > 0, deep, behind)
    ceiling = torch.maximum(draws.uniform("room.height", 2.3, 3.6) * hall[:, 0], eyes[..., 2].amax(1) + 0.3)
    floor = torch.minimum(torch.zeros_like(ceiling), eyes[..., 2].amin(1) - 0.25)
    count = 6
    length = draws.log_uniform("terrain.length", 3.0, 40.0, count)
    turn = draws.uniform("terrain.turn", 0, 2 * math.pi, count)
    wave = (2 * math.pi / length)[..., None] * torch.stack([turn.cos(), turn.sin()], -1)
    steepness = draws.uniform("terrain.steep", 0.04, 0.2)[:, None]
    dusk = draws.uniform("sky.bright", 0.5, 1.6)[:, None]
    blue = torch.stack([draws.uniform(f"sky.{c}", *r) for c, r in _SKY.items()], -1)
    horizon = torch.lerp(blue, blue.mean(-1, keepdim=True) * 1.5, draws.uniform("sky.pale", 0.3, 1.0)[:, None])
    return Surroundings(
        kind=kind,
        low=torch.cat([eyes[..., :2].amin(1) - low_margin, floor[:, None]], -1),
        high=torch.cat([eyes[..., :2].amax(1) + high_margin, ceiling[:, None]], -1),
        wave=wave,
        height=steepness * draws.uniform("terrain.height", 0.3, 1.0, count) * length / 6,
        phase=draws.uniform("terrain.phase", 0, 2 * math.pi, count),
        far=draws.log_uniform("far", 30.0, 90.0),
        sky=torch.stack([horizon, blue], 1) * dusk[..., None],
        clouds=draws.uniform("sky.clouds", 0, 1),
        haze=draws.uniform("haze", 0.1, 1.2),
    )


_SKY = {"red": (0.15, 0.5), "green": (0.3, 0.6), "blue": (0.5, 1.0)}


def _above_ground(path: CameraPath, surroundings: Surroundings, seconds: Tensor) -> CameraPath:
    """The path lifted over the hills; elsewhere as it is."""
    eyes = camera_pose(path, seconds)[..., :3, 3]
    ground = ground_height(surroundings, (eyes[..., 0], eyes[..., 1]))
    lowest = (eyes[..., 2] - ground).amin(1)
    lift = torch.where(surroundings.kind == TERRAIN, ground[:, 0], 0.0)
    lift = lift + torch.where(surroundings.kind == ROOM, 0.0, (0.7 - (lowest + lift)).clamp_min(0))
    offset = path.eye.offset.clone()
    offset[:, 2] += lift
    return replace(path, eye=replace(path.eye, offset=offset))


def _is_moving(waves: Waves) -> Tensor:
    """[B, ...] of [B, ..., D]: whether any coordinate ever changes."""
    return ((waves.velocity != 0) | (waves.acceleration != 0) | (waves.amplitude != 0).any(-1)).any(-1)


def _moves(things: Things, parts: Parts) -> Tensor:
    whole = (_is_moving(things.position) | _is_moving(things.turn)).repeat_interleave(PARTS, 1)
    return (whole | _is_moving(parts.angle) | _is_moving(parts.soft)) & (parts.kind >= 0)


def _clear_of_camera(scenes: Scenes) -> Scenes:
    """Without the things that a camera would run into."""
    parts = scenes.parts
    posed = pose(scenes, scenes.seconds)
    eyes = camera_pose(scenes.camera, scenes.seconds)[..., :3, 3].flatten(0, 1)
    gap = (posed.translation - eyes[:, None]).norm(dim=-1).unflatten(0, scenes.seconds.shape).amin(1) - parts.radius
    hit = ((gap < _CLEARANCE) & (parts.radius > 0)).view(-1, THINGS, PARTS).any(-1).repeat_interleave(PARTS, 1)
    return replace(
        scenes,
        parts=replace(
            parts,
            kind=torch.where(hit, -1, parts.kind),
            radius=torch.where(hit, -1.0, parts.radius),
            moving=parts.moving & ~hit,
        ),
    )


def _look(draws: Draws, plan: Plan, parts: Parts, kind: Tensor, plain: Tensor) -> Look:
    """Paint for every part and wall."""
    N = THINGS * PARTS
    K = N + FACES
    weights = torch.tensor([0.12, 0.2, 0.07, 0.1, 0.05, 0.06, 0.1, 0.12, 0.18], dtype=torch.float64, device=kind.device)
    outside = torch.tensor(
        [0.05, 0.5, 0.02, 0.03, 0.08, 0.02, 0.05, 0.03, 0.22], dtype=torch.float64, device=kind.device
    )
    board = torch.tensor([0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.35, 0.63], dtype=torch.float64, device=kind.device)
    is_wall = torch.arange(K, device=kind.device) >= N
    panel = torch.nn.functional.pad((plan.template == PANEL).repeat_interleave(PARTS, 1), (0, FACES))
    open_ground = (kind != ROOM)[:, None] & is_wall
    choice = torch.where(panel[..., None], board, torch.where(open_ground[..., None], outside, weights))
    pattern = draws.choice("look.pattern", choice, K)

    reach = torch.nn.functional.pad(parts.size.amax(-1).clamp_min(0.03), (0, FACES), value=1.0)
    scale = draws.log_uniform("look.scale", 0.5, 4.0, K) / reach
    pictured = (pattern == textures.PICTURE) | (pattern == textures.MARKS)
    wall_scale = draws.log_uniform("look.scale.wall", 0.4, 4.0, K) * torch.where(pictured, 2.2, 1.0)
    scale = torch.where(is_wall, wall_scale, scale)
    scale = torch.where(panel, draws.uniform("look.scale.panel", 1.2, 2.6, K) / reach, scale)
    scale = torch.where(open_ground, draws.log_uniform("look.scale.ground", 0.25, 2.5, K), scale)

    own = draws.uniform("look.color", 0.0, 1.0, K, 3, 3) ** 1.8
    gray = own.mean(-1, keepdim=True)
    vivid = draws.uniform("look.vivid", 0.1, 1.0, K, 3) * torch.where(is_wall[:, None], 0.45, 1.0)
    own = torch.lerp(gray.expand_as(own), own, vivid[..., None])
    thing = draws.uniform("look.thing", 0.02, 0.9, THINGS, 1, 3).repeat_interleave(PARTS, 1)
    shared = torch.nn.functional.pad(thing, (0, 0, 0, 0, 0, FACES))
    as_thing = draws.chance("look.shared", 0.5, K) & ~is_wall
    base = torch.where(as_thing[..., None], shared[..., 0, :], own[..., 0, :])
    wall_color = 0.25 + 0.6 * torch.lerp(gray[..., 0, :].expand_as(base), own[..., 0, :], 0.35)
    base = torch.where((is_wall & (kind == ROOM)[:, None])[..., None], wall_color, base)
    near = draws.chance("look.near", 0.5, K)[..., None]
    second = torch.where(near, base * draws.uniform("look.tint", 0.45, 1.5, K, 1), own[..., 1, :])
    colors = torch.stack([base, second, own[..., 2, :] * 0.5], 2).clamp(0.02, 0.95)

    rough = torch.where(plain[:, None] & is_wall, 0.05, 1.0)
    pattern = torch.where(plain[:, None] & is_wall, textures.PLAIN, pattern)
    return Look(
        pattern=pattern,
        colors=colors,
        scale=scale,
        warp=draws.uniform("look.warp", 0, 0.5, K) * draws.chance("look.warped", 0.5, K),
        dirt=draws.uniform("look.dirt", 0, 0.7, K) * rough,
        grain=draws.log_uniform("look.grain", 0.02, 0.4, K) * rough,
        gloss=draws.uniform("look.gloss", 0, 1, K) ** 3,
        offset=draws.uniform("look.offset", 0, 32, K, 3),
        layer=draws.uniform("look.layer", 0, 1, K),
    )


def _light(draws: Draws, surroundings: Surroundings) -> Light:
    indoor = surroundings.kind == ROOM
    low, high = surroundings.low, surroundings.high
    share = draws.uniform("light.where", 0.15, 0.85, 2)
    lamp = torch.cat([low[:, :2] + share * (high - low)[:, :2], high[:, 2:] - 0.1], -1)
    bearing, height = draws.uniform("sun.bearing", 0, 2 * math.pi), draws.uniform("sun.height", 0.3, 1.4)
    sun = 90 * torch.stack([bearing.cos() * height.cos(), bearing.sin() * height.cos(), height.sin()], -1)
    warm = draws.uniform("light.warm", -1, 1)
    tint = torch.stack([1 + 0.18 * warm, torch.ones_like(warm), 1 - 0.25 * warm], -1)
    power = draws.log_uniform("light.power", 0.6, 3.0)[:, None]
    fill = draws.uniform("light.fill", 0.2, 0.8)[:, None]
    sky = surroundings.sky.mean(1) / surroundings.sky.mean(1).mean(-1, keepdim=True)
    above = fill * torch.where(indoor[:, None], torch.ones_like(sky), sky)
    return Light(
        position=torch.where(indoor[:, None], lamp, sun),
        radius=torch.where(
            indoor, draws.log_uniform("light.radius", 0.05, 0.5), draws.log_uniform("sun.radius", 0.4, 6.0)
        ),
        color=power * tint,
        above=above,
        below=above * draws.uniform("light.bounce", 0.3, 0.8)[:, None],
        reach=torch.where(indoor, draws.uniform("light.reach", 2.0, 8.0), 1e4),
    )


def _sensor(draws: Draws, config: SyntheticConfig, span: Tensor) -> Sensor:
    strength = config.degradation
    period = span / max(config.frames - 1, 1)
    shutter = torch.where(draws.chance("shutter.slow", 0.35), draws.uniform("shutter", 0.1, 0.5), 0.05)
    return Sensor(
        exposure=draws.log_uniform("exposure", 0.6, 1.7),
        flicker=torch.stack([draws.uniform("flicker", 0, 0.08) ** 1.5, draws.uniform("flicker.rate", 2, 30)], -1),
        white=1 + strength * draws.uniform("white", -0.12, 0.12, 3),
        shutter=strength * shutter * torch.where(period > 0, period, 0.03).clamp(max=0.06),
        blur=strength * draws.uniform("lens", 0.0, 0.75) + 0.25,
        vignette=strength * draws.uniform("vignette", 0, 0.35),
        shot=strength * draws.log_uniform("noise.shot", 0.002, 0.025),
        read=strength * draws.log_uniform("noise.read", 0.0005, 0.008),
        rows=strength * draws.log_uniform("noise.rows", 0.0001, 0.003),
        quality=strength * torch.where(draws.chance("compressed", 0.7), draws.log_uniform("quality", 0.3, 3.0), 0.0),
        key=draws.seeds,
    )
