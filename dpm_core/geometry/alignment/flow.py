# SPDX-License-Identifier: Apache-2.0
"""Image motion that a camera's motion alone would cause, and where measured motion can be trusted.

Source: reference sheet §5 (MonST3R).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..cameras import inverse_rigid, pixel_grid, project, transform, unproject


def ego_flow(
    depth: Tensor, intrinsics_i: Tensor, intrinsics_j: Tensor, world_from_i: Tensor, world_from_j: Tensor
) -> Tensor:
    """Where a static world's pixels of camera i lie in camera j, less where they were.

    Args:
        depth: [..., H, W] of camera i.
        intrinsics_i, intrinsics_j: [..., 3, 3] pixels.
        world_from_i, world_from_j: [..., 4, 4] rigid.

    Returns:
        [..., H, W, 2] pixels (u, v).
    """
    in_j = transform(inverse_rigid(world_from_j) @ world_from_i, unproject(depth, intrinsics_i))
    return project(in_j, intrinsics_j) - pixel_grid(depth)


def consistent(forward: Tensor, backward: Tensor, threshold: float = 3.0) -> Tensor:
    """Whether a pixel that goes forward and back comes home, and lands inside the other image.

    The published rule adds the signed errors, |Δu + Δv| < threshold, so that opposite errors cancel; it is kept to the
    letter here. Where the true distance is wanted, use `kernels.occlusion_mask`.

    Args:
        forward: [E, H, W, 2] pixels (u, v).
        backward: [E, H, W, 2], from the other image.
        threshold: pixels.

    Returns:
        [E, H, W] bool.
    """
    height, width = forward.shape[1:3]
    there = pixel_grid(forward[..., 0]) + forward
    limits = there.new_tensor([width - 1, height - 1])
    inside = ((there >= 0) & (there <= limits)).all(-1)
    sampled = F.grid_sample(backward.permute(0, 3, 1, 2), 2 * there / limits - 1, align_corners=True)
    error = forward.sum(-1) + sampled.sum(1)
    return inside & (error.abs() < threshold)
