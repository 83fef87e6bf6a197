# SPDX-License-Identifier: Apache-2.0
"""The session's few knobs."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args

from ..errors import DpmError


@dataclass(frozen=True)
class MapConfig:
    """How the map of what does not move is kept.

    Attributes:
        voxel: edge of its cells, as a fraction of the median depth where it began (structural).
        capacity: most cells, 36 bytes each and 450 while a frame enters; beyond, the ones farthest from the camera are
            forgotten (structural).
        period_s: a frame goes into the map at most this often, 0 for every frame; seconds.
        see_through: a cell is forgotten where a camera sees farther by more than this fraction of its depth.
    """

    voxel: float = 0.01
    capacity: int = 500_000
    period_s: float = 1.0
    see_through: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _require_numbers(self, "map.")
        if self.voxel == 0:
            raise DpmError("map.voxel is 0; it must be more, such as 0.01 of the median depth")
        if self.capacity < 1:
            raise DpmError(f"map.capacity is {self.capacity}; it must be 1 or more cells")


@dataclass(frozen=True)
class TrackConfig:
    """How moving points are followed.

    Attributes:
        count: most points followed at once, 0 for none.
        length: frames that a track remembers (structural).
        spacing: pixels of the network's image between points that begin together.
        tolerance: a point is seen where the surface at its pixel is nearer to it than this fraction of its depth.
    """

    count: int = 200
    length: int = 20
    spacing: int = 8
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _require_numbers(self, "tracks.")
        for name in ("length", "spacing"):
            if getattr(self, name) < 1:
                raise DpmError(f"tracks.{name} is {getattr(self, name)}; it must be 1 or more")


ScaleSource = Literal["auto", "none", "depth", "odometry", "height", "fixed"]
SCALE_SOURCES: tuple[str, ...] = get_args(ScaleSource)


@dataclass(frozen=True)
class ScaleConfig:
    """How lengths become metres.

    Attributes:
        source: what measures the scale: auto for whatever is there, or none, depth, odometry, height, fixed.
        factor: with source fixed, metres in one unit of the network's first window.
        camera_height: of the camera above level ground, metres; 0 where it is not known or changes.
        memory: newest measurements whose median is the scale.
        max_sigma: lengths are metres where the scale's relative standard deviation is at most this.
    """

    source: ScaleSource = "auto"
    factor: float = 1.0
    camera_height: float = 0.0
    memory: int = 30
    max_sigma: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _require_numbers(self, "scale.")
        if self.source not in SCALE_SOURCES:
            raise DpmError(f"scale.source is '{self.source}'; choose one of: {', '.join(SCALE_SOURCES)}")
        if self.source == "fixed" and self.factor == 0:
            raise DpmError("scale.factor is 0; it must be more: metres in one unit of the network")
        if self.source == "height" and self.camera_height == 0:
            raise DpmError("scale.camera_height is 0; give the camera's height above the ground in metres")
        if self.memory < 1:
            raise DpmError(f"scale.memory is {self.memory}; it must be 1 or more measurements")


@dataclass(frozen=True)
class SessionConfig:
    """How frames become estimates. Lengths are fractions of the scene's median depth, so no unit is needed.

    Attributes:
        window: frames that the network sees at once (structural: a change needs a new session).
        max_gap_s: a longer time between two frames breaks their context, and the window starts anew; seconds.
        min_confidence: points the network trusts less stay out of the cloud; 1 is the least that a network says and
            leaves none out, since what a confidence is worth differs by network (docs/vdpm-mini.md, Calibration).
        dynamic_factor: k of POMATO eq. 9: a pixel moves that moved more than k times the median.
        dynamic_floor: nothing moves that moved less than this fraction of the median depth within the window.
        voxel: points nearer to each other than about this fraction of the median depth are fused into one.
        map: how the map of what does not move is kept.
        tracks: how moving points are followed.
        scale: how lengths become metres.
    """

    window: int = 5
    max_gap_s: float = 1.0
    min_confidence: float = 1.0
    dynamic_factor: float = 3.0
    dynamic_floor: float = 0.03
    voxel: float = 0.005
    map: MapConfig = field(default_factory=MapConfig)
    tracks: TrackConfig = field(default_factory=TrackConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.window < 1:
            raise DpmError(f"window is {self.window}; it must be 1 or more frames")
        _require_numbers(self)
        if self.voxel == 0:
            raise DpmError("voxel is 0; it must be more, such as 0.005 of the median depth")


STRUCTURAL = ("window", "map.voxel", "map.capacity", "tracks.length")
"""What a session keeps from its beginning to its end; the rest may change between two frames."""


def by_name(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every value of a configuration, those of its parts under names such as `map.voxel`."""
    values: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        name = prefix + each.name
        values |= by_name(value, f"{name}.") if is_dataclass(value) else {name: value}
    return values


def _require_numbers(config: Any, prefix: str = "") -> None:
    for each in fields(config):
        value = getattr(config, each.name)
        if isinstance(value, int | float) and not 0 <= value < float("inf"):
            raise DpmError(f"{prefix}{each.name} is {value}; it must be a finite number, 0 or more")
