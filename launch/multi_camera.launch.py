# SPDX-License-Identifier: Apache-2.0
"""A node for each camera, in the camera's namespace: `ros2 launch dpm_ros multi_camera.launch.py cameras:=left,right`.

Each hears /NAME/image_raw and /NAME/camera_info and publishes /NAME/points, /NAME/pose and so on. Their maps are apart:
frames are NAME/map and NAME/world, for nothing is known of where the cameras stand to each other.
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node

SHARE = get_package_share_directory("dpm_ros")

ARGUMENTS = {
    "cameras": ("left,right", "namespaces of the cameras, separated by commas"),
    "image": (
        "image_raw",
        "camera topic within a namespace; with image_transport:=compressed, without its /compressed",
    ),
    "camera_info": ("camera_info", "calibration topic within a namespace"),
    "depth": ("depth", "topic of depth images within a namespace, where there is one"),
    "odom": ("/odom", "topic of the robot's odometry, where there is one"),
    "image_transport": ("raw", "raw or compressed"),
    "params_file": (os.path.join(SHARE, "config", "dpm.params.yaml"), "parameters of every node"),
    "use_sim_time": ("false", "take time from /clock"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "rmw_transports": (
        EnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", default_value="LARGE_DATA"),
        "transports of Fast DDS: LARGE_DATA carries clouds of megabytes, stock settings lose them",
    ),
}


def nodes(context):
    """A node a camera. context: the launch's, which knows the arguments."""
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    names = [name.strip().strip("/") for name in value["cameras"].perform(context).split(",")]
    return [
        Node(
            package="dpm_ros",
            executable="dpm_node",
            namespace=name,
            parameters=[
                value["params_file"],
                {"image_transport": value["image_transport"], "use_sim_time": value["use_sim_time"]},
                {"map_frame": f"{name}/map", "world_frame": f"{name}/world"},
            ],
            remappings=[(name, value[name]) for name in ("image", "camera_info", "depth", "odom")],
            arguments=["--ros-args", "--log-level", value["log_level"]],
            output="screen",
        )
        for name in names
        if name
    ]


def generate_launch_description():
    """Arguments, the environment, and the nodes."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=help)
        for name, (default, help) in ARGUMENTS.items()
    ]
    transports = SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", LaunchConfiguration("rmw_transports"))
    return LaunchDescription([*declared, transports, OpaqueFunction(function=nodes)])
