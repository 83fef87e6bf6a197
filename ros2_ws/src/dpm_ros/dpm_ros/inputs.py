# SPDX-License-Identifier: Apache-2.0
"""The node's subscriptions: each image becomes a frame, with the calibration, depth and odometry of its stamp."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from dpm_core.errors import DpmError
from dpm_core.io.camera_info import Calibration, read_calibration
from dpm_core.io.sensors import pose_of_words
from dpm_core.stream.assembly import Assembly, Patience, Together
from dpm_core.types import Float32, Frame, UInt8

from . import conversions, interface, parameters

Told = Callable[[str, str], None]

_STALE_NS = 10_000_000_000  # a calibration that is this much older or newer than its image is doubted, but used
_JOINED_BY_S = 3.0  # after the first odometry, its frames should be known: /tf_static may come a little later

# Poses come often: a lost one is bridged, and best effort hears every publisher.
_MOVING = QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=100)
_LATCHED = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
)


@dataclass(frozen=True)
class FrameNames:
    """Frames that the node knows by name.

    Attributes:
        odom: the robot's odometry frame.
        base: the robot's body, whose odometry it is.
        own: parents of the transforms that this node sends.
    """

    odom: str
    base: str
    own: frozenset[str]

    @classmethod
    def of(cls, values: Mapping[str, parameters.Value]) -> FrameNames:
        """As the parameters say."""
        odom, base, map_frame, world = (
            str(values[name]) for name in ("odom_frame", "base_frame", "map_frame", "world_frame")
        )
        return cls(odom, base, frozenset({map_frame, world}))


class Inputs:
    """Hears what the camera and the other sensors send. One thread calls it: the executor's.

    Attributes:
        topic: where images are read.
        image_seen: steady seconds of the newest image, or of the beginning.
    """

    def __init__(
        self,
        node: LifecycleNode,
        values: Mapping[str, parameters.Value],
        offer: Callable[[Frame], None],
        reject: Told,
        report: Told,
    ) -> None:
        """Subscribe.

        Args:
            node: the one that subscribes.
            values: the parameters.
            offer: takes frames.
            reject: takes (cause, message) of each image that gives no frame.
            report: takes (cause, message) of other faults.
        """
        self._node = node
        self._offer, self._reject, self._report = offer, reject, report
        self._names = FrameNames.of(values)
        patience = Patience(float(values["sync_wait"]), round(1e9 * float(values["sync_tolerance"])), self._names.odom)
        self._assembly: Assembly[UInt8, Image] = Assembly(patience)
        self._info: CameraInfo | None = None
        self._calibration: Calibration | None = None
        self._mount = pose_of_words(str(values["base_from_camera"]))
        self._adopts = values["tf_mode"] == "map_camera"
        self._adopted: set[str] = set()
        self._odometry_since: float | None = None
        self.image_seen = time.monotonic()
        self._timer = node.create_timer(
            max(patience.seconds / 2, 1e-3), self._send, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._timer.cancel()
        self._subscriptions: dict[str, Any] = {}
        self.topic = self._subscribe(values)

    def close(self) -> None:
        """Hear no more."""
        self._node.destroy_timer(self._timer)
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.popitem()[1])

    def forget(self) -> None:
        """Time went back: nothing that waits or was heard belongs to what comes."""
        self._assembly.forget()
        self._odometry_since = None

    def _subscribe(self, values: Mapping[str, parameters.Value]) -> str:
        qos = parameters.image_qos(values)
        image = self._node.resolve_topic_name(interface.IMAGE.name)
        if values["image_transport"] == "compressed":
            image = f"{image}/compressed"
            self._hear("image", CompressedImage, image, self._on_compressed, qos)
        else:
            self._hear("image", Image, image, self._on_image, qos)
        self._hear("calibration", CameraInfo, interface.CAMERA_INFO.name, self._on_camera_info, qos)
        self._hear("depth", Image, interface.DEPTH_IN.name, self._on_depth, qos)
        self._hear("static", TFMessage, interface.STATIC_TF.name, self._on_static, _LATCHED)
        if values["odom_from"] == "tf":
            self._hear("odometry", TFMessage, interface.TF.name, self._on_moving, _MOVING)
        else:
            self._hear("odometry", Odometry, interface.ODOM.name, self._on_odom, _MOVING)
        return image

    def _hear(self, what: str, kind: type, topic: str, callback: Callable[[Any], None], qos: Any) -> None:
        def heard(message: Any) -> None:
            try:
                callback(message)
            except Exception as error:  # rclpy ends the process where a callback raises
                self._report(f"unreadable {what}", f"{type(error).__name__}: {error}")

        self._subscriptions[what] = self._node.create_subscription(kind, topic, heard, qos)

    # Images.

    def _on_image(self, message: Image) -> None:
        self._take(message, lambda: conversions.rgb_from_image(message))

    def _on_compressed(self, message: CompressedImage) -> None:
        self._take(message, lambda: conversions.rgb_from_compressed(message))

    def _take(self, message: Image | CompressedImage, decode: Callable[[], UInt8]) -> None:
        self.image_seen = time.monotonic()
        try:
            conversions.require_stamp(message.header.stamp)
            image = decode()
        except DpmError as error:
            self._reject("unreadable image", str(error))
            return
        except Exception as error:  # whatever a topic holds, the node lives
            self._reject("unreadable image", f"{type(error).__name__}: {error}")
            return
        frame_id = message.header.frame_id or "camera"
        if self._mount is not None:
            self._learn(self._names.base, frame_id, None, self._mount)
        elif self._adopts:
            self._name_second_parent(frame_id)
        self._assembly.expected = self._expected(frame_id)
        self._assembly.put_image(conversions.nanoseconds(message.header.stamp), frame_id, image, self.image_seen)
        self._send()

    def _name_second_parent(self, frame_id: str) -> None:
        """The transform map → camera and the robot's own tree cannot both hold the camera (REP-105): said once."""
        parent = self._assembly.tree.parent(frame_id)
        if parent is not None and frame_id not in self._adopted:
            self._adopted.add(frame_id)
            self._report(
                "two parents",
                f"'{frame_id}' is already a child of '{parent}' on /tf_static; set tf_mode to odom_base or none",
            )

    def _expected(self, frame_id: str) -> frozenset[str]:
        """What is offered to the node, and can be had for this camera."""
        offered = {what for what in ("calibration", "depth", "odometry") if self._is_offered(what)}
        if "odometry" in offered and not self._assembly.tree.joined(self._names.odom, frame_id):
            offered.remove("odometry")
            since = self._odometry_since
            if since is not None and time.monotonic() - since > _JOINED_BY_S:
                self._report(
                    "odometry",
                    f"no transform joins '{self._names.odom}' and '{frame_id}', so odometry is not used; "
                    f"send /tf_static or set base_from_camera, and see base_frame and odom_frame",
                )
        return frozenset(offered)

    def _is_offered(self, what: str) -> bool:
        return self._node.count_publishers(self._subscriptions[what].topic_name) > 0

    def _send(self) -> None:
        for together in self._assembly.ready(time.monotonic()):
            if "depth" in together.missing:
                self._report("depth", f"no depth image within sync_tolerance of {together.stamp_ns} ns")
            if "odometry" in together.missing:
                self._report("odometry", f"none that reaches {together.stamp_ns} ns came within sync_wait")
            self._offer(self._frame(together))
        if self._assembly.waits_until is None:
            self._timer.cancel()
        elif self._timer.is_canceled():
            self._timer.reset()

    def _frame(self, together: Together[UInt8, Image]) -> Frame:
        calibration = self._calibration_for(together)
        return Frame(
            together.stamp_ns,
            together.image,
            together.frame_id,
            intrinsics=None if calibration is None else calibration.intrinsics,
            lens=None if calibration is None else calibration.lens,
            depth=None if together.depth is None else self._depth(together.depth),
            odom_from_camera=together.odom_from_camera,
        )

    # Calibration and depth.

    def _on_camera_info(self, message: CameraInfo) -> None:
        if self._info is None or not _same_calibration(message, self._info):
            try:
                self._calibration = read_calibration(message)
            except DpmError as error:
                self._calibration = None
                self._report("calibration", str(error))
        self._info = message
        self._assembly.has_calibration = True
        self._send()

    def _calibration_for(self, together: Together[UInt8, Image]) -> Calibration | None:
        if self._calibration is None or self._info is None:
            return None
        stamp_ns = conversions.nanoseconds(self._info.header.stamp)
        if stamp_ns and abs(stamp_ns - together.stamp_ns) > _STALE_NS:
            apart = abs(stamp_ns - together.stamp_ns) * 1e-9
            self._report("stale calibration", f"camera_info is {apart:.1f} s from its image; it is used all the same")
        try:
            return self._calibration.for_image(*together.image.shape[:2])
        except DpmError as error:
            self._report("calibration", str(error))
            return None

    def _on_depth(self, message: Image) -> None:
        self._assembly.put_depth(conversions.nanoseconds(message.header.stamp), message)
        self._send()

    def _depth(self, message: Image) -> Float32 | None:
        try:
            return conversions.depth_from_image(message)
        except DpmError as error:
            self._report("unreadable depth", str(error))
            return None

    # Frames of the robot.

    def _on_odom(self, message: Odometry) -> None:
        parent, child = message.header.frame_id or self._names.odom, message.child_frame_id or self._names.base
        pose = conversions.pose_from_message(message.pose.pose)
        self._learn(parent, child, conversions.nanoseconds(message.header.stamp), pose)
        self._heard_odometry()

    def _on_moving(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._learn_transform(transform, conversions.nanoseconds(transform.header.stamp))
        self._heard_odometry()

    def _on_static(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._learn_transform(transform, None)
        self._send()

    def _heard_odometry(self) -> None:
        if self._odometry_since is None:
            self._odometry_since = time.monotonic()
        self._send()

    def _learn_transform(self, transform: TransformStamped, stamp_ns: int | None) -> None:
        parent = transform.header.frame_id
        if parent.lstrip("/") not in self._names.own:  # what this node sends comes back to it
            pose = conversions.pose_from_transform(transform.transform)
            self._learn(parent, transform.child_frame_id, stamp_ns, pose)

    def _learn(self, parent: str, child: str, stamp_ns: int | None, pose: Any) -> None:
        try:
            fault = self._assembly.tree.add(parent, child, stamp_ns, pose)
        except DpmError as error:
            fault = str(error)
        if fault is not None:
            self._report("transform", fault)


def _same_calibration(one: CameraInfo, other: CameraInfo) -> bool:
    """Whether two messages say the same; but for the stamp they do, most of the time."""
    sizes = ("height", "width", "distortion_model", "binning_x", "binning_y", "roi")
    return all(getattr(one, name) == getattr(other, name) for name in sizes) and all(
        tuple(getattr(one, name)) == tuple(getattr(other, name)) for name in "dkrp"
    )
