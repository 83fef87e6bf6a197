# SPDX-License-Identifier: Apache-2.0
"""A bag through the node: `ros2 launch dpm_ros replay.launch.py bag:=/path/to/bag image:=/camera/image_raw`."""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, SetEnvironmentVariable
from launch.conditions import IfCondition, UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration

SHARE = get_package_share_directory("dpm_ros")

ARGUMENTS = {
    "bag": (None, "a rosbag2 folder, an .mcap or a .db3 file"),
    "image": (None, "the bag's camera topic; with image_transport:=compressed, without its /compressed"),
    "camera_info": ("camera_info", "the bag's calibration topic"),
    "depth": ("depth", "the bag's topic of depth images, where it has one: makes lengths metres"),
    "odom": ("odom", "the bag's topic of odometry, where it has one: makes lengths metres"),
    "image_transport": ("raw", "raw or compressed"),
    "rate": ("1.0", "how much faster than recorded"),
    "start_offset": ("0.0", "leave out so many seconds at the start"),
    "loop": ("false", "begin again at the end"),
    "wait_for": ("1", "begin once so many subscriptions are matched"),
    "params_file": (os.path.join(SHARE, "config", "dpm.params.yaml"), "parameters of the node"),
    "namespace": ("", "namespace of the node and its topics"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "rviz": ("true", "also open RViz"),
    "rmw_transports": (
        EnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", default_value="LARGE_DATA"),
        "transports of Fast DDS: LARGE_DATA carries clouds of megabytes, stock settings lose them",
    ),
}
PASSED_ON = (
    "image",
    "camera_info",
    "depth",
    "odom",
    "image_transport",
    "params_file",
    "namespace",
    "log_level",
    "rviz",
    "rmw_transports",
)


def generate_launch_description():
    """Arguments, the environment, the node on simulated time, and the player."""
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "dpm.launch.py")),
        launch_arguments={"use_sim_time": "true", **{name: value[name] for name in PASSED_ON}}.items(),
    )
    play = ["dpm", "replay", value["bag"], "--rate", value["rate"], "--start-offset", value["start_offset"]]
    play += ["--wait-for", value["wait_for"]]
    once = ExecuteProcess(cmd=play, output="screen", condition=UnlessCondition(value["loop"]))
    forever = ExecuteProcess(cmd=[*play, "--loop"], output="screen", condition=IfCondition(value["loop"]))
    declared = [
        DeclareLaunchArgument(name, description=help, **({} if default is None else {"default_value": default}))
        for name, (default, help) in ARGUMENTS.items()
    ]
    return LaunchDescription(
        [*declared, SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", value["rmw_transports"]), node, once, forever]
    )
