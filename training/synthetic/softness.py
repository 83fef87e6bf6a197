# SPDX-License-Identifier: Apache-2.0
"""Bodies that change shape: pulse, then twist, then bend. Each has its inverse in closed form.

A body's state at an instant is six numbers (the last axis of `state`):
    0 stretch: z is scaled by e^stretch, x and y by e^(-stretch / 2), so that the volume stays;
    1 twist: radians about z per unit of z;
    2 bend: x grows by bend · z²;
    3, 4, 5 wave: x grows by amplitude · sin(wave number · z - phase).
All zero is the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .shapes import Vec

STATES = 6


def deform(rest: Vec, state: Tensor) -> Vec:
    """Where a point of the rest shape is now. state: [..., 6]; its first axes broadcast to the points' shape."""
    stretch, twist, bend, amplitude, number, phase = state.unbind(-1)
    along, across = stretch.exp(), (-stretch / 2).exp()
    x, y, z = across * rest[0], across * rest[1], along * rest[2]
    x, y = _turn(x, y, twist * z)
    return x + bend * z.square() + amplitude * ((number * z - phase).sin() + phase.sin()), y, z


def relax(now: Vec, state: Tensor) -> Vec:
    """The point of the rest shape that is here now: the inverse of `deform`."""
    return relaxed(now, relaxation(state).movedim(-1, 0))


def relaxation(state: Tensor) -> Tensor:
    """What `relax` needs of states [..., 6], worked out once for many points. [..., 8]."""
    stretch, twist, bend, amplitude, number, phase = state.unbind(-1)
    across, along = (stretch / 2).exp(), (-stretch).exp()
    return torch.stack([bend, amplitude, number, phase, amplitude * phase.sin(), -twist, across, along], -1)


def relaxed(now: Vec, relaxation: Tensor) -> Vec:
    """`relax` for the `relaxation` [8, ...] of a state."""
    bend, amplitude, number, phase, shift, twist, across, along = relaxation.unbind(0)
    x, y, z = now
    x = x - bend * z.square() - amplitude * (number * z - phase).sin() - shift
    x, y = _turn(x, y, twist * z)
    return across * x, across * y, along * z


def deform_normal(normal: Vec, rest: Vec, state: Tensor) -> Vec:
    """Normals of the deformed surface, not of unit length: the inverse transposed Jacobian of `deform`."""
    stretch, twist, bend, amplitude, number, phase = state.unbind(-1)
    along, across = stretch.exp(), (-stretch / 2).exp()
    x, y, z = across * rest[0], across * rest[1], along * rest[2]
    n_x, n_y, n_z = normal[0] / across, normal[1] / across, normal[2] / along
    x, y = _turn(x, y, twist * z)
    n_x, n_y = _turn(n_x, n_y, twist * z)
    n_z = n_z - twist * (n_y * x - n_x * y)
    slope = 2 * bend * z + amplitude * number * (number * z - phase).cos()
    return n_x, n_y, n_z - slope * n_x


def stretch_bound(state: Tensor, reach: Tensor, height: Tensor) -> Tensor:
    """How much `relax` can lengthen any small step, within a body: the factor that makes tracing safe.

    Args:
        state: [..., 6].
        reach: [...] largest distance from the z axis of the stretched body.
        height: [...] largest |z| of the stretched body.
    """
    stretch, twist, bend, amplitude, number, _ = state.unbind(-1)
    pulse = torch.maximum(-stretch, stretch / 2).exp()
    slope = 2 * bend.abs() * height + (amplitude * number).abs()
    return pulse * _shear_norm(twist.abs() * reach) * _shear_norm(slope)


def _shear_norm(shear: Tensor) -> Tensor:
    """Largest singular value of [[1, shear], [0, 1]]."""
    return (shear + (shear.square() + 4).sqrt()) / 2


def _turn(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = angle.cos(), angle.sin()
    return cos * x - sin * y, sin * x + cos * y
