# SPDX-License-Identifier: Apache-2.0
"""A known moving world and an engine that knows it: what a perfect network would answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpm_core.geometry.fit import Fit
from dpm_core.types import Frame, Prediction

HEIGHT, WIDTH = 24, 32
PERIOD_NS = 100_000_000
VELOCITY = np.array([0.8, 0.0, 0.1])
INTRINSICS = np.array([[30.0, 0, 15.5], [0, 31.0, 11.5], [0, 0, 1]])
MOVING = np.zeros((HEIGHT, WIDTH), bool)
MOVING[6:14, 4:12] = True


def world_from_camera(index: int) -> np.ndarray:
    """A hand-held path. [4, 4]."""
    angle = 0.05 * index
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = [0.1 * index, 0.02 * np.sin(index), 0.05 * index]
    return pose


def depth(index: int) -> np.ndarray:
    """[H, W], a wavy wall."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    return 3 + np.sin(0.3 * u + 0.2 * index) * np.cos(0.25 * v)


def own_points(index: int) -> np.ndarray:
    """[H, W, 3] in the world, the frame at its own time."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(INTRINSICS).T
    pose = world_from_camera(index)
    return (rays * depth(index)[..., None]) @ pose[:3, :3].T + pose[:3, 3]


def points_at(index: int, time: int) -> np.ndarray:
    """[H, W, 3] in the world: the frame's content at another frame's time."""
    seconds = (time - index) * PERIOD_NS * 1e-9
    return own_points(index) + np.where(MOVING[..., None], VELOCITY * seconds, 0)


def frame(index: int, **changes: object) -> Frame:
    """The index is its grey value, so that the engine knows which frame it sees."""
    image = np.full((HEIGHT, WIDTH, 3), index, np.uint8)
    fields: dict[str, object] = dict(stamp_ns=1_000_000_000 + index * PERIOD_NS, image=image, frame_id="camera")
    return Frame(**(fields | changes))  # type: ignore[arg-type]


def _cropped(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The first pixels of each row and column of [..., H, W, 3] points or [..., H, W] confidences."""
    rows_from_end = 3 if array.shape[-1] == 3 else 2
    index = (..., slice(size[0]), slice(size[1]), *([slice(None)] * (rows_from_end - 2)))
    return array[index]


class OracleEngine:
    """Answers in its first frame's camera, in another unit for every window, as networks do.

    world: what has `world_from_camera`, `own_points` and `points_at`; this module unless told otherwise.
    """

    name = "oracle"
    notice = None
    device = torch.device("cpu")

    def __init__(self, world: Any = sys.modules[__name__]) -> None:
        self.world = world
        self.encoded: list[int] = []
        self.windows: list[list[int]] = []

    def fit(self, height: int, width: int) -> Fit:
        return Fit((height, width), (height, width), (0, 0), (height, width))

    def encode(self, image: Tensor) -> Tensor:
        index = round(float(image.mean()) * 255)
        self.encoded.append(index)
        return torch.full((1, 1), float(index))

    def predict(self, tokens: Sequence[Tensor], size: tuple[int, int], times: Sequence[int]) -> Prediction:
        indices = [round(float(token)) for token in tokens]
        self.windows.append(indices)
        unit = self.unit(len(self.windows) - 1)
        reference_from_world = np.linalg.inv(self.world.world_from_camera(indices[0]))

        def seen(points: np.ndarray) -> np.ndarray:
            return unit * (points @ reference_from_world[:3, :3].T + reference_from_world[:3, 3])

        poses = np.stack([reference_from_world @ self.world.world_from_camera(index) for index in indices])
        poses[:, :3, 3] *= unit
        own = np.stack([seen(self.world.own_points(index)) for index in indices])
        dense = np.stack([[seen(self.world.points_at(index, indices[time])) for index in indices] for time in times])
        conf = np.full(dense.shape[:-1], 3.0)
        arrays = (own, conf[0], dense, conf)
        return Prediction(
            *(torch.from_numpy(_cropped(array, size)).float() for array in arrays),
            times=tuple(times),
            world_from_camera=torch.from_numpy(poses).float(),
            intrinsics=torch.from_numpy(INTRINSICS).float().expand(len(indices), 3, 3),
        )

    def unit(self, window: int) -> float:
        """Network units per metre of the n-th window."""
        return 1.0 + 0.3 * np.sin(window)
