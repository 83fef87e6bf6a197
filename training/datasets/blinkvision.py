# SPDX-License-Identifier: Apache-2.0
"""BlinkVision (Li et al., ECCV 2024): rendered indoor and outdoor videos with optical flow."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from dpm_core.types import Bool, Float32

from . import files
from .clip import Clip, Dataset, View, folders, need
from .motion import FlowClip

EXCLUDED = frozenset(
    f"outdoor_train_{name}"
    for name in ("autopilot_tree_01", "autopilot_tree_02", "autopilot_tree_03", "track_animal_people")
)
"""Incomplete: D²USt3R supplement, Table 8."""

IN_CENTIMETRES = frozenset(
    f"{scene}_{kind}"
    for scene in (
        *("AI33_002_280", "AI33_007_280", "AI33_008_280", "AI48_001", "AI48_008", "AI48_009"),
        *("AI58_001", "AI58_006", "AI58_008"),
    )
    for kind in ("people", "tour")
)
"""Indoor scenes whose poses are in centimetres while their depth is in metres, by the data set's own loader."""

# Blender's cameras look along -z with y up.
_FLIP = np.diag([1.0, -1.0, -1.0])


class BlinkVisionClip(FlowClip):
    """A sequence, in its final rendering."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self._folder = folder
        self._poses = files.array(need(folder / "poses.npz"), "camera_poses").astype(float)
        self._unit = 0.01 if folder.name in IN_CENTIMETRES else 1.0
        self._intrinsics = np.array(files.values(need(folder / "metadata.json"))["K_matrix"], float)
        self._intrinsics[:2, 2] -= 0.5  # stored with pixel corners at integers
        self._images, self._depths, self._flows = (
            sorted(need(folder / part).glob(pattern))
            for part, pattern in (("final_uint8", "*.png"), ("depth", "*.npz"), ("forward_flow", "*.npz"))
        )

    def __len__(self) -> int:
        return min(len(self._poses), len(self._images), len(self._depths), len(self._flows) + 1)

    def view(self, index: int) -> View:
        """Poses are Blender's: a place and Euler angles."""
        from scipy.spatial.transform import Rotation

        place, angles = self._poses[index]
        rotation = Rotation.from_euler("xyz", angles).as_matrix() @ _FLIP
        depth = files.array(self._depths[index], "depth").astype(np.float32)
        return View(
            image=files.image(self._images[index]),
            depth=np.where(depth < 1e4, depth, 0).reshape(depth.shape[:2]),
            intrinsics=self._intrinsics,
            world_from_camera=files.rigid(rotation, place * self._unit),
            seconds=index / 30,
        )

    def flow(self, index: int) -> tuple[Float32, Bool]:
        """A third channel tells where it holds."""
        flow = files.array(self._flows[index], "forward_flow").astype(np.float32)
        known = flow[..., 2] > 0 if flow.shape[-1] > 2 else np.isfinite(flow).all(-1)
        return np.nan_to_num(flow[..., :2]), known


def clips(part: str, folder: Path) -> list[Clip]:
    """All sequences of a part but the excluded. part: "indoor" or "outdoor"."""
    found = folders(folder, f"{part}_train/*") + folders(folder, f"{part}_train_*/*")
    sequences = [(path, str(path.relative_to(folder)).replace("/", "_")) for path in found]
    return [BlinkVisionClip(path, name) for path, name in sequences if name not in EXCLUDED]


_ORIGIN = "https://www.blinkvision.net (blinkvision_v1/download_train.sh)"
_LAYOUT = """
    {part}_train/SEQUENCE/
        final_uint8/*.png
        depth/*.npz          "depth", metres
        forward_flow/*.npz   "forward_flow" [H, W, 3]: u, v, whether it holds
        poses.npz            "camera_poses" [frames, 2, 3]: place, Euler angles xyz, Blender's camera
        metadata.json        "K_matrix"
    """

INDOOR, OUTDOOR = (
    Dataset(f"blinkvision-{part}", _ORIGIN, _LAYOUT.format(part=part), partial(clips, part))
    for part in ("indoor", "outdoor")
)
