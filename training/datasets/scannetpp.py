# SPDX-License-Identifier: Apache-2.0
"""ScanNet++ (Yeshwanth et al., ICCV 2023): rooms filmed with a telephone that measures depth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from . import files
from .clip import Clip, Dataset, StaticClip, View, folders, need


class ScanNetPPClip(StaticClip):
    """The iPhone video of a scene."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self._folder = folder / "iphone"
        about = files.values(need(self._folder / "pose_intrinsic_imu.json"))
        self._frames = [(key, value) for key, value in sorted(about.items()) if value.get("aligned_pose")]
        if self._frames:
            need(self._folder / "rgb" / f"{self._frames[0][0]}.jpg")
            need(self._folder / "depth" / f"{self._frames[0][0]}.png")

    def __len__(self) -> int:
        return len(self._frames)

    def view(self, index: int) -> View:
        """Depth has 256 x 192 pixels and is enlarged without mixing."""
        name, about = self._frames[index]
        image = files.image(self._folder / "rgb" / f"{name}.jpg")
        depth = files.raw(self._folder / "depth" / f"{name}.png").astype(np.float32) / np.float32(1000)
        return View(
            image=image,
            depth=cv2.resize(depth, image.shape[1::-1], interpolation=cv2.INTER_NEAREST),
            intrinsics=np.array(about["intrinsic"], float),
            world_from_camera=np.array(about["aligned_pose"], float),
            seconds=float(about.get("timestamp", index / 60)),
        )


def clips(folder: Path) -> list[Clip]:
    """Every scene."""
    root = folder / "data" if (folder / "data").is_dir() else folder
    return [ScanNetPPClip(path, path.name) for path in folders(root, "*") if (path / "iphone").is_dir()]


DATASET = Dataset(
    name="scannetpp",
    origin="https://kaldir.vc.in.tum.de/scannetpp (iPhone assets; unpack with the toolkit's prepare_iphone_data)",
    layout="""
    data/SCENE/iphone/
        rgb/frame_000000.jpg
        depth/frame_000000.png    16 bit, millimetres
        pose_intrinsic_imu.json   a frame: aligned_pose (world from camera), intrinsic, timestamp
    """,
    clips=clips,
)
