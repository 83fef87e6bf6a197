# SPDX-License-Identifier: Apache-2.0
"""RViz on the node's topics: `ros2 launch dpm_ros rviz.launch.py`."""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = get_package_share_directory("dpm_ros")

ARGUMENTS = {
    "rviz_config": (os.path.join(SHARE, "rviz", "dpm.rviz"), "what RViz shows"),
    "namespace": ("", "namespace of the node"),
    "use_sim_time": ("false", "take time from /clock"),
}


def generate_launch_description():
    """Arguments and RViz."""
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=value["namespace"],
        arguments=["-d", value["rviz_config"]],
        parameters=[{"use_sim_time": value["use_sim_time"]}],
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=help)
        for name, (default, help) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, rviz])
