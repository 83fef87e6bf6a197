# SPDX-License-Identifier: Apache-2.0
"""What kind of scenes are made."""

from __future__ import annotations

from dataclasses import dataclass

from dpm_core.errors import DpmError


@dataclass(frozen=True)
class SyntheticConfig:
    """The mixture of scenes. A scene is the same for the same seed and configuration.

    Attributes:
        height, width: of the images, pixels.
        frames: S of a window.
        period: shortest and longest time between two frames, seconds.
        longest: no window spans more, seconds.
        rooms, open_ground, hills: how often each kind of surroundings comes, in any unit.
        still_world: share of scenes in which only the camera moves.
        still_camera: share of scenes in which the camera stands on a tripod.
        pure_rotation: share of scenes in which the camera only turns.
        plain_walls: share of scenes with textureless surroundings.
        field_of_view: narrowest and widest horizontal, degrees.
        degradation: 0 gives a perfect camera, 1 the full range of blur, noise and compression.
        samples: rays for a pixel on an edge; others take one.
    """

    height: int = 168
    width: int = 224
    frames: int = 5
    period: tuple[float, float] = (0.033, 0.3)
    longest: float = 2.5
    rooms: float = 0.55
    open_ground: float = 0.25
    hills: float = 0.2
    still_world: float = 0.12
    still_camera: float = 0.1
    pure_rotation: float = 0.06
    plain_walls: float = 0.12
    field_of_view: tuple[float, float] = (40.0, 95.0)
    degradation: float = 1.0
    samples: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered."""
        if min(self.height, self.width) < 8 or self.frames < 1:
            raise DpmError(
                f"synthetic windows of {self.frames} frames of {self.width}×{self.height} cannot be made; "
                "expected 1 frame or more of 8×8 pixels or more"
            )
        if not 0 < self.period[0] <= self.period[1]:
            raise DpmError(f"period {self.period} must be two rising positive times in seconds")
        if not 1 <= self.field_of_view[0] <= self.field_of_view[1] <= 150:
            raise DpmError(f"field_of_view {self.field_of_view} must be two rising angles from 1 to 150 degrees")
        if min(self.rooms, self.open_ground, self.hills) < 0 or self.rooms + self.open_ground + self.hills <= 0:
            raise DpmError("rooms, open_ground and hills must be 0 or more, and not all 0")
        for name in ("still_world", "still_camera", "pure_rotation", "plain_walls", "degradation"):
            if not 0 <= getattr(self, name) <= 1:
                raise DpmError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.samples < 1:
            raise DpmError(f"samples is {self.samples}; it must be 1 or more")
