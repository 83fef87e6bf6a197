# SPDX-License-Identifier: Apache-2.0
"""Estimates to messages: each is built only when somebody subscribes, and carries its frame's own stamp."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tf2_msgs.msg import TFMessage

from dpm_core.stream import Wanted
from dpm_core.types import Cloud

from . import conversions, interface, markers
from .conversions import PackedCloud
from .interface import Output
from .path import PathMessage
from .trail import Trail

if TYPE_CHECKING:
    from rclpy.publisher import Publisher
    from sensor_msgs.msg import PointCloud2
    from std_msgs.msg import Header

    from dpm_core.types import Estimate, Float64


@dataclass(frozen=True)
class Frames:
    """Names and choices of what is sent.

    Attributes:
        map_frame: of poses and path.
        cloud_frame: "camera" for the image's own frame, as other sensors' clouds have it, or "map".
        world_frame: its upright parent; empty for none.
        tf_mode: "map_camera", "odom_base" (the correction map → odom) or "none".
        odom_frame: the robot's odometry frame.
        cloud_motion: whether clouds carry confidence and velocity.
        path_length: poses kept in the path.
        flow_lines: most lines of scene flow.
        flow_seconds: the time whose motion a line shows.
        track_lifetime: seconds that a track is shown without news of it.
        trail_seconds: how far back the trail of what moves goes.
        trail_points: most points of it.
    """

    map_frame: str
    cloud_frame: str
    world_frame: str
    tf_mode: str
    odom_frame: str
    cloud_motion: bool
    path_length: int
    flow_lines: int
    flow_seconds: float
    track_lifetime: float
    trail_seconds: float
    trail_points: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Frames:
        """As the parameters say. values: by name of the parameter."""
        return cls(
            map_frame=str(values["map_frame"]),
            cloud_frame=str(values["cloud_frame"]),
            world_frame=str(values["world_frame"]),
            tf_mode=str(values["tf_mode"]),
            odom_frame=str(values["odom_frame"]),
            cloud_motion=values["cloud_fields"] == "motion",
            path_length=int(values["path_length"]),
            flow_lines=int(values["flow_lines"]),
            flow_seconds=float(values["flow_seconds"]),
            track_lifetime=float(values["track_lifetime"]),
            trail_seconds=float(values["trail_seconds"]),
            trail_points=int(values["trail_points"]),
        )


class EstimatePublisher:
    """Sends estimates. The session's thread calls `publish`, another `publish_map` now and then, anybody `forget`."""

    def __init__(self, publishers: Mapping[str, Publisher[Any]], frames: Frames) -> None:
        self._publishers = publishers
        self._frames = frames
        self._lock = threading.Lock()
        self._path = PathMessage(frames.path_length)
        self._trail = Trail(frames.trail_seconds, frames.trail_points)
        self._drawn_ns: int | None = None
        self._stale: set[str] = set()
        self._map_ns: int | None = None
        self._unit: str | None = None

    def wanted(self) -> Wanted:
        """What of the next estimate has subscribers, for another to ask; the map and the tracks always go on."""
        heard = {name for name, publisher in self._publishers.items() if publisher.get_subscription_count()}
        apart = heard & {output.name for output in _OF_MOTION}
        whole = interface.POINTS.name in heard
        every_view_moves = bool(apart) or (whole and self._frames.cloud_motion)
        return Wanted(cloud=whole or bool(apart), motion="all" if every_view_moves else "newest")

    def forget(self) -> None:
        """A new map begins: the path ends here, what was drawn goes, and who has the old map gets an empty one."""
        with self._lock:
            self._path.clear()
            self._trail.forget()
            drawn_ns, self._drawn_ns = self._drawn_ns, None
            map_ns, self._map_ns = self._map_ns, None
        if drawn_ns is not None:
            header = conversions.header(drawn_ns, self._frames.map_frame)
            for output in (interface.SCENE_FLOW, interface.TRACKS):
                self._send(output, lambda: markers.marker_array(None, anew=header))
                self._stale.add(output.name)  # of two messages at once a subscriber may get the later only
        if map_ns is not None:  # it is latched: whoever comes later must not get it either
            self._publishers[interface.MAP.name].publish(self._map_message(map_ns, Cloud.none()))

    def publish_map(self, estimate: Estimate) -> None:
        """The map as this estimate left it, if somebody subscribes and it was not sent yet."""
        stamp_ns = estimate.stamp_ns
        if stamp_ns == self._map_ns:
            return
        if self._send(interface.MAP, lambda: self._map_message(stamp_ns, estimate.static_map())):
            with self._lock:
                self._map_ns = stamp_ns

    def _map_message(self, stamp_ns: int, cloud: Cloud) -> PointCloud2:
        header = conversions.header(stamp_ns, self._frames.map_frame)
        return PackedCloud.of(cloud, with_motion=False).message(header)

    def publish_world(self, stamp_ns: int) -> None:
        """The constant transform that puts the map upright, if it is wanted."""
        if not self._frames.world_frame:
            return
        header = conversions.header(stamp_ns, self._frames.world_frame)
        transform = conversions.transform_message(header, self._frames.map_frame, WORLD_FROM_OPTICAL)
        self._publishers[interface.STATIC_TF.name].publish(TFMessage(transforms=[transform]))

    def publish(self, estimate: Estimate) -> None:
        """Everything of one estimate that has subscribers. Where the unit changes, what adds up begins anew."""
        if self._unit not in (None, estimate.unit):
            self.forget()
        self._unit = estimate.unit
        with self._lock:
            self._drawn_ns = estimate.stamp_ns
        self._camera(estimate)  # first, so that the transform is there when the cloud comes
        self._clouds(estimate)
        self._tracks(estimate)
        self._images(estimate)

    def _clouds(self, estimate: Estimate) -> None:
        in_map = self._frames.cloud_frame == "map"
        header = conversions.header(estimate.stamp_ns, self._frames.map_frame if in_map else estimate.frame_id)

        @cache
        def cloud() -> Cloud:
            return estimate.cloud if in_map else seen_from(estimate.cloud, estimate.world_from_camera)

        @cache
        def packed() -> PackedCloud:
            return PackedCloud.of(cloud(), self._frames.cloud_motion)

        def flow() -> markers.Lines:
            frames = self._frames
            return markers.flow_lines(header, cloud(), frames.flow_seconds, frames.flow_lines, line_width(estimate))

        if not estimate.cloud_known:
            return
        self._send(interface.POINTS, lambda: packed().message(header))
        if estimate.cloud_motion_known:
            self._send(interface.STATIC_POINTS, lambda: packed().part(header, ~packed().dynamic))
            self._send(interface.DYNAMIC_POINTS, lambda: packed().part(header, packed().dynamic))
            self._draw(interface.SCENE_FLOW, flow)
            self._send(interface.TRAIL, lambda: self._trail_message(estimate))

    def _trail_message(self, estimate: Estimate) -> PointCloud2:
        with self._lock:
            self._trail.add(estimate.stamp_ns, estimate.cloud)
            return self._trail.message(conversions.header(estimate.stamp_ns, self._frames.map_frame))

    def _tracks(self, estimate: Estimate) -> None:
        header = conversions.header(estimate.stamp_ns, self._frames.map_frame)

        def strips() -> markers.Lines:
            return markers.track_lines(header, estimate.tracks, self._frames.track_lifetime, line_width(estimate))

        self._draw(interface.TRACKS, strips)

    def _camera(self, estimate: Estimate) -> None:
        header = conversions.header(estimate.stamp_ns, self._frames.map_frame)
        pose = conversions.pose_message(header, estimate.world_from_camera)
        with self._lock:
            self._path.add(pose)
        self._send(interface.POSE, lambda: pose)
        self._send(interface.PATH, lambda: self._path_message(header))
        odometry = estimate.odometry
        if odometry is not None:
            self._send(interface.ODOMETRY, lambda: conversions.odometry_message(pose, estimate.frame_id, odometry))
        transform = self._transform(estimate)
        if transform is not None:
            message = conversions.transform_message(header, *transform)
            self._send(interface.TF, lambda: TFMessage(transforms=[message]))

    def _path_message(self, header: Header) -> bytes:
        with self._lock:
            return self._path.bytes(header)

    def _transform(self, estimate: Estimate) -> tuple[str, Float64] | None:
        """The child of the map frame and its pose; None where there is none to send.

        map_from_odom = map_from_camera · odom_from_camera⁻¹ joins two frames in metres: without a scale there is none.
        """
        mode = self._frames.tf_mode
        if mode == "map_camera":
            return estimate.frame_id, estimate.world_from_camera
        if mode == "odom_base" and estimate.unit == "m" and estimate.odom_from_camera is not None:
            return self._frames.odom_frame, estimate.world_from_camera @ np.linalg.inv(estimate.odom_from_camera)
        return None

    def _images(self, estimate: Estimate) -> None:
        header = conversions.header(estimate.stamp_ns, estimate.frame_id)
        size = estimate.depth.shape
        self._send(interface.DEPTH, lambda: conversions.float_image(header, estimate.depth))
        self._send(interface.DEPTH_INFO, lambda: conversions.camera_info(header, estimate.intrinsics, *size))
        self._send(interface.CONFIDENCE, lambda: conversions.float_image(header, estimate.conf))
        self._send(interface.DYNAMIC_MASK, lambda: conversions.mask_image(header, estimate.dynamic))

    def _draw(self, output: Output, build: Callable[[], markers.Lines]) -> None:
        """Send markers; the first ones of a new map take away those of the old one."""

        def drawn() -> bytes:
            fresh = build()
            if output.name not in self._stale:
                return markers.marker_array(fresh)
            self._stale.discard(output.name)
            anew = conversions.header(self._drawn_ns or 0, self._frames.map_frame)
            return markers.marker_array(fresh, anew)

        self._send(output, drawn)

    def _send(self, output: Output, build: Callable[[], Any]) -> bool:
        """Build and send, if somebody subscribes; whether it was sent."""
        publisher = self._publishers[output.name]
        wanted = publisher.get_subscription_count() > 0
        if wanted:
            publisher.publish(build())
        return wanted


# What is made of the motion of every view.
_OF_MOTION = (interface.STATIC_POINTS, interface.DYNAMIC_POINTS, interface.TRAIL, interface.SCENE_FLOW)

# Optical axes (x right, y down, z forward) in a body's (x forward, y left, z up): REP-103.
WORLD_FROM_OPTICAL: Float64 = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


_LINE_PART = 0.003  # of the scene's depth: scenes without a scale may be of any size


def line_width(estimate: Estimate) -> float:
    """Of lines that are well seen in the scene, in its unit."""
    depth = estimate.depth[::4, ::4]
    depth = depth[np.isfinite(depth)]
    return _LINE_PART * float(np.median(depth)) if depth.size else _LINE_PART


def seen_from(cloud: Cloud, world_from_camera: Float64) -> Cloud:
    """A cloud of the map in a camera's frame; velocities stay those of the world, along the camera's axes."""
    if not len(cloud.points):
        return cloud  # OpenCV transforms no empty arrays
    camera_from_world = np.linalg.inv(world_from_camera)[:3].astype(np.float32)
    points = cv2.transform(cloud.points[:, None], camera_from_world)[:, 0]
    velocity = cv2.transform(cloud.velocity[:, None], camera_from_world[:, :3])[:, 0]
    return replace(cloud, points=np.asarray(points, np.float32), velocity=np.asarray(velocity, np.float32))
