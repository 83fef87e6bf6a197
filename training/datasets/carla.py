# SPDX-License-Identifier: Apache-2.0
"""CARLA (Dosovitskiy et al., CoRL 2017): driving, recorded in the simulator by oneself.

POMATO's five recordings are not published; this is the layout of ours to be. Pictures are as CARLA's cameras save them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import files
from .clip import Clip, Dataset, PartlyKnownClip, View, folders, need

FARTHEST = 1000.0
"""Metres of the depth camera's largest value: the sky."""

MOVING = range(12, 20)
"""Semantic tags since CARLA 0.9.14: pedestrian, rider, car, truck, bus, train, motorcycle, bicycle."""

# Unreal: x forward, y right, z up, left-handed. OpenCV: x right, y down, z forward.
_UNREAL_FROM_CAMERA = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], float)


class CarlaClip(PartlyKnownClip):
    """One recording of one camera."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self._folder = folder
        about = files.values(need(folder / "camera.json"))
        self._poses, self._seconds = about["unreal_from_camera"], about["seconds"]
        width, height, fov = about["width"], about["height"], np.radians(about["fov"])
        focal = width / 2 / np.tan(fov / 2)
        self._intrinsics = files.pinhole(focal, focal, (width - 1) / 2, (height - 1) / 2)
        for part in ("rgb", "depth", "semantic"):
            need(folder / part / "000000.png")

    def __len__(self) -> int:
        return len(self._poses)

    def view(self, index: int) -> View:
        """Depth is 24 bits in three channels, red lowest."""
        red, green, blue = np.moveaxis(
            files.raw(self._folder / "depth" / f"{index:06d}.png")[..., :3].astype(float), -1, 0
        )
        depth = (red + 256 * green + 65536 * blue) / (256**3 - 1) * FARTHEST
        tags = files.raw(self._folder / "semantic" / f"{index:06d}.png")[..., 0]
        pose = np.array(self._poses[index], float)
        rotation = _UNREAL_FROM_CAMERA.T @ pose[:3, :3] @ _UNREAL_FROM_CAMERA
        return View(
            image=files.image(self._folder / "rgb" / f"{index:06d}.png"),
            depth=np.where(depth < FARTHEST, depth, 0).astype(np.float32),
            intrinsics=self._intrinsics,
            world_from_camera=files.rigid(rotation, _UNREAL_FROM_CAMERA.T @ pose[:3, 3]),
            seconds=float(self._seconds[index]),
            dynamic=np.isin(tags, MOVING),
        )


def clips(folder: Path) -> list[Clip]:
    """Every recording."""
    return [CarlaClip(path, path.name) for path in folders(folder, "*")]


DATASET = Dataset(
    name="carla",
    origin="record it in the simulator, https://carla.org: sensors rgb, depth and semantic_segmentation at one place, "
    "saved raw (no colour converter)",
    layout="""
    RECORDING/
        rgb/000000.png, depth/000000.png, semantic/000000.png   as the cameras save them
        camera.json   width, height, fov (degrees, horizontal), seconds (a frame),
                      unreal_from_camera: sensor.get_transform().get_matrix() a frame
    """,
    clips=clips,
)
