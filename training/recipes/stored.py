# SPDX-License-Identifier: Apache-2.0
"""Made windows kept on disk, one file a scene: where making costs as much as training, each is used several times.

Images are bytes, depth and motion half precision. Of P[v, t] only what moves is stored, as its travel from the view's
own time; everything else follows from depth and camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dpm_core.atomic import atomic_file
from dpm_core.errors import DpmError
from training.records import Window
from training.synthetic import SyntheticScenes


@dataclass(frozen=True)
class Stored:
    """One scene.

    Attributes:
        images: [S, 3, H, W] uint8.
        depth: [S, H, W] float32 along the optical axis; 0 where there is none.
        dynamic: [S, H, W] bool.
        travel: [T = S, S, H, W, 3] float32, P[v, t] - P[v, t_v] in the world; 0 where nothing moves.
        intrinsics: [S, 3, 3] float32, pixels.
        world_from_camera: [S, 4, 4] float32.
    """

    images: Tensor
    depth: Tensor
    dynamic: Tensor
    travel: Tensor
    intrinsics: Tensor
    world_from_camera: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.images.shape[-2], self.images.shape[-1]


def path_of(folder: Path, index: int) -> Path:
    """The file of scene `index`."""
    return folder / f"scene-{index:06d}.safetensors"


def make(scenes: SyntheticScenes, folder: Path, indices: Sequence[int]) -> list[Path]:
    """Make scenes of a stream and write them; those that are there stay. Returns the files of all."""
    paths = [path_of(folder, index) for index in indices]
    missing = [index for index, path in zip(indices, paths, strict=True) if not path.is_file()]
    if missing:
        made = scenes.window(missing)
        for row, index in enumerate(missing):
            with atomic_file(path_of(folder, index)) as unfinished:
                save_file(packed(made, row), unfinished)
    return paths


def packed(window: Window, row: int) -> dict[str, Tensor]:
    """One scene of a batch with all times, as the tensors of its file."""
    own, _ = window.own_points()
    assert window.dynamic is not None
    moves = window.dynamic[row] & window.valid[row].all(0)
    return {
        "images": (window.images[row] * 255).round().to(torch.uint8),
        "depth": window.depth[row].half(),
        "dynamic": moves.to(torch.uint8),
        "travel": (window.points[row] - own[row])[:, moves].half(),
        "intrinsics": window.intrinsics[row].float().contiguous(),
        "world_from_camera": window.world_from_camera[row].float().contiguous(),
    }


def read(path: Path) -> Stored:
    """What `make` wrote.

    Raises:
        DpmError: it is not there, or is damaged.
    """
    try:
        tensors = load_file(path)
        dynamic = tensors["dynamic"].bool()
        moved = tensors["travel"].float()
        travel = torch.zeros(len(moved), *dynamic.shape, 3)
        travel[:, dynamic] = moved
        return Stored(
            tensors["images"],
            tensors["depth"].float(),
            dynamic,
            travel,
            tensors["intrinsics"],
            tensors["world_from_camera"],
        )
    except (OSError, SafetensorError, KeyError) as error:
        line = " ".join(str(error).split())[:120]
        raise DpmError(f"{path} is no stored scene ({line}); remove it and make it again") from error


def known_scenes(examples: int, first: int, uses: float, most: int) -> int:
    """How many scenes of the stream may be drawn from once `examples` windows are trained on.

    Making goes on beside training: `first` scenes are there at the start, one more every `uses` examples, `most` in the
    end. A function of the example alone, so that a run is the same however fast scenes were made.
    """
    return min(most, first + math.floor(examples / uses))
