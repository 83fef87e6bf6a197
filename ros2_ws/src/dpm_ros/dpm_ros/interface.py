# SPDX-License-Identifier: Apache-2.0
"""The node's topics and services, once: the node makes them from here, the documentation and RViz tests read them."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray


@dataclass(frozen=True)
class Output:
    """A topic that the node publishes, reliably: best-effort messages over 1 MB are lost on stock Fast DDS.

    Attributes:
        name: relative where it may be remapped into a namespace; absolute where ROS says so.
        type: the message class.
        help: what it carries, in the words of the documentation.
        depth: messages kept for a slow subscriber: with one, the second of two within milliseconds takes its place.
        latched: whether a late subscriber gets the last message.
    """

    name: str
    type: type
    help: str
    depth: int = 5
    latched: bool = False

    @property
    def qos(self) -> QoSProfile:
        """RELIABLE, KEEP_LAST(depth), volatile or transient local."""
        return QoSProfile(
            reliability=ReliabilityPolicy.RELIABLE,
            history=HistoryPolicy.KEEP_LAST,
            depth=self.depth,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if self.latched else DurabilityPolicy.VOLATILE,
        )


@dataclass(frozen=True)
class Input:
    """A topic that the node reads, or a service that it offers."""

    name: str
    type: type
    help: str


POINTS = Output("points", PointCloud2, "everything that the window saw, fused at the newest stamp")
STATIC_POINTS = Output("points/static", PointCloud2, "the part of `points` that does not move; once motion is known")
DYNAMIC_POINTS = Output("points/dynamic", PointCloud2, "the part of `points` that moves; once motion is known")
TRAIL = Output(
    "points/trail",
    PointCloud2,
    "x y z rgb age: where what moves was in the last `trail_seconds`, in the map frame; age is in seconds, 0 for now",
)
SCENE_FLOW = Output(
    "scene_flow", MarkerArray, "LINE_LIST in the frame of the clouds: the motion of `flow_seconds` of what moves"
)
TRACKS = Output(
    "tracks", MarkerArray, "a LINE_STRIP for each point seen moving, in the map frame; its id is the point's own"
)
MAP = Output(
    "map",
    PointCloud2,
    "what does not move, of all that was seen since the map began; 1 Hz at most",
    depth=1,
    latched=True,
)
ODOMETRY = Output(
    "odometry", Odometry, "the camera in the map frame and its twist along its own axes, with covariances", depth=10
)
POSE = Output("pose", PoseStamped, "the camera in the map frame", depth=10)
PATH = Output("path", Path, "the newest poses since the map began, at most `path_length`")
TF = Output("/tf", TFMessage, "map → camera, or map → odom, as `tf_mode` says", depth=100)
STATIC_TF = Output(
    "/tf_static", TFMessage, "`world_frame` → map: upright as far as the first camera was", depth=1, latched=True
)
DEPTH = Output("depth/image", Image, "32FC1, along the optical axis, NaN where there is none (REP-118)")
DEPTH_INFO = Output("depth/camera_info", CameraInfo, "intrinsics of the published size")
CONFIDENCE = Output("confidence", Image, "32FC1, the network's own confidence")
DYNAMIC_MASK = Output("dynamic_mask", Image, "mono8, 255 where the world moves")
DIAGNOSTICS = Output(
    "/diagnostics",
    DiagnosticArray,
    "1 Hz: rates, latency by stage, drops by reason, backend, unit, map, tracks, faults",
    depth=10,
)

OUTPUTS: tuple[Output, ...] = (
    POINTS,
    STATIC_POINTS,
    DYNAMIC_POINTS,
    TRAIL,
    SCENE_FLOW,
    TRACKS,
    MAP,
    ODOMETRY,
    POSE,
    PATH,
    TF,
    STATIC_TF,
    DEPTH,
    DEPTH_INFO,
    CONFIDENCE,
    DYNAMIC_MASK,
    DIAGNOSTICS,
)

IMAGE = Input("image", Image, "the camera, where `image_transport` is raw")
COMPRESSED = Input(
    "image/compressed", CompressedImage, "the camera, where it is compressed; follows a remapped `image`"
)
CAMERA_INFO = Input("camera_info", CameraInfo, "optional calibration of the camera")

DEPTH_IN = Input("depth", Image, "optional depth of the same view, 16UC1 (mm) or 32FC1 (m): makes lengths metres")
ODOM = Input("odom", Odometry, "optional odometry of the robot, where `odom_from` is topic: makes lengths metres")

INPUTS: tuple[Input, ...] = (IMAGE, COMPRESSED, CAMERA_INFO, DEPTH_IN, ODOM)

RESET = Input("~/reset", Trigger, "forget all frames and begin a new map")
SAVE_MAP = Input("~/save_map", Trigger, "write the map as a PLY file into `map_folder`; the answer names it")
SERVICES: tuple[Input, ...] = (RESET, SAVE_MAP)
