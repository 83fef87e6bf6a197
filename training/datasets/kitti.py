# SPDX-License-Identifier: Apache-2.0
"""KITTI (Geiger et al., IJRR 2013): driving, with depth of a laser gathered over frames.

Moving cars are not followed: points are known at their own time only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpm_core.types import Float64

from . import files
from .clip import Clip, Dataset, View, folders, need

EARTH_RADIUS = 6378137.0
"""Metres, as KITTI's own tools have it."""


class KittiClip(Clip):
    """The left colour camera of a drive of the depth benchmark."""

    def __init__(self, root: Path, split: str, drive: str) -> None:
        super().__init__(f"{split}/{drive}")
        day = drive[:10]
        self._truth = root / split / drive / "proj_depth" / "groundtruth" / "image_02"
        self._raw = need(root / day / drive)
        calibration = _calibration(need(root / day / "calib_cam_to_cam.txt"))
        projection = calibration["P_rect_02"].reshape(3, 4)
        self._intrinsics = projection[:, :3]
        velodyne_from_imu = _transform(_calibration(need(root / day / "calib_imu_to_velo.txt")))
        camera_from_velodyne = _transform(_calibration(need(root / day / "calib_velo_to_cam.txt")))
        rectified = np.eye(4)
        rectified[:3, :3] = calibration["R_rect_00"].reshape(3, 3)
        beside = files.rigid(np.eye(3), np.linalg.inv(self._intrinsics) @ projection[:, 3])
        self._imu_from_camera = np.linalg.inv(beside @ rectified @ camera_from_velodyne @ velodyne_from_imu)
        self._names = sorted(path.stem for path in self._truth.glob("*.png"))
        need(self._raw / "oxts" / "data")

    def __len__(self) -> int:
        return len(self._names)

    def view(self, index: int) -> View:
        """Sparse depth; the path of the navigation unit."""
        name = self._names[index]
        imu = _world_from_imu(self._navigation(index), self._navigation(0))
        return View(
            image=files.image(self._raw / "image_02" / "data" / f"{name}.png"),
            depth=files.raw(self._truth / f"{name}.png").astype(np.float32) / np.float32(256),
            intrinsics=self._intrinsics,
            world_from_camera=imu @ self._imu_from_camera,
            seconds=int(name) / 10,
        )

    def _navigation(self, index: int) -> Float64:
        return files.table(self._raw / "oxts" / "data" / f"{self._names[index]}.txt")[0, :6]


@files.decodes
def _calibration(path: Path) -> dict[str, Float64]:
    found = {}
    for line in path.read_text().splitlines():
        key, _, numbers = line.partition(":")
        if key not in ("calib_time", "corner_dist") and numbers:
            found[key] = np.array(numbers.split(), float)
    return found


def _transform(calibration: dict[str, Float64]) -> Float64:
    return files.rigid(calibration["R"].reshape(3, 3), calibration["T"])


def _world_from_imu(here: Float64, first: Float64) -> Float64:
    """Of latitude, longitude (degrees), altitude, roll, pitch, yaw: on a Mercator map about the drive's first place."""
    from scipy.spatial.transform import Rotation

    scale = np.cos(np.radians(first[0]))
    places = [
        np.array(
            [
                scale * EARTH_RADIUS * np.radians(longitude),
                scale * EARTH_RADIUS * np.log(np.tan(np.radians(90 + latitude) / 2)),
                altitude,
            ]
        )
        for latitude, longitude, altitude in (here[:3], first[:3])
    ]
    return files.rigid(Rotation.from_euler("xyz", here[3:]).as_matrix(), places[0] - places[1])


def clips(folder: Path) -> list[Clip]:
    """The drives of the depth benchmark's validation split, then of its training split."""
    return [
        KittiClip(folder, split, path.name) for split in ("val", "train") for path in folders(folder / split, "*_sync")
    ]


DATASET = Dataset(
    name="kitti",
    origin="https://www.cvlibs.net/datasets/kitti (annotated depth maps, and the raw drives with calibration)",
    layout="""
    val/2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000005.png   16 bit, 256 a metre
    2011_09_26/
        calib_cam_to_cam.txt, calib_imu_to_velo.txt, calib_velo_to_cam.txt
        2011_09_26_drive_0002_sync/image_02/data/0000000005.png
        2011_09_26_drive_0002_sync/oxts/data/0000000005.txt
    """,
    clips=clips,
)
