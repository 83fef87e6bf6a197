# SPDX-License-Identifier: Apache-2.0
"""The three things that flow: a camera frame in, a window's prediction, an estimate out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Int64: TypeAlias = NDArray[np.int64]
UInt8: TypeAlias = NDArray[np.uint8]
Bool: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Lens:
    """How a real camera bends what a pinhole would see.

    Attributes:
        model: "plumb_bob", "rational_polynomial" or "equidistant".
        coefficients: in OpenCV's order, as sensor_msgs/CameraInfo has them.
        intrinsics: the nine numbers of the bent image's camera matrix, row by row; pixels.
    """

    model: str
    coefficients: tuple[float, ...]
    intrinsics: tuple[float, ...]


@dataclass(frozen=True)
class Frame:
    """One camera image, and what other sensors say at its instant.

    Attributes:
        stamp_ns: when it was taken, nanoseconds.
        image: [H, W, 3] uint8, RGB.
        frame_id: the camera's own coordinate frame (REP-103 optical).
        intrinsics: [3, 3] float64, pixels of `image` without what the lens does, integer pixel centres; None where the
            camera is not calibrated.
        lens: what bends `image`; None where straight lines are straight in it.
        depth: [h, w] float32, metres along the optical axis, 0 or NaN where there is none: the same view as `image`,
            of any size; None without a depth sensor.
        odom_from_camera: [4, 4] float64, metres, the camera in the robot's odometry frame; None without odometry.
    """

    stamp_ns: int
    image: UInt8
    frame_id: str = "camera"
    intrinsics: Float64 | None = None
    lens: Lens | None = None
    depth: Float32 | None = None
    odom_from_camera: Float64 | None = None


@dataclass(frozen=True)
class Request:
    """What is asked of a network about one window of S frames. Positions count from the oldest frame, 0.

    Attributes:
        own_views: the views wanted at their own time, P[v, t_v].
        times: T window positions, the asked times.
        views: for each of the T times the views wanted then, P[v, t].
    """

    own_views: tuple[int, ...]
    times: tuple[int, ...]
    views: tuple[tuple[int, ...], ...]

    @classmethod
    def whole(cls, frames: int, times: Sequence[int]) -> Request:
        """Every one of S = `frames` views at its own time and at each of these times."""
        everything = tuple(range(frames))
        return cls(everything, tuple(times), (everything,) * len(times))


@dataclass(frozen=True)
class Prediction:
    """What a network says of one window of S frames: reference-camera coordinates, network units.

    Maps of views that a `Request` leaves out are NaN, or there all the same where that cost nothing.

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

    @classmethod
    def none(cls) -> Cloud:
        """A cloud without points."""
        vectors, numbers = np.empty((0, 3), np.float32), np.empty(0, np.float32)
        return cls(vectors, np.empty((0, 3), np.uint8), numbers, vectors, np.empty(0, np.bool_))


@dataclass(frozen=True)
class Tracks:
    """Points that were seen moving, followed while they are seen, map coordinates.

    Attributes:
        ids: [N] int64, a point's own as long as it is followed; never given to another before a new map.
        stamps_ns: of the newest L frames, oldest first; the last one is the estimate's.
        points: [L, N, 3] float32, where each was at each stamp; NaN before it began.
    """

    ids: Int64
    stamps_ns: tuple[int, ...]
    points: Float32

    @classmethod
    def none(cls) -> Tracks:
        """Nothing is followed."""
        return cls(np.empty(0, np.int64), (), np.empty((0, 0, 3), np.float32))


@dataclass(frozen=True)
class MetricScale:
    """What makes metres of the network's unit.

    Attributes:
        metres_per_unit: metres in one unit of the map as the windows were chained.
        relative_sigma: standard deviation of its error, as a fraction of it.
        source: what it was measured with: "depth", "odometry", "height", several of them, or "fixed".
    """

    metres_per_unit: float
    relative_sigma: float
    source: str


@dataclass(frozen=True)
class Odometry:
    """How sure the camera's pose is, and how it moves. Rows and columns of covariances: x y z, then about x y z.

    Attributes:
        pose_covariance: [6, 6] float64, map axes; map units and radians.
        linear: [3] float64, the camera's own axes, map units per second.
        angular: [3] float64, the camera's own axes, radians per second.
        twist_covariance: [6, 6] float64, of the two.
    """

    pose_covariance: Float64
    linear: Float64
    angular: Float64
    twist_covariance: Float64


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
        cloud_known: whether the cloud was asked for; where not, it is empty.
        cloud_motion_known: whether velocities and flags of all its points are known, those of older frames too.
        seconds: wall time of each stage, by name.
        scale: how lengths became metres; None where they are not.
        odometry: how the camera moves; None where no frame before it is in the window.
        odom_from_camera: [4, 4] float64, metres, the camera in the robot's odometry frame, from the frame.
        tracks: what moves, followed through time.
        static_map: what does not move, of all that was seen since the map began; made when it is called.
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
    cloud_known: bool = True
    cloud_motion_known: bool = True
    scale: MetricScale | None = None
    odometry: Odometry | None = None
    odom_from_camera: Float64 | None = None
    tracks: Tracks = field(default_factory=Tracks.none)
    static_map: Callable[[], Cloud] = Cloud.none
