# SPDX-License-Identifier: Apache-2.0
"""Makes the networks and judges them. Knows dpm_core, no ROS."""
