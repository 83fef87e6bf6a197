# SPDX-License-Identifier: Apache-2.0
"""Spring (Mehl et al., CVPR 2023): an animated film with stereo disparity and optical flow in high detail."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpm_core.types import Bool, Float32

from . import files
from .clip import Clip, Dataset, View, folders, need
from .motion import FlowClip

BASELINE = 0.065
"""Metres between the cameras."""


class SpringClip(FlowClip):
    """The left camera of a scene. Truth has twice the image's resolution; every second value is taken."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self._folder = folder
        self._intrinsics = files.table(need(folder / "cam_data" / "intrinsics.txt"))
        self._extrinsics = files.table(need(folder / "cam_data" / "extrinsics.txt")).reshape(-1, 4, 4)
        for part in ("frame_left/frame_left_0001.png", "disp1_left/disp1_left_0001.dsp5"):
            need(folder / part)

    def __len__(self) -> int:
        return len(self._extrinsics)

    def view(self, index: int) -> View:
        """Depth from disparity."""
        number = f"{index + 1:04d}"
        fx, fy, cx, cy = self._intrinsics[index]
        disparity = files.hdf5(self._folder / "disp1_left" / f"disp1_left_{number}.dsp5", "disparity")[::2, ::2]
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = np.where(disparity > 0, fx * BASELINE / disparity, 0)
        return View(
            image=files.image(self._folder / "frame_left" / f"frame_left_{number}.png"),
            depth=np.nan_to_num(depth, posinf=0).astype(np.float32),
            intrinsics=files.pinhole(fx, fy, cx, cy),
            world_from_camera=np.linalg.inv(self._extrinsics[index]),
            seconds=index / 24,
        )

    def flow(self, index: int) -> tuple[Float32, Bool]:
        """Forward flow of the left camera."""
        path = self._folder / "flow_FW_left" / f"flow_FW_left_{index + 1:04d}.flo5"
        flow = files.hdf5(path, "flow")[::2, ::2].astype(np.float32)
        return np.nan_to_num(flow), np.asarray(np.isfinite(flow).all(-1))


def clips(folder: Path) -> list[Clip]:
    """The training scenes."""
    root = folder / "train" if (folder / "train").is_dir() else folder
    return [SpringClip(path, path.name) for path in folders(root, "[0-9][0-9][0-9][0-9]")]


DATASET = Dataset(
    name="spring",
    origin="https://spring-benchmark.org (train: frame_left, disp1_left, flow_FW_left, cam_data)",
    layout="""
    train/0001/
        frame_left/frame_left_0001.png      1920 x 1080
        disp1_left/disp1_left_0001.dsp5     HDF5 "disparity", 3840 x 2160
        flow_FW_left/flow_FW_left_0001.flo5 HDF5 "flow", 3840 x 2160, in pixels of the image
        cam_data/intrinsics.txt             fx fy cx cy, one line a frame
        cam_data/extrinsics.txt             camera from world, 16 numbers a line
    """,
    clips=clips,
)
