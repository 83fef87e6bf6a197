# SPDX-License-Identifier: Apache-2.0
"""Camera paths: hand-held, orbit, dolly, driving, on a tripod, turning in place."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .config import SyntheticConfig
from .draws import Draws
from .scene import ROOM, CameraPath, Waves

HANDHELD, ORBIT, DOLLY, DRIVE, STILL, PAN = range(6)
# How often each path comes in a room, on open ground and in hills, where neither a tripod nor a pan was drawn.
_WEIGHTS = ((0.6, 0.2, 0.2, 0.0), (0.3, 0.15, 0.15, 0.4), (0.4, 0.2, 0.2, 0.2))


def still(like: Tensor) -> Waves:
    """Waves that stay at `like` [..., D]."""
    zero = torch.zeros_like(like)
    double = torch.zeros(*like.shape, 2, dtype=like.dtype, device=like.device)
    return Waves(like, zero, zero, double, double, double)


def camera_path(draws: Draws, config: SyntheticConfig, kind: Tensor, span: Tensor) -> CameraPath:
    """One path a scene, about the world's vertical axis at t = 0.

    Args:
        draws: of B scenes.
        config: shares of tripods and pans, fields of view.
        kind: [B] surroundings.
        span: [B] seconds of the window; no camera goes or turns unreasonably far within it.
    """
    path = _kind(draws, config, kind)
    device = kind.device
    indoor = kind == ROOM
    heading = draws.uniform("camera.heading", 0, 2 * math.pi)
    pitch = torch.where(
        indoor, draws.uniform("camera.pitch", -0.5, 0.15), draws.uniform("camera.pitch.out", -0.35, 0.05)
    )
    steep_roll = draws.chance("camera.tilted", 0.1)
    roll = draws.uniform("camera.roll", -1, 1) * torch.where(steep_roll, 0.4, 0.06)
    eye_height = torch.where(
        path == DRIVE,
        draws.uniform("camera.height.drive", 0.9, 2.2),
        torch.where(indoor, draws.uniform("camera.height", 0.6, 1.9), draws.log_uniform("camera.height.out", 1.0, 6.0)),
    )

    zero = torch.zeros_like(heading)
    eye = still(torch.stack([zero, zero, eye_height], -1))
    # Which way it goes: where it looks when driving, anywhere but mostly level when carried.
    course = heading + torch.where(
        path == DRIVE, draws.uniform("camera.drift", -0.1, 0.1), draws.uniform("camera.course", -math.pi, math.pi)
    )
    climb = torch.where(path == DRIVE, 0.0, draws.uniform("camera.climb", -0.3, 0.3))
    way = torch.stack([course.cos(), course.sin(), climb], -1)
    speeds = torch.stack(
        [
            draws.log_uniform("camera.speed.handheld", 0.05, 0.9),
            zero,
            draws.log_uniform("camera.speed.dolly", 0.2, 2.0),
            draws.log_uniform("camera.speed.drive", 2.0, 12.0),
            zero,
            zero,
        ],
        -1,
    )
    farthest = torch.where(indoor, 1.3, 8.0)
    speed = torch.minimum(_pick(speeds, path), farthest / span.clamp_min(1e-3))

    carried = (path == HANDHELD) | (path == ORBIT)
    shake = torch.where(carried, draws.log_uniform("camera.shake", 0.004, 0.08), torch.where(path == DRIVE, 0.012, 0.0))
    turn_shake = torch.where(carried, draws.log_uniform("camera.turn_shake", 0.004, 0.05), (path == DRIVE) * 0.006)
    eye = Waves(
        eye.offset,
        way * speed[:, None],
        torch.zeros_like(way),
        _shaken(draws, "camera.eye", shake[:, None].expand(-1, 3)),
        _rates(draws, "camera.eye", 3),
        draws.uniform("camera.eye.phase", 0, 2 * math.pi, 3, 2),
    )
    turns = torch.stack(
        [
            draws.uniform("camera.turn.handheld", -0.4, 0.4),
            zero,
            draws.uniform("camera.turn.dolly", -0.1, 0.1),
            draws.uniform("camera.turn.drive", -0.2, 0.2),
            zero,
            draws.uniform("camera.turn.pan", 0.15, 0.9) * torch.where(draws.chance("camera.turn.left", 0.5), 1.0, -1.0),
        ],
        -1,
    )
    turn = _pick(turns, path)
    turn = turn.sign() * torch.minimum(turn.abs(), 0.6 / span.clamp_min(1e-3))
    nod = torch.where(carried | (path == PAN), draws.uniform("camera.nod", -0.12, 0.12), 0.0)
    gaze = Waves(
        torch.stack([heading, pitch, roll], -1),
        torch.stack([turn, nod, torch.zeros_like(turn)], -1),
        torch.zeros_like(way),
        _shaken(draws, "camera.gaze", turn_shake[:, None].expand(-1, 3)),
        _rates(draws, "camera.gaze", 3),
        draws.uniform("camera.gaze.phase", 0, 2 * math.pi, 3, 2),
    )

    reach = torch.where(indoor, draws.uniform("orbit.reach", 1.2, 3.5), draws.uniform("orbit.reach.out", 4, 15))
    center = torch.stack([reach * heading.cos(), reach * heading.sin(), zero], -1)
    around = draws.uniform("orbit.angle", 0.1, 1.0) * torch.where(draws.chance("orbit.left", 0.5), 1.0, -1.0)
    widest = torch.where(indoor, 1.5, 6.0) / reach
    around = around.sign() * torch.minimum(around.abs(), widest) / span.clamp_min(1e-3)
    focal = 0.5 / torch.tan(torch.deg2rad(draws.uniform("camera.fov", *config.field_of_view)) / 2)
    aspect = 1 + draws.uniform("camera.aspect", -0.02, 0.02)
    return CameraPath(
        eye=eye,
        gaze=gaze,
        orbit_center=center,
        orbit_rate=torch.where((path == ORBIT).to(device), around, 0.0),
        focal=torch.stack([focal, focal * aspect], -1),
        principal=draws.uniform("camera.principal", -0.015, 0.015, 2),
    )


def _kind(draws: Draws, config: SyntheticConfig, kind: Tensor) -> Tensor:
    weights = torch.tensor(_WEIGHTS, dtype=torch.float64, device=kind.device)[kind]
    path = draws.choice("camera.path", weights)
    which = draws.uniform("camera.held", 0, 1)
    path = torch.where(which < config.still_camera, STILL, path)
    turning = (which >= config.still_camera) & (which < config.still_camera + config.pure_rotation)
    return torch.where(turning, PAN, path)


def _pick(columns: Tensor, index: Tensor) -> Tensor:
    return columns.gather(-1, index[:, None])[:, 0]


def _shaken(draws: Draws, name: str, strength: Tensor) -> Tensor:
    """A slow sway and a tremor a twelfth as large. strength: [B, D] -> [B, D, 2]."""
    share = draws.uniform(f"{name}.share", 0.2, 1.0, strength.shape[-1], 2)
    return share * torch.stack([strength, strength / 12], -1)


def _rates(draws: Draws, name: str, size: int) -> Tensor:
    return torch.stack(
        [draws.uniform(f"{name}.slow", 1.5, 6.0, size), draws.uniform(f"{name}.fast", 15.0, 40.0, size)], -1
    )
