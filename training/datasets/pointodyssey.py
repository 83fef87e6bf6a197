# SPDX-License-Identifier: Apache-2.0
"""PointOdyssey (Zheng et al., ICCV 2023): long rendered videos with tracks of many points."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from dpm_core.types import Bool, Float64

from . import files
from .clip import Clip, Dataset, MissingError, View, folders, need
from .motion import TrackClip

FARTHEST = 1000.0
"""Metres that the largest 16-bit value stands for."""

_EXCLUDED = """
    animal_s animal_smoke_ animal1_s_ animal1_s animal2_s animal3_s animal4_s animal6_s cab_e_ego2 cab_e1_3rd
    cab_e1_ego2 cab_h_bench_3rd cab_h_bench_ego2 character0_f character0_f2 character3_f character4_ character5_
    character6 cnb_dlab_0215_3rd cnb_dlab_0215_ego1 cnb_dlab_0225_3rd cnb_dlab_0225_ego1 dancingroom_3rd human_in_scene
    kg r5_new_f scene_d78_0318_3rd scene_d78_0318_ego1 scene_d78_0318_ego2 scene_j716_3rd scene_j716_ego1
    scene_j716_ego2 scene1_0129 seminar_h52_ego1
"""

EXCLUDED = frozenset(_EXCLUDED.split())
"""Smoke, or annotations that are wrong: D²USt3R supplement, Table 8."""


class PointOdysseyClip(TrackClip):
    """A scene."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self._folder = folder
        self._names = sorted(path.stem.split("_")[-1] for path in (folder / "rgbs").glob("rgb_*.jpg"))
        if not self._names:
            raise MissingError(f"{folder}/rgbs/rgb_00000.jpg is missing")
        need(folder / "depths" / f"depth_{self._names[0]}.png")
        need(folder / "anno.npz")

    def __len__(self) -> int:
        return len(self._names)

    def view(self, index: int) -> View:
        """Sixteen bits are kilometres."""
        intrinsics, camera_from_world = self._annotation("intrinsics"), self._annotation("extrinsics")
        depth = files.raw(self._folder / "depths" / f"depth_{self._names[index]}.png")
        return View(
            image=files.image(self._folder / "rgbs" / f"rgb_{self._names[index]}.jpg"),
            depth=depth.astype(np.float32) / np.float32(65535) * np.float32(FARTHEST),
            intrinsics=intrinsics[index].astype(float),
            world_from_camera=np.linalg.inv(camera_from_world[index].astype(float)),
            seconds=index / 30,
        )

    def tracks(self, index: int) -> tuple[Float64, Float64, Bool, Bool]:
        """Of the scene's annotation."""
        points, pixels = self._annotation("trajs_3d")[index], self._annotation("trajs_2d")[index]
        known = (
            self._annotation("valids")[index].astype(bool) & np.isfinite(points).all(-1) & np.isfinite(pixels).all(-1)
        )
        return points.astype(float), np.nan_to_num(pixels.astype(float)), self._annotation("visibs")[index] > 0, known

    def _annotation(self, name: str) -> np.ndarray:
        return _annotation(self._folder / "anno.npz", name)


@functools.lru_cache(maxsize=12)
def _annotation(path: Path, name: str) -> np.ndarray:
    """Whole arrays: the file is compressed, and a window reads each of them several times."""
    return files.array(path, name)


def clips(folder: Path) -> list[Clip]:
    """All scenes of the training split but the excluded."""
    root = folder / "train" if (folder / "train").is_dir() else folder
    return [PointOdysseyClip(path, path.name) for path in folders(root, "*") if path.name not in EXCLUDED]


DATASET = Dataset(
    name="pointodyssey",
    origin="https://pointodyssey.com (train.tar.gz)",
    layout="""
    train/SCENE/
        rgbs/rgb_00000.jpg
        depths/depth_00000.png  16 bit, 65535 is 1000 m
        anno.npz                trajs_2d, trajs_3d, valids, visibs, intrinsics, extrinsics (camera from world)
    """,
    clips=clips,
)
