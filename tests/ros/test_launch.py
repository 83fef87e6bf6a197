# SPDX-License-Identifier: Apache-2.0
"""Launch files and RViz's configuration against the node's own tables; `launch` is not on PyPI, so it is played."""

import importlib.util
import re
import sys
import types
from dataclasses import dataclass, field

import numpy as np
import pytest
import yaml
from dpm_ros import conversions
from dpm_ros.interface import INPUTS, OUTPUTS
from dpm_ros.markers import flow_lines, track_lines
from dpm_ros.parameters import PARAMETERS
from harness import ROOT

from dpm_core.types import Cloud, Tracks

LAUNCH = ROOT / "launch"
FILES = sorted(LAUNCH.glob("*.launch.py"))
ON_ROBOT = importlib.util.find_spec("launch_ros") is not None


@dataclass
class Played:
    """Whatever a launch file makes: its kind and what it was given."""

    kind: str
    given: tuple
    named: dict = field(default_factory=dict)

    def perform(self, context):
        """A LaunchConfiguration's value, as an OpaqueFunction asks it of its context."""
        return context.value(self)


class Context:
    """What an OpaqueFunction is given: every argument at its default."""

    def __init__(self, actions):
        self.asked = []
        self._defaults = {name: named.get("default_value") for name, named in declared(actions).items()}

    def value(self, configuration):
        self.asked.append(configuration)
        return self._defaults[configuration.given[0]]


@pytest.fixture
def described(monkeypatch, tmp_path):
    """A function that runs a launch file with a played `launch`; the actions it describes."""

    def maker(kind):
        return lambda *given, **named: Played(kind, given, named)

    modules = {
        "ament_index_python.packages": {"get_package_share_directory": lambda name: str(tmp_path / "share" / name)},
        "launch": {"LaunchDescription": lambda actions: actions},
        "launch.actions": [
            "DeclareLaunchArgument",
            "ExecuteProcess",
            "IncludeLaunchDescription",
            "OpaqueFunction",
            "SetEnvironmentVariable",
        ],
        "launch.conditions": ["IfCondition", "UnlessCondition"],
        "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
        "launch.substitutions": ["EnvironmentVariable", "LaunchConfiguration"],
        "launch_ros": [],
        "launch_ros.actions": ["Node"],
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        content = content if isinstance(content, dict) else {kind: maker(kind) for kind in content}
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    def describe(path):
        spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return opened(module.generate_launch_description())

    return describe


def opened(actions):
    """The actions with what their functions make, and the arguments that these ask for."""
    context = Context(actions)
    made = [each.named["function"](context) for each in of_kind(actions, "OpaqueFunction")]
    return [*actions, *made, *context.asked]


def everything(thing):
    """All played things within."""
    if isinstance(thing, Played):
        yield thing
        yield from everything(thing.given)
        yield from everything(tuple(thing.named.values()))
    elif isinstance(thing, dict):
        yield from everything(tuple(thing.values()))
    elif isinstance(thing, (list, tuple)) or type(thing).__name__ == "dict_items":
        for each in thing:
            yield from everything(each)


def of_kind(actions, kind):
    return [each for each in everything(list(actions)) if each.kind == kind]


def declared(actions):
    return {each.given[0]: each.named for each in of_kind(actions, "DeclareLaunchArgument")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_argument_used_is_declared_and_described(described, path):
    actions = described(path)
    arguments = declared(actions)
    used = {each.given[0] for each in of_kind(actions, "LaunchConfiguration")}
    assert used == set(arguments)
    assert all(len(named["description"]) > 5 for named in arguments.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_passed_to_an_included_file_is_declared_there(described, path):
    for include in of_kind(described(path), "IncludeLaunchDescription"):
        included = LAUNCH / include.given[0].given[0].rpartition("/")[2]
        assert set(dict(include.named["launch_arguments"])) <= set(declared(described(included)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_installed_files_that_are_named_are_there(described, path):
    folders = {"config": LAUNCH, "rviz": LAUNCH, "launch": LAUNCH}
    for name in re.findall(r'os\.path\.join\(SHARE, "(\w+)", "([\w.]+)"\)', path.read_text()):
        assert (folders[name[0]] / name[1]).exists()


@pytest.mark.parametrize("name", ["dpm.launch.py", "multi_camera.launch.py", "replay.launch.py"])
def test_large_messages_are_carried_unless_the_user_says_otherwise(described, name):
    actions = described(LAUNCH / name)
    (setting,) = of_kind(actions, "SetEnvironmentVariable")
    variable, value = setting.given
    assert (variable, value.given) == ("FASTDDS_BUILTIN_TRANSPORTS", ("rmw_transports",))
    default = declared(actions)["rmw_transports"]["default_value"]
    assert (default.given, default.named) == ((variable,), {"default_value": "LARGE_DATA"})


def test_the_node_is_given_its_parameters_and_only_known_ones(described):
    nodes = [
        node for name in ("dpm", "multi_camera") for node in of_kind(described(LAUNCH / f"{name}.launch.py"), "Node")
    ]
    assert len(nodes) == 3
    for node in nodes:
        assert (node.named["package"], node.named["executable"]) == ("dpm_ros", "dpm_node")
        given = {name for each in node.named["parameters"] if isinstance(each, dict) for name in each}
        assert given <= {parameter.name for parameter in PARAMETERS} | {"use_sim_time"}
        assert {name for name, _ in node.named["remappings"]} <= {topic.name for topic in INPUTS}


def test_each_camera_has_a_namespace_and_frames_of_its_own(described):
    left, right = of_kind(described(LAUNCH / "multi_camera.launch.py"), "Node")
    assert (left.named["namespace"], right.named["namespace"]) == ("left", "right")
    frames = [node.named["parameters"][-1] for node in (left, right)]
    assert frames == [{"map_frame": f"{name}/map", "world_frame": f"{name}/world"} for name in ("left", "right")]


def test_the_player_is_given_options_that_it_has(described):
    from dpm_ros.replay import ReplayConfig

    options = {f"--{name.replace('_', '-')}" for name in ReplayConfig.__dataclass_fields__}
    for process in of_kind(described(LAUNCH / "replay.launch.py"), "ExecuteProcess"):
        command = process.named["cmd"]
        assert command[:2] == ["dpm", "replay"]
        assert {part for part in command if isinstance(part, str) and part.startswith("--")} <= options


@pytest.mark.skipif(not ON_ROBOT, reason="launch is not on PyPI; this runs where a ROS distribution is")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_launch_itself_takes_the_file(path):
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    assert get_launch_description_from_python_launch_file(str(path)).entities


RVIZ = yaml.safe_load((LAUNCH / "dpm.rviz").read_text())["Visualization Manager"]
DISPLAYS = {
    "sensor_msgs/msg/PointCloud2": "rviz_default_plugins/PointCloud2",
    "sensor_msgs/msg/Image": "rviz_default_plugins/Image",
    "nav_msgs/msg/Path": "rviz_default_plugins/Path",
    "geometry_msgs/msg/PoseStamped": "rviz_default_plugins/Pose",
    "visualization_msgs/msg/MarkerArray": "rviz_default_plugins/MarkerArray",
}


def test_rviz_shows_topics_of_the_node_in_their_types_and_with_their_qos():
    outputs = {output.name: output for output in OUTPUTS}
    displays = [display for display in RVIZ["Displays"] if "Topic" in display]
    assert displays
    for display in displays:
        topic = display["Topic"]
        output = outputs[topic["Value"]]
        kind = f"{output.type.__module__.split('.')[0]}/msg/{output.type.__name__}"
        assert DISPLAYS[kind] == display["Class"]
        assert topic["Reliability Policy"].upper() == output.qos.reliability.name
        assert topic["Durability Policy"].upper().replace(" ", "_") == output.qos.durability.name


def shown(topic):
    return [d for d in RVIZ["Displays"] if d["Enabled"] and d.get("Topic", {}).get("Value") == topic]


@pytest.mark.parametrize(
    "topic", ["map", "points/dynamic", "points/trail", "scene_flow", "tracks", "path", "depth/image"]
)
def test_rviz_shows_the_moving_world_at_once(topic):
    assert shown(topic)


def test_what_moves_leaves_a_trail_that_fades_with_its_age():
    (now,) = shown("points/dynamic")
    (trail,) = shown("points/trail")
    assert (now["Color Transformer"], now["Decay Time"]) == ("RGB8", 0)
    assert (trail["Color Transformer"], trail["Channel Name"], trail["Decay Time"]) == ("Intensity", "age", 0)
    assert (trail["Use rainbow"], trail["Autocompute Intensity Bounds"]) == (False, False)
    (seconds,) = [parameter.default for parameter in PARAMETERS if parameter.name == "trail_seconds"]
    assert (trail["Min Intensity"], trail["Max Intensity"]) == (0, seconds)
    brightness = {end: sum(map(int, trail[f"{end} Color"].split(";"))) for end in ("Min", "Max")}
    assert brightness["Min"] > 2 * brightness["Max"]
    assert RVIZ["Displays"].index(trail) < RVIZ["Displays"].index(now)


def test_rviz_draws_the_markers_of_the_node():
    header = conversions.header(0, "map")
    tracks = Tracks(np.zeros(1, np.int64), (1, 2), np.zeros((2, 1, 3), np.float32))
    drawn = {
        "scene_flow": flow_lines(header, Cloud.none(), seconds=1, most=1, width=1),
        "tracks": track_lines(header, tracks, lifetime=1, width=1),
    }
    for topic, lines in drawn.items():
        (display,) = shown(topic)
        assert display["Namespaces"] == {lines.marker.ns: True}


def test_rviz_keeps_the_time_of_a_display_that_is_there():
    (panel,) = [each for each in yaml.safe_load((LAUNCH / "dpm.rviz").read_text())["Panels"] if "SyncSource" in each]
    assert panel["SyncSource"] in [display["Name"] for display in RVIZ["Displays"]]


def test_rviz_stands_in_the_upright_frame_of_the_node():
    defaults = {parameter.name: parameter.default for parameter in PARAMETERS}
    assert RVIZ["Global Options"]["Fixed Frame"] == defaults["world_frame"]


def test_every_display_has_a_name_of_its_own():
    names = [display["Name"] for display in RVIZ["Displays"]]
    assert len(set(names)) == len(names)
