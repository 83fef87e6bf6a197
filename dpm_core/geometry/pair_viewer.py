# SPDX-License-Identifier: Apache-2.0
"""Two images without optimisation: the more confident direction says it all. Source: reference sheet §4.2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .cameras import camera_matrix, inverse_rigid, transform, unproject
from .focal import weiszfeld_focal
from .pairs import PairMaps, image_confidence
from .pnp import solve_pnp

PNP_ITERATIONS = 100


@dataclass(frozen=True)
class TwoViews:
    """Cameras and depth of images 0 and 1, in the first camera of the more confident pair, its unit.

    Attributes:
        focal: [2] pixels.
        world_from_camera: [2, 4, 4].
        depth: [2, H, W].
    """

    focal: Tensor
    world_from_camera: Tensor
    depth: Tensor

    @property
    def intrinsics(self) -> Tensor:
        """[2, 3, 3] pixels, principal point (W/2, H/2)."""
        height, width = self.depth.shape[1:]
        return camera_matrix(self.focal[:, None], self.depth.new_tensor([width / 2, height / 2]))

    @property
    def world_points(self) -> Tensor:
        """[2, H, W, 3] the depth maps as points in the world."""
        return transform(self.world_from_camera, unproject(self.depth, self.intrinsics))


def view_pair(pair: PairMaps, min_conf: float = 3.0) -> TwoViews:
    """Poses by PnP on the second image's points, depths from the point maps of the more confident direction.

    Args:
        pair: edges (0, 1) and (1, 0) in either order.
        min_conf: pixels whose confidence does not exceed it in any pair are not used to find the pose.

    A pose that cannot be found is the identity.
    """
    forward, backward = pair.edges.index((0, 1)), pair.edges.index((1, 0))
    focal = torch.stack([weiszfeld_focal(pair.points_i[forward]), weiszfeld_focal(pair.points_i[backward])])
    score = pair.conf_i.mean((1, 2)) * pair.conf_j.mean((1, 2))
    first, edge = (0, forward) if score[forward] > score[backward] else (1, backward)
    second = 1 - first

    found = solve_pnp(
        pair.points_j[edge].cpu().numpy(),
        (image_confidence(pair)[second] > min_conf).cpu().numpy(),
        float(focal[second]),
        iterations=PNP_ITERATIONS,
    )
    first_from_second = pair.points_i.new_tensor(found.world_from_camera if found else np.eye(4))
    in_second = transform(inverse_rigid(first_from_second), pair.points_j[edge])
    identity = torch.eye(4, dtype=first_from_second.dtype, device=first_from_second.device)
    by_role = [(identity, pair.points_i[edge, ..., 2]), (first_from_second, in_second[..., 2])]
    poses, depths = zip(*(by_role if first == 0 else by_role[::-1]), strict=True)
    return TwoViews(focal, torch.stack(poses), torch.stack(depths))
