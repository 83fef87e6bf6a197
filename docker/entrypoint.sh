#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command where ROS and this workspace are known. ROS built from source lies one folder deeper.
set -e
for setup in "/opt/ros/${ROS_DISTRO}/setup.bash" "/opt/ros/${ROS_DISTRO}/install/setup.bash" /dpm/ros2_ws/install/setup.bash; do
  if [ -f "${setup}" ]; then
    source "${setup}"
  fi
done
exec "$@"
