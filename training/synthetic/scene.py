# SPDX-License-Identifier: Apache-2.0
"""What a batch of scenes is: plain tensors, one row a scene, the same number of slots in each.

The world is right-handed, z up, metres, seconds. A *part* is one primitive; a *thing* is up to `PARTS` parts that move
together: a part hangs on its thing's trajectory by two joints. Empty slots have kind NONE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from typing_extensions import Self

THINGS, PARTS, JOINTS = 14, 10, 2
FACES = 6
"""Surfaces of the surroundings: the six walls of a room; open ground uses the first."""

ROOM, GROUND, TERRAIN = range(3)


class _Tensors:
    """A dataclass of tensors, or of such dataclasses, changed as one."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Every tensor changed alike."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return type(self)(**{name: change(v) if isinstance(v, Tensor) else v.map(change) for name, v in parts.items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """On a device; real numbers in `dtype`, integers and booleans as they are."""
        return self.map(lambda x: x.to(device=device, dtype=dtype if x.is_floating_point() else None))

    def take(self, index: Tensor | slice) -> Self:
        """Some of the scenes."""
        return self.map(lambda x: x[index])


@dataclass(frozen=True)
class Waves(_Tensors):
    """x(t) = offset + velocity t + acceleration t² / 2 + sum_i amplitude_i (sin(rate_i t + phase_i) - sin phase_i).

    At t = 0 it is `offset`. With everything else zero it is so at every t, to the last bit.

    Attributes:
        offset, velocity, acceleration: [..., D].
        amplitude, rate, phase: [..., D, 2].
    """

    offset: Tensor
    velocity: Tensor
    acceleration: Tensor
    amplitude: Tensor
    rate: Tensor
    phase: Tensor


@dataclass(frozen=True)
class Things(_Tensors):
    """G trajectories a scene.

    Attributes:
        position: Waves [B, G, 3]; z is above the ground where `grounded`.
        turn: Waves [B, G, 2], radians: heading about z, and tumbling about `axis`.
        axis: [B, G, 3] unit, in the thing's own frame.
        start: [B, G, 3, 3] orientation before turning.
        grounded: [B, G] bool, whether the height follows the ground.
    """

    position: Waves
    turn: Waves
    axis: Tensor
    start: Tensor
    grounded: Tensor


@dataclass(frozen=True)
class Look(_Tensors):
    """How surfaces look, [B, K] surfaces: the parts, then the `FACES` of the surroundings.

    Attributes:
        pattern: [B, K] int64, which of `textures.PATTERNS`.
        colors: [B, K, 3, 3] linear RGB: base, second, dirt.
        scale: [B, K] periods a metre.
        warp, dirt, grain: [B, K] strength of domain warp, of large and of small noise.
        gloss: [B, K] strength of highlights.
        offset: [B, K, 3] where in the noise.
        layer: [B, K] in [0, 1), which picture of the atlas.
    """

    pattern: Tensor
    colors: Tensor
    scale: Tensor
    warp: Tensor
    dirt: Tensor
    grain: Tensor
    gloss: Tensor
    offset: Tensor
    layer: Tensor


@dataclass(frozen=True)
class Parts(_Tensors):
    """N = G · `PARTS` primitives a scene; part n belongs to thing n // PARTS.

    Attributes:
        kind: [B, N] int64, of `shapes`, or NONE.
        size: [B, N, 3] metres, as the kind reads them.
        exponents: [B, N, 2] of superquadrics.
        offset, rotation: [B, N, 3], [B, N, 3, 3] thing_from_part at rest.
        pivot, axis: [B, N, J, 3] joints in the thing at rest, outer joint first; axis is unit.
        angle: Waves [B, N, J] radians.
        soft: Waves [B, N, 6], states of `softness`.
        soft_body: [B, N] bool, whether any state is ever not zero.
        radius: [B, N] metres, of a sphere about the part's origin that holds it at every time; < 0 in empty slots.
        moving: [B, N] bool, whether any of it ever moves in the world.
    """

    kind: Tensor
    size: Tensor
    exponents: Tensor
    offset: Tensor
    rotation: Tensor
    pivot: Tensor
    axis: Tensor
    angle: Waves
    soft: Waves
    soft_body: Tensor
    radius: Tensor
    moving: Tensor


@dataclass(frozen=True)
class Surroundings(_Tensors):
    """What never moves.

    Attributes:
        kind: [B] int64: ROOM, GROUND or TERRAIN.
        low, high: [B, 3] the room's corners.
        wave, height, phase: [B, 6, 2] 1/m, [B, 6] m, [B, 6]: terrain z = sum_i height_i sin(wave_i · xy + phase_i).
        far: [B] metres, how far open ground reaches.
        sky: [B, 2, 3] linear RGB at the horizon and above.
        clouds, haze: [B] strength of clouds; haze at `far`.
    """

    kind: Tensor
    low: Tensor
    high: Tensor
    wave: Tensor
    height: Tensor
    phase: Tensor
    far: Tensor
    sky: Tensor
    clouds: Tensor
    haze: Tensor


@dataclass(frozen=True)
class Light(_Tensors):
    """One lamp or sun with soft shadows, and light from everywhere.

    Attributes:
        position: [B, 3] metres. radius: [B] metres.
        color: [B, 3] linear RGB. above, below: [B, 3] linear RGB of the light from the upper and lower hemisphere.
        reach: [B] metres at which the lamp has lost half of its light.
    """

    position: Tensor
    radius: Tensor
    color: Tensor
    above: Tensor
    below: Tensor
    reach: Tensor


@dataclass(frozen=True)
class CameraPath(_Tensors):
    """Eye and gaze over time.

    Attributes:
        eye: Waves [B, 3]. gaze: Waves [B, 3] radians: heading about z, pitch up, roll.
        orbit_center: [B, 3], orbit_rate: [B] rad/s: the eye turns about the vertical through the centre, gaze with it.
        focal: [B, 2] pixels for a picture of unit width. principal: [B, 2] share of the size from its centre.
    """

    eye: Waves
    gaze: Waves
    orbit_center: Tensor
    orbit_rate: Tensor
    focal: Tensor
    principal: Tensor


@dataclass(frozen=True)
class Sensor(_Tensors):
    """What the camera does to light.

    Attributes:
        exposure: [B], flicker: [B, 2] strength and rad/s. white: [B, 3] gains.
        shutter: [B] seconds. blur: [B] pixels of the lens. vignette: [B].
        shot, read, rows: [B] noise at white, in the dark, of whole rows.
        quality: [B] step of compression, 0 = none.
        key: [B] int64 of the noise.
    """

    exposure: Tensor
    flicker: Tensor
    white: Tensor
    shutter: Tensor
    blur: Tensor
    vignette: Tensor
    shot: Tensor
    read: Tensor
    rows: Tensor
    quality: Tensor
    key: Tensor


@dataclass(frozen=True)
class Scenes(_Tensors):
    """B scenes over one stretch of time.

    Attributes:
        seconds: [B, S] when the frames are taken, rising from 0.
    """

    things: Things
    parts: Parts
    look: Look
    surroundings: Surroundings
    light: Light
    camera: CameraPath
    sensor: Sensor
    seconds: Tensor
