# SPDX-License-Identifier: Apache-2.0
"""DynamicReplica (Karaev et al., CVPR 2023): rendered rooms with walking people and animals, with tracks of points."""

from __future__ import annotations

import functools
import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpm_core.types import Bool, Float64

from . import files
from .clip import Clip, Dataset, MissingError, UndecodableError, View
from .motion import TrackClip

# PyTorch3D's cameras look along z with x left and y up.
_FLIP = np.diag([-1.0, -1.0, 1.0])


class DynamicReplicaClip(TrackClip):
    """One camera of a sequence."""

    def __init__(self, root: Path, name: str, frames: list[dict[str, Any]]) -> None:
        super().__init__(name)
        self._root = root
        self._frames = sorted(frames, key=lambda frame: frame["frame_number"])

    def __len__(self) -> int:
        return len(self._frames)

    def view(self, index: int) -> View:
        """Depth is half floats in the bits of a 16-bit picture."""
        about = self._frames[index]
        bits = files.raw(self._root / about["depth"]["path"])
        depth = bits.view(np.float16).astype(np.float32)
        viewpoint, (height, width) = about["viewpoint"], about["image"]["size"]
        # PyTorch3D: x_camera = x_world @ R + T.
        rotation = np.array(viewpoint["R"]) @ _FLIP
        translation = _FLIP @ np.array(viewpoint["T"])
        return View(
            image=files.image(self._root / about["image"]["path"]),
            depth=np.where(np.isfinite(depth), depth, 0),
            intrinsics=_intrinsics(viewpoint, height, width),
            world_from_camera=files.rigid(rotation, -rotation @ translation),
            seconds=float(about["frame_timestamp"]),
        )

    def tracks(self, index: int) -> tuple[Float64, Float64, Bool, Bool]:
        """Of the frame's trajectory file."""
        content = _trajectories(self._root / self._frames[index]["trajectories"]["path"])
        points = content["traj_3d_world"].numpy().astype(float)
        pixels = content["traj_2d"].numpy().astype(float)[..., :2]
        seen = content["verts_inds_vis"].numpy().astype(bool)
        return points, np.nan_to_num(pixels), seen, np.isfinite(points).all(-1) & np.isfinite(pixels).all(-1)


@functools.lru_cache(maxsize=64)
def _trajectories(path: Path) -> dict[str, torch.Tensor]:
    """Tensors only; nothing in the file is run."""
    try:
        content: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return {name: content[name] for name in ("traj_3d_world", "traj_2d", "verts_inds_vis")}
    except Exception as error:
        raise UndecodableError(f"{path} cannot be decoded ({type(error).__name__})") from error


def _intrinsics(viewpoint: dict[str, Any], height: int, width: int) -> Float64:
    """Normalised device coordinates to pixels; theirs has pixel corners at integers."""
    if viewpoint.get("intrinsics_format") != "ndc_isotropic":
        raise UndecodableError(f"intrinsics are {viewpoint.get('intrinsics_format')}; expected ndc_isotropic")
    half = min(height, width) / 2
    (fx, fy), (cx, cy) = viewpoint["focal_length"], viewpoint["principal_point"]
    return files.pinhole(fx * half, fy * half, width / 2 - cx * half - 0.5, height / 2 - cy * half - 0.5)


def clips(folder: Path) -> list[Clip]:
    """Both cameras of the training sequences, those with tracks."""
    root = folder / "train" if (folder / "train").is_dir() else folder
    path = root / "frame_annotations_train.jgz"
    if not path.is_file():
        raise MissingError(f"{path} is missing")
    by_clip: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with gzip.open(path, "rt") as file:
        for frame in json.load(file):
            if frame.get("trajectories"):
                by_clip[f"{frame['sequence_name']}_{frame['camera_name']}"].append(frame)
    return [DynamicReplicaClip(root, name, frames) for name, frames in sorted(by_clip.items())]


DATASET = Dataset(
    name="dynamicreplica",
    origin="https://dynamic-stereo.github.io (download_dynamic_replica.sh)",
    layout="""
    train/frame_annotations_train.jgz                  JSON: image, depth, viewpoint, trajectories of every frame
    train/SEQUENCE_source_left/images/*.png
    train/SEQUENCE_source_left/depths/*.geometric.png  half floats in 16 bits, metres
    train/SEQUENCE_source_left/trajectories/*.pth      traj_3d_world, traj_2d, verts_inds_vis
    """,
    clips=clips,
)
