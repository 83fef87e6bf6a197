# SPDX-License-Identifier: Apache-2.0
"""ParallelDomain-4D (Van Hoorick et al., ECCV 2024): rendered driving scenes seen by 19 cameras.

It tells depth and cameras, but not where moving things go: points are known at their own time only.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from dpm_core.types import Float64

from . import files
from .clip import Clip, Dataset, MissingError, View, folders, need

FARTHEST = 500.0
"""Metres; the sky is stored as farther."""

DEPTH_ANNOTATION = "6"


class ParallelDomainClip(Clip):
    """One camera of a scene."""

    def __init__(self, folder: Path, name: str, frames: list[dict[str, Any]], intrinsics: Float64) -> None:
        super().__init__(name)
        self._folder, self._intrinsics = folder, intrinsics
        self._frames = sorted(frames, key=lambda frame: str(frame["filename"]))

    def __len__(self) -> int:
        return len(self._frames)

    def view(self, index: int) -> View:
        """Of the scene's JSON; its cameras are OpenCV's."""
        frame = self._frames[index]
        depth = files.array(self._folder / frame["annotations"][DEPTH_ANNOTATION], "data").astype(np.float32)
        turn, place = frame["pose"]["rotation"], frame["pose"]["translation"]
        place_xyz, turn_xyzw = (
            np.array([place[axis] for axis in "xyz"]),
            np.array([turn[f"q{axis}"] for axis in "xyzw"]),
        )
        return View(
            image=files.image(self._folder / frame["filename"]),
            depth=np.where(depth < FARTHEST, depth, 0),
            intrinsics=self._intrinsics,
            world_from_camera=files.pose_of(place_xyz, turn_xyzw),
            seconds=index / 10,
        )


def clips(folder: Path) -> list[Clip]:
    """Every camera of every scene."""
    return [clip for scene in folders(folder, "scene_[0-9]*") for clip in _scene(scene)]


def _scene(folder: Path) -> list[Clip]:
    about = next(iter(sorted(folder.glob("scene_*.json"))), None)
    calibration = next(iter(sorted((folder / "calibration").glob("*.json"))), None)
    if about is None or calibration is None:
        raise MissingError(f"{need(folder)} lacks its scene_*.json or calibration/*.json")
    known = json.loads(calibration.read_text())
    cameras = {
        name: files.pinhole(*(K[key] for key in ("fx", "fy", "cx", "cy")))
        for name, K in zip(known["names"], known["intrinsics"], strict=True)
    }
    frames: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in json.loads(about.read_text())["data"]:
        frame = entry["datum"].get("image")
        if frame is not None and (folder / frame["filename"]).is_file():
            frames[frame["filename"].split("/")[1]].append(frame)
    return [
        ParallelDomainClip(folder, f"{folder.name}/{camera}", found, cameras[camera])
        for camera, found in sorted(frames.items())
    ]


DATASET = Dataset(
    name="paralleldomain4d",
    origin="https://gcd.cs.columbia.edu (ParallelDomain-4D download script)",
    layout="""
    scene_000000/
        scene_*.json         every frame: image file, depth file (annotation 6), pose
        calibration/*.json   names, intrinsics (fx fy cx cy)
        rgb/CAMERA/*.png
        depth/CAMERA/*.npz   "data", metres
    """,
    clips=clips,
)
