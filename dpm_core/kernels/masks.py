# SPDX-License-Identifier: Apache-2.0
"""Which pixels move."""

from typing import Literal

import torch
from torch import Tensor

from ._checked import Arrays, finite, not_negative, one_of
from ._native import call, native


def pointmap_dynamic_mask(
    moved: Tensor,
    points: Tensor,
    *,
    factor: float = 3.0,
    floor: float = 0.0,
    statistic: Literal["median", "mean"] = "median",
) -> Tensor:
    """Pixels whose content moved: ‖moved - points‖ > max(factor · statistic, floor).

    The statistic is of ‖moved - points‖ over the pixels of a view where it is finite. The median of an even number of
    values is the lower of the middle two, as torch's is. A fixed threshold is `factor=0` with the threshold as floor;
    POMATO's global mask of its published code is `statistic="mean"` with a factor of 0.1 to 0.5.

    Source: POMATO eq. 9 (the paper prints the same point map twice; it is the matching one against the ordinary one).

    Args:
        moved: [S, H, W, 3] float32, where each pixel's content is at another time.
        points: [S, H, W, 3] float32, where it is at the view's own time, in the same frame and unit.
        factor: multiple of the statistic, >= 0.
        floor: least distance that counts as motion, in the unit of the points, >= 0.
        statistic: "median" or "mean".

    Returns:
        [S, H, W] bool; False where either point is not finite.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    check = Arrays()
    check("moved", moved, torch.float32, "S H W 3")
    check("points", points, torch.float32, "S H W 3")
    not_negative("factor", factor)
    not_negative("floor", floor)
    one_of("statistic", statistic, ("median", "mean"))
    views, height, width, _ = points.shape
    mask = points.new_empty((views, height, width), dtype=torch.bool)
    distance = points.new_empty((views, height, width)) if points.is_cuda else None
    scratch = points.new_empty((views, native.MASK_SCRATCH_BYTES), dtype=torch.uint8) if points.is_cuda else None
    call(native.pointmap_dynamic_mask, moved, points, factor, floor, statistic == "mean", mask, distance, scratch)
    return mask


def flow_dynamic_mask(
    flow: Tensor,
    depth: Tensor,
    intrinsics: Tensor,
    other_from_camera: Tensor,
    *,
    threshold: float,
    other_intrinsics: Tensor | None = None,
) -> Tensor:
    """Pixels whose optical flow is not the camera's: ‖f_cam - f‖ > threshold, f_cam = π(D K' R K⁻¹ p + K' t) - p.

    Source: D²USt3R eq. 5, whose printed inequality selects the static pixels.

    Args:
        flow: [S, H, W, 2] float32, observed, pixels right and down, from this view to the other.
        depth: [S, H, W] float32 of this view, along the optical axis.
        intrinsics: [S, 3, 3] float32 of this view, pixels, no skew.
        other_from_camera: [S, 4, 4] float32, this camera in the other's frame, in the unit of `depth`.
        threshold: pixels, >= 0.
        other_intrinsics: [S, 3, 3] float32 of the other view; None where they are the same.

    Returns:
        [S, H, W] bool; False where depth is not > 0, the flow is not finite or the point would lie behind the camera.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    other_intrinsics = intrinsics if other_intrinsics is None else other_intrinsics
    check = Arrays()
    check("flow", flow, torch.float32, "S H W 2")
    check("depth", depth, torch.float32, "S H W")
    for name, matrix, shape in (
        ("intrinsics", intrinsics, "S 3 3"),
        ("other_intrinsics", other_intrinsics, "S 3 3"),
        ("other_from_camera", other_from_camera, "S 4 4"),
    ):
        check(name, matrix, torch.float32, shape)
        finite(name, matrix)
    not_negative("threshold", threshold)
    mask = torch.empty_like(depth, dtype=torch.bool)
    call(native.flow_dynamic_mask, flow, depth, intrinsics, other_intrinsics, other_from_camera, threshold, mask)
    return mask


def occlusion_mask(forward: Tensor, backward: Tensor, *, threshold: float = 1.0) -> Tensor:
    """Pixels that the other view does not see: ‖f(p) + b(p + f(p))‖ > threshold, b looked up bilinearly.

    Source: D²USt3R eq. 4.

    Args:
        forward: [S, H, W, 2] float32, pixels right and down, from this view to the other.
        backward: [S, H, W, 2] float32, from the other view to this.
        threshold: pixels, >= 0.

    Returns:
        [S, H, W] bool; True too where the flow leaves the image or is not finite: nothing confirms it.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    check = Arrays()
    check("forward", forward, torch.float32, "S H W 2")
    check("backward", backward, torch.float32, "S H W 2")
    not_negative("threshold", threshold)
    mask = forward.new_empty(forward.shape[:3], dtype=torch.bool)
    call(native.occlusion_mask, forward, backward, threshold, mask)
    return mask
