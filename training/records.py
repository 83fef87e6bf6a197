# SPDX-License-Identifier: Apache-2.0
"""The one record that every source of data gives: a batch of short windows of video with their truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from dpm_core.errors import DpmError
from dpm_core.geometry.cameras import unproject


@dataclass(frozen=True)
class Window:
    """B windows of S frames with their dynamic point maps P[v, t] at T asked times, all on one device.

    Coordinates are the data set's own world; `in_camera` brings them to a reference camera. Lengths are metres where
    `metric` is true, else in the data set's unit. Where a field has no value it is zero and its mask is False: every
    number is finite, so that a masked sum needs no special case. Fields a data set cannot give are None.

    Attributes:
        images: [B, S, 3, H, W] float32 in [0, 1], RGB.
        intrinsics: [B, S, 3, 3] float32, pixels, integer pixel centres.
        world_from_camera: [B, S, 4, 4] float32, OpenCV cameras.
        depth: [B, S, H, W] float32 along the optical axis; 0 where there is none.
        points: [B, T, S, H, W, 3] float32, P[v, t]: where the content of the pixel of view v is at time `times[t]`.
        valid: [B, T, S, H, W] bool, where `points` is known.
        times: T window positions, rising or not; the same for every window of the batch.
        seconds: [B, S] float64, when each frame was taken, from any origin.
        dynamic: [B, S, H, W] bool, whether the pixel's content moves in the world within the window.
        object_id: [B, S, H, W] int32, which object the pixel shows; 0 is the static surroundings, -1 nothing.
        visible: [B, T, S, H, W] bool, whether P[v, t] is inside and not hidden in the camera image at `times[t]`.
        flow: [B, T, S, H, W, 2] float32 pixels, optical flow (u, v) from the pixel in view v to P[v, t] in the camera
            at `times[t]`; 0 where `flow_valid` is False.
        flow_valid: [B, T, S, H, W] bool, where `flow` is known: the point is in front of that camera.
        metric: whether lengths are metres.
        names: B names, one a window: enough to find or make it again.
    """

    images: Tensor
    intrinsics: Tensor
    world_from_camera: Tensor
    depth: Tensor
    points: Tensor
    valid: Tensor
    times: tuple[int, ...]
    seconds: Tensor | None = None
    dynamic: Tensor | None = None
    object_id: Tensor | None = None
    visible: Tensor | None = None
    flow: Tensor | None = None
    flow_valid: Tensor | None = None
    metric: bool = True
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse shapes that do not belong together."""
        B, S, _, H, W = self.images.shape
        T = len(self.times)
        shapes = {
            "images": (B, S, 3, H, W),
            "intrinsics": (B, S, 3, 3),
            "world_from_camera": (B, S, 4, 4),
            "depth": (B, S, H, W),
            "points": (B, T, S, H, W, 3),
            "valid": (B, T, S, H, W),
            "seconds": (B, S),
            "dynamic": (B, S, H, W),
            "object_id": (B, S, H, W),
            "visible": (B, T, S, H, W),
            "flow": (B, T, S, H, W, 2),
            "flow_valid": (B, T, S, H, W),
        }
        for name, expected in shapes.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != expected:
                raise DpmError(f"window field {name} has shape {tuple(value.shape)}; expected {expected}")
        if any(not 0 <= time < S for time in self.times):
            raise DpmError(f"window times {self.times} must be positions of its {S} frames, 0 to {S - 1}")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        return self.images.shape[-2], self.images.shape[-1]

    def map(self, change: Callable[[Tensor], Tensor]) -> Window:
        """The window with every tensor changed alike."""
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {name: change(x) for name, x in present.items() if isinstance(x, Tensor)}
        return replace(self, **changed)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Window:
        """On another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def own_points(self) -> tuple[Tensor, Tensor]:
        """P[v, t_v] from depth and camera, in the world: [B, S, H, W, 3], and valid: [B, S, H, W]."""
        camera = unproject(self.depth, self.intrinsics)
        pose = self.world_from_camera[..., None, None, :3, :]
        world = (pose[..., :3] @ camera[..., None])[..., 0] + pose[..., 3]
        valid = self.depth > 0
        return world * valid[..., None], valid

    def in_camera(self, view: int) -> Window:
        """The same windows with camera `view` as the world. Invalid points stay zero."""
        poses = self.world_from_camera
        rotation, origin = poses[:, view, :3, :3], poses[:, view, :3, 3]
        camera_from_world = torch.zeros_like(poses[:, view])
        camera_from_world[:, :3, :3] = rotation.mT
        camera_from_world[:, :3, 3] = -(rotation.mT @ origin[..., None])[..., 0]
        camera_from_world[:, 3, 3] = 1
        shape = (-1, 1, 1, 1, 1)
        points = (self.points - origin.view(*shape, 3)) @ rotation[:, None, None, None]
        return replace(
            self, world_from_camera=camera_from_world[:, None] @ poses, points=points * self.valid[..., None]
        )


def collate(windows: Sequence[Window]) -> Window:
    """One batch of windows of equal size and times. A field is kept only where all have it.

    Raises:
        DpmError: sizes, lengths or asked times differ.
    """
    first = windows[0]
    if len({(window.images.shape[1:], window.times) for window in windows}) != 1:
        raise DpmError("windows of one batch must have the same length, image size and times; sample them together")
    joined: dict[str, Any] = {}
    for field in fields(first):
        values = [getattr(window, field.name) for window in windows]
        if any(value is None for value in values):
            joined[field.name] = None
        elif isinstance(values[0], Tensor):
            joined[field.name] = torch.cat(values)
    metric = all(window.metric for window in windows)
    names = tuple(name for window in windows for name in window.names)
    return replace(first, **joined, metric=metric, names=names)
