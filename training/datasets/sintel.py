# SPDX-License-Identifier: Apache-2.0
"""MPI Sintel (Butler et al., ECCV 2012): an animated film with flow, depth and cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpm_core.types import Bool, Float32, Float64

from . import files
from .clip import Clip, Dataset, View, folders, need
from .motion import FlowClip

FARTHEST = 70.0
"""Metres that are judged (reference sheet §5.1)."""

_TAG = np.float32(202021.25)


class SintelClip(FlowClip):
    """A sequence in its final rendering."""

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(name)
        self._root, self._scene = root, name
        self._frames = len(list((root / "final" / name).glob("frame_*.png")))
        for part in ("depth/{}/frame_0001.dpt", "camdata_left/{}/frame_0001.cam"):
            need(root / part.format(name))

    def __len__(self) -> int:
        return self._frames

    def view(self, index: int) -> View:
        """Of the sequence's files."""
        name = f"frame_{index + 1:04d}"
        K, camera_from_world = _camera(self._root / "camdata_left" / self._scene / f"{name}.cam")
        depth = _depth(self._root / "depth" / self._scene / f"{name}.dpt")
        return View(
            image=files.image(self._root / "final" / self._scene / f"{name}.png"),
            depth=np.where(depth < FARTHEST, depth, 0),
            intrinsics=K,
            world_from_camera=np.linalg.inv(camera_from_world),
            seconds=index / 24,
        )

    def flow(self, index: int) -> tuple[Float32, Bool]:
        """Forward flow, where the next frame is not hidden."""
        name = f"frame_{index + 1:04d}"
        flow = files.flo(self._root / "flow" / self._scene / f"{name}.flo")
        hidden = self._root / "occlusions" / self._scene / f"{name}.png"
        known = files.raw(hidden) == 0 if hidden.is_file() else np.ones(flow.shape[:2], bool)
        return flow, known


@files.decodes
def _camera(path: Path) -> tuple[Float64, Float64]:
    """K and camera_from_world."""
    content = path.read_bytes()
    if np.frombuffer(content, "<f4", 1)[0] != _TAG:
        raise ValueError("no camera of Sintel")
    numbers = np.frombuffer(content, "<f8", 21, 4)
    return numbers[:9].reshape(3, 3).copy(), np.vstack([numbers[9:].reshape(3, 4), [0, 0, 0, 1]])


@files.decodes
def _depth(path: Path) -> Float32:
    content = path.read_bytes()
    if np.frombuffer(content, "<f4", 1)[0] != _TAG:
        raise ValueError("no depth of Sintel")
    width, height = np.frombuffer(content, "<i4", 2, 4)
    depth: Float32 = np.frombuffer(content, "<f4", width * height, 12).reshape(height, width).copy()
    return depth


def clips(folder: Path) -> list[Clip]:
    """The sequences of the training half, whose truth is public."""
    root = need(folder / "training") if (folder / "training").is_dir() else folder
    return [SintelClip(root, path.name) for path in folders(root / "final", "*")]


DATASET = Dataset(
    name="sintel",
    origin="http://sintel.is.tue.mpg.de (complete data, and depth with cameras)",
    layout="""
    training/
        final/SEQUENCE/frame_0001.png
        depth/SEQUENCE/frame_0001.dpt
        camdata_left/SEQUENCE/frame_0001.cam
        flow/SEQUENCE/frame_0001.flo
        occlusions/SEQUENCE/frame_0001.png
    """,
    clips=clips,
)
