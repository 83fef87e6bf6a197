# SPDX-License-Identifier: Apache-2.0
"""What a camera sees of a cloud, and what it sees through."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._camera import camera
from ._checked import Arrays, not_negative
from ._native import call, native


class ZBuffer(NamedTuple):
    """The nearest point at each pixel.

    Attributes:
        depth: [H, W] float32 along the optical axis, NaN where there is no point.
        index: [H, W] int32, which point it is, the lowest of equally near ones; -1 where there is none.
    """

    depth: Tensor
    index: Tensor  # type: ignore[assignment]  # a field, not tuple.index


def project_zbuffer(points: Tensor, world_from_camera: Tensor, intrinsics: Tensor, *, size: tuple[int, int]) -> ZBuffer:
    """Depth image of a cloud: each point counts at the pixel whose centre is nearest to its projection.

    Args:
        points: [N, 3] float32, world; those not finite, or not before the camera, are not seen.
        world_from_camera: [4, 4] float32 or float64, rigid, on the CPU.
        intrinsics: [3, 3] float32 or float64, pixels, no skew, on the CPU.
        size: (height, width) of the image.

    Returns:
        ZBuffer on the device of `points`; the same input gives the same bytes.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    Arrays()("points", points, torch.float32, "N 3")
    camera(world_from_camera, intrinsics)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size must be (height, width), both > 0, not {tuple(size)}")
    if len(points) >= 1 << 31:
        raise ValueError(f"points must be fewer than 2^31, not {len(points)}")
    depth = points.new_empty(size)
    index = points.new_empty(size, dtype=torch.int32)
    nearest = points.new_empty(size, dtype=torch.int64)
    call(native.project_zbuffer, points, world_from_camera, intrinsics, nearest, depth, index)
    return ZBuffer(depth, index)


def seen_through(
    points: Tensor,
    depth: Tensor,
    world_from_camera: Tensor,
    intrinsics: Tensor,
    *,
    margin: float = 0.0,
    relative: float = 0.05,
) -> Tensor:
    """Points that cannot be where they are, since a camera sees something farther at their pixel.

    A point at depth z is seen through where the measured depth exceeds z (1 + relative) + margin.

    Args:
        points: [N, 3] float32, world.
        depth: [H, W] float32, measured by the camera along its optical axis, in the unit of the points; no verdict
            where it is not > 0.
        world_from_camera: [4, 4] float32 or float64, rigid, on the CPU.
        intrinsics: [3, 3] float32 or float64, pixels of `depth`, no skew, on the CPU.
        margin: in the unit of the points, >= 0.
        relative: part of the depth, >= 0.

    Returns:
        [N] bool on the device of `points`.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    check = Arrays()
    check("points", points, torch.float32, "N 3")
    check("depth", depth, torch.float32, "H W")
    camera(world_from_camera, intrinsics)
    not_negative("margin", margin)
    not_negative("relative", relative)
    mask = points.new_empty(len(points), dtype=torch.bool)
    call(native.seen_through, points, depth, world_from_camera, intrinsics, margin, relative, mask)
    return mask
