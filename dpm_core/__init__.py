# SPDX-License-Identifier: Apache-2.0
"""Dynamic point maps: one moving camera in, a moving 3-D world out. Knows no ROS and no training."""

import os

from .host_memory import keep_freed_memory
from .version import __version__

__all__ = ["__version__"]

# A robot's processor is shared. OpenMP threads that spin while they wait keep the very core from the thread they wait
# for: beside one other busy process, an estimate of vdpm-mini took 6 s on 2 cores. Now they spin for a moment and then
# sleep: 0.8 s there, 0.3 to 0.4 s with the cores to itself (always spinning: 6 and 0.3 s; never: 0.6 and 0.5 s).
# Torch's OpenMP reads this when it is loaded, so it must be said before; whoever has set the policy is right.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# Before torch makes threads with arenas of their own.
keep_freed_memory()
