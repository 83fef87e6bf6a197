# SPDX-License-Identifier: Apache-2.0
"""The map as a file, in one folder and nowhere else."""

from __future__ import annotations

from pathlib import Path

from dpm_core.errors import DpmError
from dpm_core.io.ply import write_ply
from dpm_core.io.trajectory import seconds_text
from dpm_core.types import Estimate


def save_map(folder: Path, estimate: Estimate, frame_id: str) -> str:
    """Write the map as the estimate left it, whole or not at all, named by its stamp; what was done, in one line.

    Args:
        folder: made where it is not there.
        estimate: whose map it is.
        frame_id: the map's frame, said in the file.

    Raises:
        DpmError: the map is empty, or the disk does not take it.
    """
    cloud = estimate.static_map()
    if not len(cloud.points):
        raise DpmError("the map is empty: nothing was seen long enough to stand still")
    path = folder.expanduser() / f"map-{seconds_text(estimate.stamp_ns)}.ply"
    try:
        write_ply(path, cloud, (f"frame {frame_id}, unit {estimate.unit}",))
    except OSError as error:
        raise DpmError(f"{path} cannot be written ({error}); make room, or set map_folder to another folder") from error
    return f"{len(cloud.points)} points in {path}"
