# SPDX-License-Identifier: Apache-2.0
"""VGGT's camera loss, which V-DPM keeps (reference sheet §2.9)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dpm_core.geometry.cameras import inverse_rigid
from dpm_core.geometry.pose_encoding import encode_pose


@dataclass(frozen=True)
class CameraLoss:
    """L1 on translation, quaternion and field of view, summed over the refinements, the last one counting most.

    Attributes:
        translation, rotation, field_of_view: weights of the parts.
        decay: refinement i of n weighs decay^(n - i).
    """

    translation: float = 1.0
    rotation: float = 1.0
    field_of_view: float = 0.5
    decay: float = 0.6

    def __call__(
        self,
        encodings: Tensor,
        world_from_camera: Tensor,
        intrinsics: Tensor,
        size: tuple[int, int],
        scale: Tensor,
    ) -> Tensor:
        """The loss of each example.

        Args:
            encodings: [N, B, S, 9] predicted, one set a refinement, as `CameraHead` gives them.
            world_from_camera: [B, S, 4, 4], the reference camera being the world.
            intrinsics: [B, S, 3, 3] pixels of images of `size`.
            size: (H, W).
            scale: [B], length that the network calls 1.

        Returns:
            [B]: the mean over the views.
        """
        camera_from_world = inverse_rigid(world_from_camera)
        truth = encode_pose(camera_from_world, intrinsics, size)
        truth = torch.cat([truth[..., :3] / scale.view(-1, 1, 1), truth[..., 3:]], -1)
        error = (encodings - truth).abs()
        parts = (
            self.translation * error[..., :3].mean(-1)
            + self.rotation * error[..., 3:7].mean(-1)
            + self.field_of_view * error[..., 7:].mean(-1)
        )
        rounds = len(encodings)
        weights = parts.new_tensor([self.decay ** (rounds - 1 - i) for i in range(rounds)])
        return (weights.view(-1, 1, 1) * parts).mean(0).mean(-1)
