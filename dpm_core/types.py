# SPDX-License-Identifier: Apache-2.0
"""The three things that flow: a camera frame in, a window's prediction, an estimate out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
UInt8: TypeAlias = NDArray[np.uint8]
Bool: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Frame:
    """One camera image.

    Attributes:
        stamp_ns: when it was taken, nanoseconds.
        image: [H, W, 3] uint8, RGB.
        frame_id: the camera's own coordinate frame (REP-103 optical).
        intrinsics: [3, 3] float64, pixels of `image`, integer pixel centres; None where the camera is not calibrated.
    """

    stamp_ns: int
    image: UInt8
    frame_id: str = "camera"
    intrinsics: Float64 | None = None


@dataclass(frozen=True)
class Prediction:
    """What a network says of one window of S frames: reference-camera coordinates, network units.

    Attributes:
        own_points: [S, H, W, 3] float32, P[v, t_v]: each view at its own time.
        own_conf: [S, H, W] float32, its confidence, >= 1 for expp1.
        points: [T, S, H, W, 3] float32, P[v, t]: each view at each asked time.
        conf: [T, S, H, W] float32, its confidence.
        times: T window positions, the asked times.
        world_from_camera: [S, 4, 4] float32, camera poses in the reference camera's frame.
        intrinsics: [S, 3, 3] float32, pixels of the network's images.
        dynamic_logit: [S, H, W] float32, where the network has a mask head.
        flow: [..., 2] float32 pixels, where the network has a flow head.
    """

    own_points: Tensor
    own_conf: Tensor
    points: Tensor
    conf: Tensor
    times: tuple[int, ...]
    world_from_camera: Tensor
    intrinsics: Tensor
    dynamic_logit: Tensor | None = None
    flow: Tensor | None = None


@dataclass(frozen=True)
class Cloud:
    """Finite points without order, one row a point.

    Attributes:
        points: [N, 3] float32, map coordinates.
        colors: [N, 3] uint8, RGB.
        confidence: [N] float32.
        velocity: [N, 3] float32, map units per second; zero where motion is unknown.
        dynamic: [N] bool, whether it moves.
    """

    points: Float32
    colors: UInt8
    confidence: Float32
    velocity: Float32
    dynamic: Bool


@dataclass(frozen=True)
class Estimate:
    """What is known at the newest frame, map coordinates, at the network's image size.

    Attributes:
        stamp_ns: the frame's own stamp.
        frame_id: the camera's coordinate frame, from the frame.
        world_from_camera: [4, 4] float64, the camera in the map.
        intrinsics: [3, 3] float64, pixels of `depth`.
        unit: "m" where the scale is known, else "network".
        image: [H, W, 3] uint8, RGB, the frame at the size of `depth`.
        depth: [H, W] float32 along the optical axis, NaN where there is none.
        conf: [H, W] float32, the network's confidence.
        dynamic: [H, W] bool, what moves; all False where `motion_known` is not.
        scene_flow: [H, W, 3] float32, map units per second, NaN where motion is unknown.
        motion_known: whether the window was long enough to see motion.
        cloud: every view of the window fused at `stamp_ns`.
        seconds: wall time of each stage, by name.
    """

    stamp_ns: int
    frame_id: str
    world_from_camera: Float64
    intrinsics: Float64
    unit: str
    image: UInt8
    depth: Float32
    conf: Float32
    dynamic: Bool
    scene_flow: Float32
    motion_known: bool
    cloud: Cloud
    seconds: dict[str, float]
