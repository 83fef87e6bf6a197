# SPDX-License-Identifier: Apache-2.0
"""The node's parameters, once: declared, checked, documented and written as YAML from one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeAlias

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from dpm_core.engines import BACKENDS
from dpm_core.stream import SessionConfig
from dpm_core.stream.config import SCALE_SOURCES, STRUCTURAL, by_name

Value: TypeAlias = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        name: as in YAML.
        default: its type is the parameter's.
        help: one sentence.
        range: least and greatest value of a number.
        choices: the words that a string may be; any where empty.
        read_only: structural: set at start, not while running.
    """

    name: str
    default: Value
    help: str
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = True

    @property
    def descriptor(self) -> ParameterDescriptor:
        """What ROS tools show of it."""
        descriptor = ParameterDescriptor(
            name=self.name,
            description=self.help,
            read_only=self.read_only,
            additional_constraints=f"one of: {', '.join(self.choices)}" if self.choices else "",
        )
        if self.range and isinstance(self.default, int):
            least, greatest = map(int, self.range)
            descriptor.integer_range = [IntegerRange(from_value=least, to_value=greatest, step=1)]
        elif self.range:
            low, high = self.range
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        return descriptor


_SESSION = by_name(SessionConfig())


def _of_session(
    name: str, help: str, range: tuple[float, float] | None = None, choices: tuple[str, ...] = ()
) -> Parameter:
    """A value of the session's, with its default; what is structural there is read-only here."""
    return Parameter(name, _SESSION[name], help, range, choices, read_only=name in STRUCTURAL)


PARAMETERS: tuple[Parameter, ...] = (
    Parameter("autostart", True, "configure and activate at start; false where a lifecycle manager does it"),
    # What runs.
    Parameter("model", "vdpm-mini", "the network: a name of `dpm weights list`, or a folder of `dpm export`"),
    Parameter("weights", "", "a checkpoint file in place of the model's own; empty for the model's own"),
    Parameter("device", "auto", "auto, cpu, cuda or cuda:N"),
    Parameter("backend", "auto", "what runs the network", choices=BACKENDS),
    _of_session("window", "frames that the network sees at once", (1, 64)),
    # What comes in.
    Parameter(
        "image_transport", "raw", "which topic is read: image, or image/compressed", choices=("raw", "compressed")
    ),
    Parameter("image_qos", "sensor_data", "reliability asked of the camera", choices=("sensor_data", "reliable")),
    Parameter("image_qos_depth", 5, "images that the middleware keeps while one is read", range=(1, 1000)),
    Parameter("no_image_timeout", 5.0, "seconds without images after which it is said", range=(0.1, 3600.0)),
    Parameter("sync_wait", 0.1, "seconds that an image waits for its calibration, depth, odometry", range=(0.0, 10.0)),
    Parameter("sync_tolerance", 0.02, "seconds between the stamps of an image and its depth", range=(0.0, 10.0)),
    Parameter("odom_from", "topic", "whence the odometry is: `odom`, or /tf", choices=("topic", "tf")),
    Parameter("odom_frame", "odom", "the robot's odometry frame"),
    Parameter("base_frame", "base_link", "the robot's body"),
    Parameter(
        "base_from_camera",
        "",
        "pose of the camera's optical frame in base_frame, x y z qx qy qz qw; empty where /tf_static tells",
    ),
    # What goes out.
    Parameter("map_frame", "map", "frame of poses and path: the first camera's, optical axes"),
    Parameter(
        "cloud_frame", "camera", "clouds are in the image's own frame, or in map_frame", choices=("camera", "map")
    ),
    Parameter("world_frame", "world", "parent of map_frame with z up, sent on /tf_static; empty for none"),
    Parameter("tf_mode", "map_camera", "which transform is sent on /tf", choices=("none", "map_camera", "odom_base")),
    Parameter("cloud_fields", "color", "x y z rgb, or with confidence vx vy vz", choices=("color", "motion")),
    Parameter("path_length", 1024, "poses kept in `path`", range=(1, 100_000)),
    Parameter("flow_lines", 1000, "most lines of `scene_flow`", range=(0, 100_000)),
    Parameter("flow_seconds", 0.2, "the time whose motion a line of `scene_flow` shows, seconds", range=(1e-3, 60.0)),
    Parameter("track_lifetime", 1.0, "seconds that a track is shown without news of it", range=(0.01, 3600.0)),
    Parameter("trail_seconds", 1.0, "how far back `points/trail` goes, seconds", range=(0.0, 3600.0)),
    Parameter(
        "trail_points", 200_000, "most points of `points/trail`, 20 bytes each; the oldest go", range=(0, 10_000_000)
    ),
    Parameter("map_folder", "~/.ros/dpm", "where `~/save_map` writes, and nowhere else"),
    # The map of what stands still, and the tracks of what moves.
    _of_session("map.voxel", "edge of the map's cells, a fraction of the median depth where it began", (1e-4, 1.0)),
    _of_session(
        "map.capacity", "most cells of the map, 450 bytes each at most; beyond, the farthest go", (1, 100_000_000)
    ),
    _of_session("map.period_s", "a frame enters the map at most this often, seconds; 0 for every frame", (0.0, 3600.0)),
    _of_session(
        "map.see_through", "a cell goes where a camera sees farther by this fraction of its depth", (0.0, 10.0)
    ),
    _of_session("tracks.count", "most points followed at once, 0 for none", (0, 100_000)),
    _of_session("tracks.length", "frames that a track remembers", (1, 10_000)),
    _of_session("tracks.spacing", "pixels of the network's image between points that begin together", (1, 10_000)),
    _of_session(
        "tracks.tolerance",
        "a point is seen where the surface at its pixel is this near, a fraction of its depth",
        (0.0, 10.0),
    ),
    # Metres.
    _of_session("scale.source", "what measures the scale; auto for whatever is there", choices=SCALE_SOURCES),
    _of_session("scale.factor", "where the source is fixed, metres in one unit of the first window", (0.0, 1e6)),
    _of_session("scale.camera_height", "of the camera above level ground, metres; 0 for not known", (0.0, 1e4)),
    _of_session("scale.memory", "newest measurements whose median is the scale", (1, 10_000)),
    _of_session(
        "scale.max_sigma", "lengths are metres where the scale's relative deviation is at most this", (0.0, 10.0)
    ),
    # What counts, and what moves.
    _of_session("max_gap_s", "a longer time between two frames starts the window anew, seconds", (0.0, 3600.0)),
    _of_session("min_confidence", "points that the network trusts less stay out of the clouds", (0.0, 1e6)),
    _of_session("dynamic_factor", "a pixel moves that moved more than this many times the median", (0.0, 1e3)),
    _of_session("dynamic_floor", "nothing moves that moved less than this fraction of the median depth", (0.0, 10.0)),
    _of_session("voxel", "points nearer than this fraction of the median depth are fused into one", (1e-5, 1.0)),
)


def declare(node: Node) -> None:
    """Declare the table on `node`; values given at start are taken and checked against their ranges."""
    for parameter in PARAMETERS:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor)


def read(node: Node) -> dict[str, Value]:
    """The table's values on `node`, by name."""
    return {parameter.name: node.get_parameter(parameter.name).value for parameter in PARAMETERS}


def first_fault(values: Mapping[str, Any]) -> str | None:
    """What is wrong with the first wrong one of these values, in one line; None where all are right."""
    for parameter in PARAMETERS:
        value = values.get(parameter.name, parameter.default)
        if parameter.choices and value not in parameter.choices:
            return f"{parameter.name} is '{value}'; choose one of: {', '.join(parameter.choices)}"
    return None


def session_config(values: Mapping[str, Any]) -> SessionConfig:
    """The session's part of the values.

    Raises:
        DpmError: a value cannot be meant.
    """
    return _with_values(SessionConfig(), values)


def _with_values(config: Any, values: Mapping[str, Any], prefix: str = "") -> Any:
    """A configuration with the values of these names; its parts have theirs under names such as `map.voxel`."""
    changes = {}
    for each in fields(config):
        name, value = prefix + each.name, getattr(config, each.name)
        changes[each.name] = _with_values(value, values, f"{name}.") if is_dataclass(value) else values[name]
    return replace(config, **changes)


def image_qos(values: Mapping[str, Any]) -> QoSProfile:
    """How images are asked for."""
    reliable = values["image_qos"] == "reliable"
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        history=HistoryPolicy.KEEP_LAST,
        depth=values["image_qos_depth"],
    )
