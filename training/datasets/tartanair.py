# SPDX-License-Identifier: Apache-2.0
"""TartanAir (Wang et al., IROS 2020): rendered static worlds, wild camera motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import files
from .clip import Clip, Dataset, StaticClip, View, folders, need

FAR = 1000.0
"""Metres: the sky is stored as very far."""

# Poses are NED: x forward, y right, z down. OpenCV: x right, y down, z forward.
_NED_FROM_CAMERA = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float)


class TartanAirClip(StaticClip):
    """The left camera of a trajectory."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self._folder = folder
        self._poses = files.table(need(folder / "pose_left.txt"))
        need(folder / "image_left" / "000000_left.png")
        need(folder / "depth_left" / "000000_left_depth.npy")

    def __len__(self) -> int:
        return len(self._poses)

    def view(self, index: int) -> View:
        """The images are 640 x 480 of a camera of 90 degrees."""
        depth = files.array(self._folder / "depth_left" / f"{index:06d}_left_depth.npy").astype(np.float32)
        pose = files.pose_of(self._poses[index, :3], self._poses[index, 3:])
        rotation = _NED_FROM_CAMERA.T @ pose[:3, :3] @ _NED_FROM_CAMERA
        return View(
            image=files.image(self._folder / "image_left" / f"{index:06d}_left.png"),
            depth=np.where(depth < FAR, depth, 0),
            intrinsics=files.pinhole(320, 320, 320, 240),
            world_from_camera=files.rigid(rotation, _NED_FROM_CAMERA.T @ pose[:3, 3]),
            seconds=index / 10,
        )


def clips(folder: Path) -> list[Clip]:
    """Every trajectory of every environment."""
    # The archives unpack to ENV/ENV/Easy/P000; some people take one level out.
    found = {path for depth in ("*/*/*", "*/*") for path in folders(folder, f"{depth}/P[0-9][0-9][0-9]")}
    return [TartanAirClip(path, str(path.relative_to(folder))) for path in sorted(found)]


DATASET = Dataset(
    name="tartanair",
    origin="https://theairlab.org/tartanair-dataset (tartanair_tools: rgb and depth, left camera)",
    layout="""
    ENV/ENV/Easy|Hard/P000/
        image_left/000000_left.png        640 x 480
        depth_left/000000_left_depth.npy  float32 metres
        pose_left.txt                     tx ty tz qx qy qz qw, NED, one line a frame
    """,
    clips=clips,
)
