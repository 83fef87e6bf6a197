# SPDX-License-Identifier: Apache-2.0
"""Camera paths in the format of the TUM RGB-D benchmark: stamp tx ty tz qx qy qz qw, one pose a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..atomic import atomic_file
from ..errors import DpmError
from ..types import Float64


def seconds_text(stamp_ns: int) -> str:
    """Nanoseconds as seconds with nine decimals, digit by digit: a float would lose the last ones."""
    whole, fraction = divmod(abs(stamp_ns), 1_000_000_000)
    return f"{'-' if stamp_ns < 0 else ''}{whole}.{fraction:09d}"


def nanoseconds(text: str) -> int:
    """The inverse of `seconds_text`; takes fewer decimals and exponents too."""
    whole, point, fraction = text.partition(".")
    if not point or not fraction.isdigit() or len(fraction) > 9:
        return round(float(text) * 1e9)
    sign = -1 if whole.startswith("-") else 1
    return sign * (abs(int(whole or 0)) * 1_000_000_000 + int(fraction.ljust(9, "0")))


def pose_line(stamp_ns: int, world_from_camera: Float64) -> str:
    """world_from_camera: [4, 4], rigid."""
    import torch  # here, so that help texts need not wait for it

    from ..geometry.rotations import quaternion_from_rotation

    quaternion = quaternion_from_rotation(torch.from_numpy(np.ascontiguousarray(world_from_camera[:3, :3])))
    numbers = [*world_from_camera[:3, 3], *quaternion.tolist()]
    return " ".join([seconds_text(stamp_ns), *(f"{number:.9g}" for number in numbers)])


def write_trajectory(path: Path, poses: Iterable[tuple[int, Float64]]) -> None:
    """poses: (stamp_ns, world_from_camera [4, 4]) in order. Atomic."""
    lines = ["# stamp tx ty tz qx qy qz qw (world_from_camera)", *(pose_line(*pose) for pose in poses)]
    with atomic_file(path) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n")


def read_trajectory(path: Path) -> list[tuple[int, Float64]]:
    """(stamp_ns, world_from_camera [4, 4]) in the file's order.

    Raises:
        DpmError: the file is not there or a line is not a pose.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DpmError(f"{path} is not a trajectory that can be read; give a text file of poses") from error
    return [
        _pose(path, number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")
    ]


def _pose(path: Path, number: int, line: str) -> tuple[int, Float64]:
    import torch

    from ..geometry.rotations import rotation_from_quaternion

    try:
        stamp, *numbers = line.replace(",", " ").split()
        tx, ty, tz, *quaternion = (float(number) for number in numbers)
        rotation = rotation_from_quaternion(torch.tensor(quaternion, dtype=torch.float64).reshape(4))
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation.numpy(), (tx, ty, tz)
        return nanoseconds(stamp), pose
    except (ValueError, RuntimeError) as error:
        raise DpmError(f"{path}, line {number} is not 'stamp tx ty tz qx qy qz qw': {line[:60]}") from error
