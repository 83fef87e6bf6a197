# SPDX-License-Identifier: Apache-2.0
"""ScanNet (Dai et al., CVPR 2017): rooms filmed with a depth camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from . import files
from .clip import Clip, Dataset, StaticClip, View, folders, need


class ScanNetClip(StaticClip):
    """A scan. Frames whose camera was lost have no finite pose and are left out."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self._folder = folder
        self._intrinsics = files.table(need(folder / "intrinsic" / "intrinsic_color.txt"))[:3, :3]
        numbers = sorted(int(path.stem) for path in need(folder / "pose").glob("*.txt"))
        poses = {number: files.table(folder / "pose" / f"{number}.txt") for number in numbers}
        self._poses = [(number, pose) for number, pose in poses.items() if np.isfinite(pose).all()]
        if self._poses:
            need(folder / "color" / f"{self._poses[0][0]}.jpg")
            need(folder / "depth" / f"{self._poses[0][0]}.png")

    def __len__(self) -> int:
        return len(self._poses)

    def view(self, index: int) -> View:
        """Depth covers the colour image with fewer pixels and is enlarged without mixing."""
        number, pose = self._poses[index]
        image = files.image(self._folder / "color" / f"{number}.jpg")
        depth = files.raw(self._folder / "depth" / f"{number}.png").astype(np.float32) / np.float32(1000)
        return View(
            image=image,
            depth=cv2.resize(depth, image.shape[1::-1], interpolation=cv2.INTER_NEAREST),
            intrinsics=self._intrinsics,
            world_from_camera=pose,
            seconds=number / 30,
        )


def clips(folder: Path) -> list[Clip]:
    """Every scan."""
    root = folder / "scans" if (folder / "scans").is_dir() else folder
    return [ScanNetClip(path, path.name) for path in folders(root, "scene[0-9]*")]


DATASET = Dataset(
    name="scannet",
    origin="http://www.scan-net.org (.sens files, unpacked with its SensReader)",
    layout="""
    scans/scene0000_00/
        color/0.jpg
        depth/0.png                    16 bit, millimetres
        pose/0.txt                     world from camera
        intrinsic/intrinsic_color.txt
    """,
    clips=clips,
)
