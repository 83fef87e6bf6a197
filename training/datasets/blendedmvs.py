# SPDX-License-Identifier: Apache-2.0
"""BlendedMVS (Yao et al., CVPR 2020): photographs blended with their textured meshes; sets of views, not videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpm_core.types import Float64

from . import files
from .clip import Clip, Dataset, StaticClip, View, folders, need


class BlendedMVSClip(StaticClip):
    """One scene. Lengths are in a unit of its own."""

    metric = False

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self._folder = folder
        self._neighbours = _neighbours(need(folder / "cams" / "pair.txt"))
        for part in ("blended_images/00000000.jpg", "rendered_depth_maps/00000000.pfm", "cams/00000000_cam.txt"):
            need(folder / part)

    def __len__(self) -> int:
        return len(self._neighbours)

    def view(self, index: int) -> View:
        """Of the scene's files."""
        pose, K = _camera(self._folder / "cams" / f"{index:08d}_cam.txt")
        return View(
            image=files.image(self._folder / "blended_images" / f"{index:08d}.jpg"),
            depth=files.pfm(self._folder / "rendered_depth_maps" / f"{index:08d}.pfm"),
            intrinsics=K,
            world_from_camera=np.linalg.inv(pose),
            seconds=float(index),
        )

    def choose(self, draw: np.random.Generator, length: int, strides: tuple[int, int]) -> list[int] | None:
        """Views that overlap: from a first one on, each a neighbour of one that is there. Strides mean nothing here."""
        if length > len(self):
            return None
        chosen = [int(draw.integers(len(self)))]
        while len(chosen) < length:
            around = sorted({view for one in chosen for view in self._neighbours[one]} - set(chosen))
            # A set of views without links to the rest cannot grow.
            if not around:
                return None
            chosen.append(around[int(draw.integers(len(around)))])
        return chosen


def _neighbours(path: Path) -> list[list[int]]:
    """pair.txt: the number of views; for each its index, then how many neighbours and (index, score) of each."""
    words = path.read_text().split()
    count, place = int(words[0]), 1
    found: list[list[int]] = [[] for _ in range(count)]
    for _ in range(count):
        view, many = int(words[place]), int(words[place + 1])
        found[view] = [int(words[place + 2 + 2 * i]) for i in range(many)]
        place += 2 + 2 * many
    return found


@files.decodes
def _camera(path: Path) -> tuple[Float64, Float64]:
    """camera_from_world and K."""
    words = path.read_text().split()
    extrinsic, intrinsic = words.index("extrinsic") + 1, words.index("intrinsic") + 1
    return (
        np.array(words[extrinsic : extrinsic + 16], float).reshape(4, 4),
        np.array(words[intrinsic : intrinsic + 9], float).reshape(3, 3),
    )


def clips(folder: Path) -> list[Clip]:
    """Every scene."""
    return [BlendedMVSClip(path, path.name) for path in folders(folder, "*") if (path / "cams").is_dir()]


DATASET = Dataset(
    name="blendedmvs",
    origin="https://github.com/YoYo000/BlendedMVS (low resolution)",
    layout="""
    SCENE/
        blended_images/00000000.jpg
        rendered_depth_maps/00000000.pfm
        cams/00000000_cam.txt   extrinsic (camera from world), intrinsic
        cams/pair.txt           neighbours of each view
    """,
    clips=clips,
)
