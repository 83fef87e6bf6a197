# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 package. `dpm_core` is not in install_requires: a registry's package of the name `dpm` is not ours."""

import os
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
LAUNCH = HERE.parents[2] / "launch"


def installed(pattern):
    """Files of the top-level launch folder, relative to this one as setuptools wants them."""
    return [os.path.relpath(path, HERE) for path in sorted(LAUNCH.glob(pattern))]


setup(
    name="dpm_ros",
    version="0.1.0",
    description="Dynamic point maps on ROS 2",
    license="Apache-2.0",
    maintainer="dpm authors",
    maintainer_email="dpm@example.org",
    packages=find_packages(include=["dpm_ros*"]),
    python_requires=">=3.10",
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},  # colcon looks for it
    zip_safe=True,
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/dpm_ros"]),
        ("share/dpm_ros", ["package.xml"]),
        ("share/dpm_ros/launch", installed("*.launch.py")),
        ("share/dpm_ros/config", installed("*.yaml")),
        ("share/dpm_ros/rviz", installed("*.rviz")),
        ("share/dpm_ros/foxglove", installed("*.foxglove.json")),
        ("share/dpm_ros/security", installed("*.policy.xml")),
    ],
    entry_points={
        "console_scripts": ["dpm_node = dpm_ros.node:main"],
        "dpm.commands": [
            "bag = dpm_ros.bag:main",
            "replay = dpm_ros.replay:main",
            "record = dpm_ros.record:main",
        ],
        "dpm.benchmarks": ["node = dpm_ros.bench_node:main"],
    },
)
