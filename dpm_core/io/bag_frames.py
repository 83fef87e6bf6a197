# SPDX-License-Identifier: Apache-2.0
"""A bag's messages, in the order they came, to frames: the offline twin of the node's subscriptions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..errors import DpmError
from ..geometry.frame_tree import pose_from
from ..stream.assembly import Assembly, Patience, Together
from ..types import Float32, Float64, Frame, UInt8
from .camera_info import Calibration, read_calibration
from .depth import decode_compressed_depth, decode_depth
from .images import decode_compressed, decode_image
from .sensors import Sensors, pose_of_words
from .source import Undecoded

_JOINED_BY_NS = 5_000_000_000
_PATIENCE_S = 1.0  # of the bag's time: here nothing is late for want of speed


class BagFrames:
    """Takes messages and gives undecoded frames, each with the calibration, depth and odometry of its stamp."""

    def __init__(self, where: str, sensors: Sensors, calibration: Calibration | None) -> None:
        """Begin.

        Args:
            where: the bag and its image topic, for what is said of broken images.
            sensors: what is read beside the images.
            calibration: of the camera at the beginning.
        """
        self._where = where
        self._sensors = sensors
        self._calibration = calibration
        self._assembly: Assembly[Any, Any] = Assembly(Patience(_PATIENCE_S, odom_frame=sensors.odom_frame))
        chosen = {"depth": sensors.depth_topic, "odometry": sensors.odom_topic}
        self._assembly.expected = frozenset(name for name, topic in chosen.items() if topic is not None)
        self._begun_ns: int | None = None
        self._mount = pose_of_words(sensors.base_from_camera)
        self._takers: dict[str, Callable[[Any, int], None]] = {
            "image": self._take_image,
            "calibration": self._take_calibration,
            "depth": self._take_depth,
            "odometry": self._take_odometry,
            "transform": self._take_transforms,
            "static transform": self._take_static_transforms,
        }

    def put(self, role: str, message: Any, arrival_ns: int) -> Iterator[Undecoded]:
        """The frames that this message completes.

        Args:
            role: "image", "calibration", "depth", "odometry", "transform" or "static transform".
            message: as rosbags read it.
            arrival_ns: when it came, by the bag.

        Raises:
            DpmError: a calibration or a transform cannot be meant.
        """
        self._takers[role](message, arrival_ns)
        return self._ready(arrival_ns * 1e-9)

    def rest(self) -> Iterator[Undecoded]:
        """The frames that nothing more can complete."""
        return self._ready(math.inf)

    def _ready(self, now: float) -> Iterator[Undecoded]:
        for together in self._assembly.ready(now):
            yield partial(self._frame, together, self._calibration)

    def _frame(self, together: Together[Any, Any], calibration: Calibration | None) -> Frame:
        try:
            image = _pixels(together.image)
            depth = None if together.depth is None else _metres(together.depth, self._sensors.depth_unit)
        except DpmError as error:
            raise DpmError(f"{self._where}, stamp {together.stamp_ns} ns: {error}") from error
        if calibration is not None and calibration.size != image.shape[:2]:
            calibration = None
        return Frame(
            together.stamp_ns,
            image,
            together.frame_id,
            intrinsics=None if calibration is None else calibration.intrinsics,
            lens=None if calibration is None else calibration.lens,
            depth=depth,
            odom_from_camera=together.odom_from_camera,
        )

    def _take_image(self, message: Any, arrival_ns: int) -> None:
        frame_id = message.header.frame_id or "camera"
        tree, names = self._assembly.tree, self._sensors
        if self._mount is not None:
            tree.add(names.base_frame, frame_id, None, self._mount)
        if names.odom_topic:
            self._require_joined(frame_id, arrival_ns)
        self._assembly.put_image(_stamp(message, arrival_ns), frame_id, message, arrival_ns * 1e-9)

    def _require_joined(self, frame_id: str, arrival_ns: int) -> None:
        """Transforms may be written a little later than the first image, but not much."""
        odom = self._sensors.odom_frame
        if self._begun_ns is None:
            self._begun_ns = arrival_ns
        if arrival_ns - self._begun_ns > _JOINED_BY_NS and not self._assembly.tree.joined(odom, frame_id):
            raise DpmError(
                f"{self._where}: no transform joins '{odom}' and '{frame_id}'; give --base-from-camera, "
                f"--odom-frame or --base-frame, or leave --odom-topic out"
            )

    def _take_calibration(self, message: Any, arrival_ns: int) -> None:
        self._calibration = read_calibration(message)

    def _take_depth(self, message: Any, arrival_ns: int) -> None:
        self._assembly.put_depth(_stamp(message, arrival_ns), message)

    def _take_odometry(self, message: Any, arrival_ns: int) -> None:
        parent = message.header.frame_id or self._sensors.odom_frame
        child = message.child_frame_id or self._sensors.base_frame
        pose = message.pose.pose
        self._assembly.tree.add(parent, child, _stamp(message, arrival_ns), _pose(pose.position, pose.orientation))

    def _take_transforms(self, message: Any, arrival_ns: int) -> None:
        for one in message.transforms:
            pose = _pose(one.transform.translation, one.transform.rotation)
            self._assembly.tree.add(one.header.frame_id, one.child_frame_id, _stamp(one, arrival_ns), pose)

    def _take_static_transforms(self, message: Any, arrival_ns: int) -> None:
        for one in message.transforms:
            pose = _pose(one.transform.translation, one.transform.rotation)
            self._assembly.tree.add(one.header.frame_id, one.child_frame_id, None, pose)


def _stamp(message: Any, arrival_ns: int) -> int:
    """The header's stamp; the arrival in the bag where the header has none."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec) or arrival_ns


def _pose(place: Any, turn: Any) -> Float64:
    return pose_from((place.x, place.y, place.z), (turn.x, turn.y, turn.z, turn.w))


def _pixels(message: Any) -> UInt8:
    if hasattr(message, "format"):
        return decode_compressed(message.format, message.data)
    return decode_image(
        message.encoding, message.height, message.width, message.step, bool(message.is_bigendian), message.data
    )


def _metres(message: Any, unit: float) -> Float32:
    if hasattr(message, "format"):
        return decode_compressed_depth(message.format, message.data, unit)
    fields = (message.encoding, message.height, message.width, message.step, bool(message.is_bigendian))
    return decode_depth(*fields, message.data, unit)
