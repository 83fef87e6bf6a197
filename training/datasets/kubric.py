# SPDX-License-Identifier: Apache-2.0
"""Kubric (Greff et al., CVPR 2022): rigid objects falling, with their poses. Scenes MOVi-F, and V-DPM's variant G."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from dpm_core.types import Float64

from . import files
from .clip import Clip, Dataset, View, folders, need
from .motion import RigidClip

# Blender's cameras look along -z with y up.
_FLIP = np.diag([1.0, -1.0, -1.0])


class KubricClip(RigidClip):
    """One scene, as Kubric's own writer leaves it."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self._folder = folder
        about = files.values(need(folder / "metadata.json"))
        self._frames = int(about["metadata"]["num_frames"])
        self._rate = float(about["metadata"].get("frame_rate", 12))
        self._camera, self._instances = about["camera"], about["instances"]
        for part in ("rgba_00000.png", "depth_00000.tiff", "segmentation_00000.png"):
            need(folder / part)

    def __len__(self) -> int:
        return self._frames

    def view(self, index: int) -> View:
        """Depth is stored along the ray."""
        depth = files.raw(self._folder / f"depth_{index:05d}.tiff").astype(np.float32)
        height, width = depth.shape
        focal = self._camera["focal_length"] / self._camera["sensor_width"] * width
        K = files.pinhole(focal, focal, (width - 1) / 2, (height - 1) / 2)
        v, u = np.mgrid[:height, :width]
        along = np.sqrt(((u - K[0, 2]) / focal) ** 2 + ((v - K[1, 2]) / focal) ** 2 + 1)
        pose = _pose(self._camera, index)
        return View(
            image=files.image(self._folder / f"rgba_{index:05d}.png"),
            depth=(depth / along).astype(np.float32),
            intrinsics=K,
            world_from_camera=files.rigid(pose[:3, :3] @ _FLIP, pose[:3, 3]),
            seconds=index / self._rate,
            object_id=files.indexed(self._folder / f"segmentation_{index:05d}.png").astype(np.int32),
        )

    def object_pose(self, object_id: int, index: int) -> Float64 | None:
        """Segmentation counts the instances from 1."""
        return _pose(self._instances[object_id - 1], index) if object_id <= len(self._instances) else None


def _pose(entry: dict[str, list[list[float]]], index: int) -> Float64:
    w, x, y, z = entry["quaternions"][index]
    return files.pose_of(np.array(entry["positions"][index]), np.array([x, y, z, w]))


def clips(part: str, folder: Path) -> list[Clip]:
    """Every scene. part: "f" or "g"."""
    return [KubricClip(path, f"kubric-{part}/{path.name}") for path in folders(folder, "*")]


_LAYOUT = """
    SCENE/
        metadata.json              metadata.num_frames, camera and instances with positions and quaternions (wxyz)
        rgba_00000.png
        depth_00000.tiff           distance along the ray, metres
        segmentation_00000.png     palette: 0 background, k the instance k
    """

F = Dataset(
    "kubric-f",
    "render it with Kubric's challenges/movi/movi_def_worker.py (--camera=linear_movement, motion blur), "
    "https://github.com/google-research/kubric",
    _LAYOUT,
    partial(clips, "f"),
)
G = Dataset(
    "kubric-g",
    "render it as kubric-f with the Dynamic Point Maps paper's stronger camera and object motion (arXiv 2503.16318)",
    _LAYOUT,
    partial(clips, "g"),
)
