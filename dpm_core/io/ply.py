# SPDX-License-Identifier: Apache-2.0
"""Clouds as binary PLY files that every viewer opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement, PlyParseError

from ..atomic import atomic_file
from ..errors import DpmError
from ..types import Cloud

_ROW = np.dtype(
    [
        *((name, "<f4") for name in ("x", "y", "z")),
        *((name, "u1") for name in ("red", "green", "blue")),
        ("confidence", "<f4"),
        *((name, "<f4") for name in ("vx", "vy", "vz")),
        ("dynamic", "u1"),
    ]
)


def write_ply(path: Path, cloud: Cloud, comments: tuple[str, ...] = ()) -> None:
    """x y z, red green blue, confidence, vx vy vz (per second), dynamic (0 or 1). Atomic."""
    rows = np.empty(len(cloud.points), _ROW)
    rows["x"], rows["y"], rows["z"] = cloud.points.T
    rows["red"], rows["green"], rows["blue"] = cloud.colors.T
    rows["vx"], rows["vy"], rows["vz"] = cloud.velocity.T
    rows["confidence"], rows["dynamic"] = cloud.confidence, cloud.dynamic
    with atomic_file(path) as unfinished:
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<", comments=list(comments)).write(str(unfinished))


def read_ply(path: Path) -> Cloud:
    """A cloud that `write_ply` wrote.

    Raises:
        DpmError: the file is not such a PLY.
    """
    try:
        rows = PlyData.read(str(path))["vertex"].data
        return Cloud(
            points=_columns(rows, "xyz", np.float32),
            colors=_columns(rows, ("red", "green", "blue"), np.uint8),
            confidence=np.array(rows["confidence"], np.float32),
            velocity=_columns(rows, ("vx", "vy", "vz"), np.float32),
            dynamic=np.array(rows["dynamic"], bool),
        )
    except (OSError, PlyParseError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DpmError(f"{path} is not a cloud of ours ({reason}); give a .ply of `dpm run`") from error


def _columns(rows: np.ndarray, names: str | tuple[str, ...], dtype: type) -> np.ndarray:
    return np.stack([rows[name] for name in names], -1).astype(dtype)
