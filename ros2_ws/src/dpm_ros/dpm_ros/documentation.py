# SPDX-License-Identifier: Apache-2.0
"""Writes what follows from the tables in code: `python -m dpm_ros.documentation` in the project's top folder."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import yaml
from rclpy.qos import DurabilityPolicy

from .interface import INPUTS, OUTPUTS, SERVICES
from .parameters import PARAMETERS, Parameter

_LICENSE = "SPDX-License-Identifier: Apache-2.0"


def interface_page() -> str:
    """The page of topics, services and parameters, Markdown."""
    return "\n\n".join([_HEAD, *_topics(), _services(), *_parameters()]) + "\n"


def parameters_yaml() -> str:
    """Every parameter with its default, and what it does above it."""
    lines = [f"# {_LICENSE}", "# Written by `python -m dpm_ros.documentation`: every parameter with its default."]
    lines += ["/**:", "  ros__parameters:"]
    for parameter in PARAMETERS:
        lines += [f"    # {parameter.help}{_limits(parameter)}", f"    {parameter.name}: {_value(parameter)}"]
    return "\n".join(lines) + "\n"


def files() -> dict[str, str]:
    """Content by path below the project's top folder."""
    return {"docs/ros-interface.md": interface_page(), "launch/dpm.params.yaml": parameters_yaml()}


_HEAD = f"""<!-- {_LICENSE} -->
<!-- Written by `python -m dpm_ros.documentation` from the tables in ros2_ws/src/dpm_ros/dpm_ros; change them there. -->
# The node `dpm`: topics, services, parameters

A managed (lifecycle) node that configures and activates itself unless `autostart` is false. All names without a slash
are relative: they follow the node's namespace, and may be remapped. Every output carries the stamp of its image.
Clouds and images are in the camera's own frame (clouds in `map_frame` where `cloud_frame` says so); pose, path, map,
tracks and trail in `map_frame`. A message is built only when somebody subscribes.

Outputs are RELIABLE: a best-effort subscriber is served too, but loses messages over 1 MB on stock Fast DDS, which
`FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA` (set by the launch files) cures."""


_OTHER_INPUTS = """Beside them `/tf_static` (tf2_msgs/msg/TFMessage): where the camera is on the robot; `/tf` where
`odom_from` is tf; and `/clock` where `use_sim_time` is true.

`image`, `camera_info` and `depth` are asked for as reliably as `image_qos` says, `odom` and `/tf` by best effort, which
hears every publisher."""


def _topics() -> list[str]:
    published = [
        (f"`{o.name}`", _type(o.type), f"keep last {o.depth}, {_durability(o.qos.durability)}", o.help) for o in OUTPUTS
    ]
    read = [(f"`{topic.name}`", _type(topic.type), topic.help) for topic in INPUTS]
    return [
        "## Reads\n\n" + _table(("topic", "type", "what"), read),
        _OTHER_INPUTS,
        "## Publishes\n\n" + _table(("topic", "type", "QoS", "what"), published),
    ]


def _services() -> str:
    rows = [(f"`{service.name}`", _type(service.type), service.help) for service in SERVICES]
    table = _table(("service", "type", "what"), rows)
    return f"## Services\n\n{table}\n\nBeside them those of every managed node: its transitions and its parameters."


def _parameters() -> list[str]:
    heads = ("parameter", "default", "what")
    tables = {
        "## Parameters set at start": [p for p in PARAMETERS if p.read_only],
        "## Parameters that may change while it runs": [p for p in PARAMETERS if not p.read_only],
    }
    return [
        f"{title}\n\n" + _table(heads, [(f"`{p.name}`", f"`{_value(p)}`", p.help + _limits(p)) for p in chosen])
        for title, chosen in tables.items()
    ] + ["`use_sim_time` is every ROS node's own."]


def _value(parameter: Parameter) -> str:
    """The default as YAML writes it."""
    return str(yaml.safe_dump([parameter.default], default_flow_style=True)).strip()[1:-1]


def _limits(parameter: Parameter) -> str:
    if parameter.choices:
        return f" (one of: {', '.join(parameter.choices)})"
    return f" ({parameter.range[0]:g} to {parameter.range[1]:g})" if parameter.range else ""


def _type(kind: type) -> str:
    package, folder = kind.__module__.split(".")[:2]
    return f"{package}/{folder}/{kind.__name__}"


def _durability(policy: DurabilityPolicy) -> str:
    return policy.name.lower().replace("_", " ")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Write the files below the working directory."""
    if not Path("launch").is_dir() or not Path("docs").is_dir():
        print("dpm: run it in the project's top folder, where launch/ and docs/ are", file=sys.stderr)
        return 2
    for name, content in files().items():
        Path(name).write_text(content, encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
