# SPDX-License-Identifier: Apache-2.0
"""A window through POMATO's motion modules, as the stream sees it: fast reconstruction with each asked time as key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..geometry.cameras import camera_matrix
from ..geometry.focal import weiszfeld_focal
from ..geometry.pnp import solve_pnp
from ..geometry.sim3 import DegenerateError, Sim3, robust_sim3
from ..types import Prediction

if TYPE_CHECKING:
    from .pairs import PairOutput, Size

# Every n-th pixel, down and across, is enough to find a camera or a similarity.
STRIDE = 4
PNP_ITERATIONS = 100


class Reconstructs(Protocol):
    """What is asked of a network here; POMATONetwork has it, and so has an engine that runs its exported graphs."""

    @property
    def frames(self) -> int | None:
        """See POMATONetwork."""

    def second_at_first(self, output: PairOutput) -> tuple[Tensor, Tensor]:
        """See POMATONetwork."""

    def reconstruct(self, tokens: Tensor, size: Size, key: int) -> PairOutput:
        """See POMATONetwork."""


def predict_from_window(
    network: Reconstructs, tokens: Tensor, size: Size, times: Sequence[int], reference: int
) -> Prediction:
    """One pass a key frame: the second map is every frame in the key's camera, the matched points are at its time.

    Passes meet by the Sim(3) between their second maps, which show the same pixels at the same times. Cameras by PnP
    on the reference's pass, with the focal that the reference frame's own map implies. A frame whose camera is not
    found has the reference's pose.

    Args:
        network: with motion modules.
        tokens: [S, P, C], S at most the network's window; a shorter window goes on with its last frame standing still.
        size, times, reference: as `PairNetwork.predict`, checked by the caller.
    """
    frames = len(tokens)
    missing = (network.frames or frames) - frames
    window = torch.cat([tokens, tokens[-1:].expand(missing, -1, -1)])
    passes = {key: _pass(network, window, size, key, frames) for key in dict.fromkeys([reference, *times])}
    own, own_conf, _, _ = passes[reference]
    points, conf = own.expand(len(times), *own.shape).clone(), own_conf.expand(len(times), *own_conf.shape).clone()
    for row, time in enumerate(times):
        seen, seen_conf, matched, matched_conf = passes[time]
        reference_from_time = _registered(seen, own, seen_conf * own_conf) if time != reference else Sim3.identity()
        others = [view for view in range(frames) if view != time]
        points[row, others] = _moved(reference_from_time, matched[others])
        conf[row, others] = matched_conf[others]
    focal = weiszfeld_focal(own[reference])
    height, width = size
    intrinsics = camera_matrix(focal[None], focal.new_tensor([width / 2, height / 2]))
    return Prediction(
        own_points=own,
        own_conf=own_conf,
        points=points,
        conf=conf,
        times=tuple(times),
        world_from_camera=_cameras(own, own_conf, float(focal), reference),
        intrinsics=intrinsics.expand(frames, 3, 3).clone(),
    )


def _pass(
    network: Reconstructs, window: Tensor, size: Size, key: int, frames: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points and confidence of the second map and of the matched points, of the window's first `frames` frames."""
    out = network.reconstruct(window, size, key)
    points, conf = network.second_at_first(out)
    return out.points_2[:frames], out.conf_2[:frames], points[:frames], conf[:frames]


def _registered(source: Tensor, target: Tensor, weights: Tensor) -> Sim3 | None:
    sampled = (slice(None), slice(None, None, STRIDE), slice(None, None, STRIDE))
    try:
        return robust_sim3(source[sampled].reshape(-1, 3), target[sampled].reshape(-1, 3), weights[sampled].reshape(-1))
    except DegenerateError:
        return None


def _moved(transform: Sim3 | None, points: Tensor) -> Tensor:
    return torch.full_like(points, torch.nan) if transform is None else transform.points(points)


def _cameras(points: Tensor, conf: Tensor, focal: float, reference: int) -> Tensor:
    """[S, 4, 4] by PnP on the more confident half of every STRIDE-th pixel."""
    poses = torch.eye(4).repeat(len(points), 1, 1)
    for view in (view for view in range(len(points)) if view != reference):
        mask = torch.zeros_like(conf[view], dtype=torch.bool)
        mask[::STRIDE, ::STRIDE] = conf[view, ::STRIDE, ::STRIDE] >= conf[view].median()
        found = solve_pnp(points[view].cpu().numpy(), mask.cpu().numpy(), focal, iterations=PNP_ITERATIONS)
        if found is not None:
            poses[view] = torch.from_numpy(found.world_from_camera)
    return poses.to(points)
