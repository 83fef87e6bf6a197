# SPDX-License-Identifier: Apache-2.0
"""Frames of a clip to the record that everything else works with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch

from dpm_core.geometry.fit import Fit

from ..records import Window
from .clip import Clip, Fitted, UndecodableError, View
from .motion import world_points


def window(clip: Clip, frames: Sequence[int], times: Sequence[int], size: tuple[int, int]) -> Window:
    """One window of a clip.

    Args:
        clip: of a data set.
        frames: its S frames.
        times: asked window positions.
        size: (H, W) of the images: they are scaled to cover it and cut in the middle.

    Raises:
        UndecodableError: a frame cannot be read, or has no depth at all.
    """
    views = [fitted(clip.view(frame), size) for frame in frames]
    if not any(view.valid.any() for view in views):
        raise UndecodableError(f"{clip.name}: frames {list(frames)} have no depth")
    moved = [
        [clip.moved(view, frame, frames[time]) for view, frame in zip(views, frames, strict=True)] for time in times
    ]
    points = np.array([[points for points, _ in row] for row in moved])
    valid = np.array([[known for _, known in row] for row in moved])
    valid &= np.isfinite(points).all(-1)
    # Ids are of the data set; all that matters is which pixels show the same object.
    ids = [view.object_id for view in views]
    dynamic = [clip.dynamic(view, frame, frames) for view, frame in zip(views, frames, strict=True)]
    return Window(
        images=torch.from_numpy(np.stack([view.image for view in views])).movedim(-1, 1)[None].float() / 255,
        intrinsics=_stack([view.intrinsics for view in views]),
        world_from_camera=_stack([view.world_from_camera for view in views]),
        depth=_stack([view.depth for view in views]),
        points=_stack(list(np.where(valid[..., None], points, 0.0))),
        valid=torch.from_numpy(valid)[None],
        times=tuple(times),
        seconds=torch.tensor([[view.seconds for view in views]], dtype=torch.float64),
        dynamic=None if any(mask is None for mask in dynamic) else torch.from_numpy(np.stack(dynamic))[None],  # type: ignore[arg-type]
        object_id=None if any(part is None for part in ids) else torch.from_numpy(np.stack(ids).astype(np.int32))[None],  # type: ignore[arg-type]
        metric=clip.metric,
        names=(f"{clip.name}/{'-'.join(map(str, frames))}",),
    )


def fitted(view: View, size: tuple[int, int]) -> Fitted:
    """A view at another size."""
    fit = cover(view.depth.shape, size)
    rows, columns = (_source_pixels(fit, axis) for axis in (0, 1))
    at = np.ix_(rows, columns)
    resized = cv2.resize(view.image, fit.resized[::-1], interpolation=_filter(fit))
    top, left = fit.origin
    cut = resized[top : top + size[0], left : left + size[1]]
    depth = np.where(np.isfinite(view.depth[at]) & (view.depth[at] > 0), view.depth[at], 0).astype(np.float32)
    partial = Fitted(
        image=np.ascontiguousarray(cut),
        depth=depth,
        intrinsics=fit.intrinsics(view.intrinsics),
        world_from_camera=view.world_from_camera,
        seconds=view.seconds,
        object_id=None if view.object_id is None else view.object_id[at],
        dynamic=None if view.dynamic is None else view.dynamic[at],
        rows=rows,
        columns=columns,
        fit=fit,
        points=np.empty(0),
    )
    points, _ = world_points(partial)
    return Fitted(**{**vars(partial), "points": points})


def cover(source: tuple[int, int], size: tuple[int, int]) -> Fit:
    """Scale so that the size is covered, cut what is over in the middle."""
    scale = max(size[0] / source[0], size[1] / source[1])
    height, width = (max(new, math.floor(old * scale + 0.5)) for new, old in zip(size, source, strict=True))
    return Fit(source, (height, width), ((height - size[0]) // 2, (width - size[1]) // 2), size)


def _filter(fit: Fit) -> int:
    return cv2.INTER_AREA if fit.resized[0] < fit.source[0] else cv2.INTER_CUBIC


def _source_pixels(fit: Fit, axis: int) -> np.ndarray:
    """Source pixel nearest to each pixel along an axis."""
    ratio = fit.source[axis] / fit.resized[axis]
    place = (np.arange(fit.size[axis]) + fit.origin[axis] + 0.5) * ratio - 0.5
    pixels: np.ndarray = np.clip(np.floor(place + 0.5).astype(int), 0, fit.source[axis] - 1)
    return pixels


def _stack(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32))[None]
