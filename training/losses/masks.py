# SPDX-License-Identifier: Apache-2.0
"""Which pixels move and which are hidden, from optical flow (D²USt3R §4.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dpm_core.geometry.alignment.flow import ego_flow
from dpm_core.geometry.cameras import inverse_rigid, pixel_grid


def occlusion_mask(forward: Tensor, backward: Tensor, threshold: float) -> Tensor:
    """M_occ = |p'₁ - p₁| > t with p'₂ = p₁ + f(p₁), p'₁ = p'₂ + b(p'₂) (eq. 4); what leaves the image is hidden too.

    Args:
        forward: [B, H, W, 2] pixels (u, v), from view 1 to view 2.
        backward: [B, H, W, 2], from view 2 to view 1; read between pixels bilinearly.
        threshold: t, pixels.

    Returns:
        [B, H, W] bool, for the pixels of view 1.
    """
    height, width = forward.shape[1:3]
    there = pixel_grid(forward[..., 0]) + forward
    limits = there.new_tensor([width - 1, height - 1])
    back = F.grid_sample(
        backward.permute(0, 3, 1, 2), 2 * there / limits.clamp(min=1) - 1, align_corners=True, padding_mode="border"
    ).permute(0, 2, 3, 1)
    away: Tensor = torch.linalg.vector_norm(forward + back, dim=-1) > threshold
    return away | ((there < 0) | (there > limits)).any(-1)


def camera_flow(depth: Tensor, intrinsics: Tensor, world_from_camera: Tensor) -> Tensor:
    """f_cam = π(K(R D K⁻¹ p + T)) - p: the flow that a static world would show between two views (eq. 5).

    Args:
        depth: [B, H, W] of the first view.
        intrinsics: [B, 2, 3, 3] pixels, of both views.
        world_from_camera: [B, 2, 4, 4].

    Returns:
        [B, H, W, 2] pixels (u, v), not finite where there is no depth.
    """
    second_from_first = inverse_rigid(world_from_camera[:, 1]) @ world_from_camera[:, 0]
    identity = torch.eye(4, dtype=depth.dtype, device=depth.device).expand_as(second_from_first)
    flow = ego_flow(depth, intrinsics[:, 0], intrinsics[:, 1], second_from_first, identity)
    return torch.where(depth[..., None] > 0, flow, torch.nan)


def dynamic_mask(flow: Tensor, from_camera: Tensor, threshold: float) -> Tensor:
    """M_dyn = ‖f_cam - f‖ > τ: pixels that the camera's motion does not explain.

    Eq. 5 prints "<", which selects the static pixels; the text and eq. 6 use the mask as the dynamic ones, as here.

    Args:
        flow: [B, H, W, 2] pixels, measured or true.
        from_camera: [B, H, W, 2], see `camera_flow`.
        threshold: τ, pixels.

    Returns:
        [B, H, W] bool; False where either flow is not finite.
    """
    moves: Tensor = torch.linalg.vector_norm(flow - from_camera, dim=-1) > threshold
    return moves


def sample_nearest(maps: Tensor, valid: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """maps[i + flow(i)], the entry of the other view that each pixel flows to.

    The nearest pixel is taken: a mean over an outline would be a point in empty space.

    Args:
        maps: [B, H, W, C] of the other view.
        valid: [B, H, W] bool, of the other view.
        flow: [B, H, W, 2] pixels (u, v) into the other view.

    Returns:
        [B, H, W, C] and [B, H, W] bool: valid there, and inside. Zero where not.
    """
    batch, height, width = flow.shape[:3]
    there = pixel_grid(flow[..., 0]) + flow
    u, v = there.nan_to_num(nan=-1e6).round().long().unbind(-1)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    index = (torch.arange(batch, device=flow.device)[:, None, None], v.clamp(0, height - 1), u.clamp(0, width - 1))
    known = inside & valid[index]
    return maps[index] * known[..., None], known
