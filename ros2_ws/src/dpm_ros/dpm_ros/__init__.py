# SPDX-License-Identifier: Apache-2.0
"""Dynamic point maps on ROS 2: a thin face over dpm_core's live session."""
