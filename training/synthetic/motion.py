# SPDX-License-Identifier: Apache-2.0
"""Where everything is at an instant: trajectories, joints, shape states and cameras, exact for any time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .scene import JOINTS, PARTS, CameraPath, Scenes, Surroundings, Waves
from .scene import TERRAIN as TERRAIN_KIND
from .shapes import Vec


@dataclass(frozen=True)
class Posed:
    """All parts of F instants.

    Attributes:
        rotation, translation: [F, N, 3, 3], [F, N, 3] world_from_part.
        soft: [F, N, 6] shape states.
    """

    rotation: Tensor
    translation: Tensor
    soft: Tensor


def at(waves: Waves, seconds: Tensor) -> Tensor:
    """The value of `waves` [B, *rest] at `seconds` [B, T] -> [B, T, *rest]."""
    rest = waves.offset.ndim - 1
    t = seconds.reshape(*seconds.shape, *(1,) * rest)
    phase = waves.phase[:, None]
    # The oscillation starts from nothing at t = 0, so that amplitudes do not displace what was placed.
    swing = (waves.amplitude[:, None] * ((waves.rate[:, None] * t[..., None] + phase).sin() - phase.sin())).sum(-1)
    return waves.offset[:, None] + (waves.velocity[:, None] + waves.acceleration[:, None] * t / 2) * t + swing


def ground_height(surroundings: Surroundings, xy: tuple[Tensor, Tensor]) -> Tensor:
    """Height of the ground [B, *rest] at x, y [B, *rest]; 0 where there is no terrain."""
    rest = (1,) * (xy[0].ndim - 1)
    height = torch.zeros_like(xy[0])
    for i in range(surroundings.height.shape[1]):
        wave_x, wave_y, amplitude, phase = (
            value.view(-1, *rest)
            for value in (
                surroundings.wave[:, i, 0],
                surroundings.wave[:, i, 1],
                surroundings.height[:, i],
                surroundings.phase[:, i],
            )
        )
        height = height + amplitude * (wave_x * xy[0] + wave_y * xy[1] + phase).sin()
    return torch.where((surroundings.kind == TERRAIN_KIND).view(-1, *rest), height, 0.0)


def about_axis(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotations by `angle` [...] about unit `axis` [..., 3] (Rodrigues) -> [..., 3, 3]; the identity exactly at 0."""
    x, y, z = axis.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    rest = 1 - cos
    rows = [
        cos + rest * x * x,
        rest * x * y - sin * z,
        rest * x * z + sin * y,
        rest * x * y + sin * z,
        cos + rest * y * y,
        rest * y * z - sin * x,
        rest * x * z - sin * y,
        rest * y * z + sin * x,
        cos + rest * z * z,
    ]
    rotation: Tensor = torch.stack(rows, -1).unflatten(-1, (3, 3))
    return rotation


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b for [..., 3, 3], in full precision whatever the matrix units are set to."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def turned(rotation: Tensor, vectors: Tensor) -> Tensor:
    """rotation [..., 3, 3] on vectors [..., 3]."""
    return (rotation * vectors[..., None, :]).sum(-1)


def turned_rays(rotation: Tensor, v: Vec) -> Vec:
    """rotation [M, 3, 3] on vectors of shape [M, G]."""
    r = rotation[..., None]
    x, y, z = (torch.addcmul(torch.addcmul(r[:, i, 0] * v[0], r[:, i, 1], v[1]), r[:, i, 2], v[2]) for i in range(3))
    return x, y, z


def pose(scenes: Scenes, seconds: Tensor) -> Posed:
    """Every part at every instant. seconds: [B, T] -> Posed of F = B · T."""
    things, parts = scenes.things, scenes.parts
    position = at(things.position, seconds)
    ground = ground_height(scenes.surroundings, (position[..., 0].flatten(1), position[..., 1].flatten(1)))
    lift = torch.where(things.grounded[:, None], ground.view(position.shape[:-1]), 0.0)
    position = torch.cat([position[..., :2], (position[..., 2] + lift)[..., None]], -1)
    heading, tumble = at(things.turn, seconds).unbind(-1)
    up = torch.zeros_like(things.axis)
    up[..., 2] = 1
    turn = product(about_axis(up[:, None], heading), about_axis(things.axis[:, None], tumble))
    rotation = product(turn, things.start[:, None]).repeat_interleave(PARTS, 2)
    translation = position.repeat_interleave(PARTS, 2)

    angle = at(parts.angle, seconds)
    for joint in range(JOINTS):
        pivot = parts.pivot[:, None, :, joint]
        bent = about_axis(parts.axis[:, None, :, joint], angle[..., joint])
        # x -> pivot + bent (x - pivot), then the transform so far.
        translation = translation + turned(rotation, pivot - turned(bent, pivot))
        rotation = product(rotation, bent)
    translation = translation + turned(rotation, parts.offset[:, None].expand_as(translation))
    rotation = product(rotation, parts.rotation[:, None].expand_as(rotation))
    return Posed(rotation.flatten(0, 1), translation.flatten(0, 1), at(parts.soft, seconds).flatten(0, 1))


def camera_pose(path: CameraPath, seconds: Tensor) -> Tensor:
    """world_from_camera of OpenCV cameras. seconds: [B, T] -> [B, T, 4, 4]."""
    eye = at(path.eye, seconds)
    heading, pitch, roll = at(path.gaze, seconds).unbind(-1)
    angle = path.orbit_rate[:, None] * seconds
    up = torch.zeros_like(eye)
    up[..., 2] = 1
    around = about_axis(up, angle)
    center = path.orbit_center[:, None]
    eye = torch.where((path.orbit_rate == 0)[:, None, None], eye, center + turned(around, eye - center))
    heading = heading + angle

    zero, one = torch.zeros_like(heading), torch.ones_like(heading)
    forward = torch.stack([heading.cos() * pitch.cos(), heading.sin() * pitch.cos(), pitch.sin()], -1)
    right = torch.stack([heading.sin(), -heading.cos(), zero], -1)
    down = torch.linalg.cross(forward, right)
    tilt = about_axis(torch.stack([zero, zero, one], -1), roll)
    rotation = product(torch.stack([right, down, forward], -1), tilt)
    pose = torch.zeros(*seconds.shape, 4, 4, dtype=eye.dtype, device=eye.device)
    pose[..., :3, :3], pose[..., :3, 3], pose[..., 3, 3] = rotation, eye, 1
    return pose


def intrinsics(path: CameraPath, height: int, width: int) -> Tensor:
    """[B, 3, 3] pixels, integer pixel centres."""
    K = torch.zeros(len(path.focal), 3, 3, dtype=path.focal.dtype, device=path.focal.device)
    K[:, 0, 0], K[:, 1, 1] = path.focal[:, 0] * width, path.focal[:, 1] * width
    K[:, 0, 2] = (width - 1) / 2 + path.principal[:, 0] * width
    K[:, 1, 2] = (height - 1) / 2 + path.principal[:, 1] * height
    K[:, 2, 2] = 1
    return K
