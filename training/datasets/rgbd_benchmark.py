# SPDX-License-Identifier: Apache-2.0
"""TUM RGB-D (Sturm et al., IROS 2012) and Bonn RGB-D Dynamic (Palazzolo et al., IROS 2019), which has TUM's format.

Depth and the camera's path are measured; where moving people go is not known.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpm_core.types import Float64

from . import files
from .clip import Clip, Dataset, View, folders, need

TOGETHER = 0.02
"""Seconds that stamps of one moment may differ, as in TUM's own tools."""

TUM_CAMERAS = {
    "freiburg1": files.pinhole(517.3, 516.5, 318.6, 255.3),
    "freiburg2": files.pinhole(520.9, 521.0, 325.1, 249.7),
    "freiburg3": files.pinhole(535.4, 539.2, 320.1, 247.6),
}
BONN_CAMERA = files.pinhole(542.822841, 542.576870, 315.593520, 237.756098)

UNITS_OF_A_METRE = 5000


class RgbdClip(Clip):
    """A sequence: every colour image that has depth and a pose of its moment."""

    def __init__(self, folder: Path, name: str, intrinsics: Float64) -> None:
        super().__init__(name)
        self._folder, self._intrinsics = folder, intrinsics
        images, depths = (_listed(need(folder / f"{kind}.txt")) for kind in ("rgb", "depth"))
        path = files.table(need(folder / "groundtruth.txt"))
        self._frames = []
        for stamp, image in images:
            depth, near = _nearest(stamp, np.array([time for time, _ in depths]))
            pose, close = _nearest(stamp, path[:, 0])
            if near and close:
                self._frames.append((stamp, image, depths[depth][1], files.pose_of(path[pose, 1:4], path[pose, 4:8])))

    def __len__(self) -> int:
        return len(self._frames)

    def view(self, index: int) -> View:
        """Depth is already in the colour camera."""
        stamp, image, depth, pose = self._frames[index]
        return View(
            image=files.image(self._folder / image),
            depth=files.raw(self._folder / depth).astype(np.float32) / np.float32(UNITS_OF_A_METRE),
            intrinsics=self._intrinsics,
            world_from_camera=pose,
            seconds=stamp,
        )


def _listed(path: Path) -> list[tuple[float, str]]:
    lines = (line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#"))
    return [(float(stamp), name) for stamp, name in lines]


def _nearest(stamp: float, stamps: Float64) -> tuple[int, bool]:
    if len(stamps) == 0:
        return 0, False
    index = int(np.abs(stamps - stamp).argmin())
    return index, bool(abs(stamps[index] - stamp) <= TOGETHER)


def _tum(folder: Path) -> list[Clip]:
    return [
        RgbdClip(
            path, path.name, next((K for name, K in TUM_CAMERAS.items() if name in path.name), TUM_CAMERAS["freiburg3"])
        )
        for path in folders(folder, "rgbd_dataset_freiburg*")
    ]


def _bonn(folder: Path) -> list[Clip]:
    root = folder / "rgbd_bonn_dataset" if (folder / "rgbd_bonn_dataset").is_dir() else folder
    return [RgbdClip(path, path.name, BONN_CAMERA) for path in folders(root, "rgbd_bonn_*")]


_LAYOUT = """
    {name}/
        rgb.txt, depth.txt   stamp file
        groundtruth.txt      stamp tx ty tz qx qy qz qw
        rgb/*.png
        depth/*.png          16 bit, 5000 a metre
    """

TUM = Dataset(
    "tum-dynamics",
    "https://cvg.cit.tum.de/data/datasets/rgbd-dataset (freiburg3 sitting and walking)",
    _LAYOUT.format(name="rgbd_dataset_freiburg3_SEQUENCE"),
    _tum,
)
BONN = Dataset(
    "bonn",
    "https://www.ipb.uni-bonn.de/data/rgbd-dynamic-dataset",
    _LAYOUT.format(name="rgbd_bonn_dataset/rgbd_bonn_SEQUENCE"),
    _bonn,
)
