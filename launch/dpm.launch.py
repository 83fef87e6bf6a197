# SPDX-License-Identifier: Apache-2.0
"""The node on a robot: `ros2 launch dpm_ros dpm.launch.py image:=/camera/image_raw`."""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

SHARE = get_package_share_directory("dpm_ros")

ARGUMENTS = {
    "image": ("image", "camera topic; with image_transport:=compressed, without its /compressed"),
    "camera_info": ("camera_info", "calibration topic; the node does without where there is none"),
    "depth": ("depth", "topic of depth images of the same view, where there is one: makes lengths metres"),
    "odom": ("odom", "topic of the robot's odometry, where there is one: makes lengths metres"),
    "image_transport": ("raw", "raw or compressed"),
    "params_file": (os.path.join(SHARE, "config", "dpm.params.yaml"), "parameters of the node"),
    "namespace": ("", "namespace of the node and its topics"),
    "use_sim_time": ("false", "take time from /clock"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "rviz": ("false", "also open RViz"),
    "rmw_transports": (
        EnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", default_value="LARGE_DATA"),
        "transports of Fast DDS: LARGE_DATA carries clouds of megabytes, stock settings lose them",
    ),
}


def generate_launch_description():
    """Arguments, the environment, the node, and RViz where it is asked for."""
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    node = Node(
        package="dpm_ros",
        executable="dpm_node",
        namespace=value["namespace"],
        parameters=[
            value["params_file"],
            {"image_transport": value["image_transport"], "use_sim_time": value["use_sim_time"]},
        ],
        remappings=[(name, value[name]) for name in ("image", "camera_info", "depth", "odom")],
        arguments=["--ros-args", "--log-level", value["log_level"]],
        output="screen",
    )
    rviz = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "rviz.launch.py")),
        launch_arguments={"namespace": value["namespace"], "use_sim_time": value["use_sim_time"]}.items(),
        condition=IfCondition(value["rviz"]),
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=help)
        for name, (default, help) in ARGUMENTS.items()
    ]
    return LaunchDescription(
        [*declared, SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", value["rmw_transports"]), node, rviz]
    )
