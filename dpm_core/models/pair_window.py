# SPDX-License-Identifier: Apache-2.0
"""A window's pairs brought into the reference camera: what pair networks say, as the stream sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..geometry.cameras import camera_matrix
from ..geometry.focal import weiszfeld_focal
from ..geometry.pairs import Edges
from ..geometry.sim3 import DegenerateError, Sim3, robust_sim3
from ..types import Prediction

if TYPE_CHECKING:
    from .pairs import PairOutput, Size


class RelatesFrames(Protocol):
    """What is asked of a network here; PairNetwork has it, and so has an engine that runs its exported graphs."""

    @property
    def knows_motion(self) -> bool:
        """See PairNetwork."""

    def second_at_first(self, output: PairOutput) -> tuple[Tensor, Tensor]:
        """See PairNetwork."""

    def relate_frames(self, tokens: Tensor, edges: Edges, size: Size) -> PairOutput:
        """See PairNetwork."""


def predict_from_pairs(
    network: RelatesFrames, tokens: Tensor, size: Size, times: Sequence[int], reference: int
) -> Prediction:
    """Pairs of the reference with every frame, and of every asked time with every frame.

    Every frame's own map is that of its pair with the reference; the Sim(3) that takes it to the same pixels in the
    reference camera is the frame's camera. A frame whose Sim(3) is not determined has NaN points and the reference's
    pose. Units differ by pairs: they meet in the map of the image that two pairs share.

    Args, raises: as `PairNetwork.predict`, checked by the caller.
    """
    frames = len(tokens)
    edges = _edges(frames, times if network.knows_motion else (), reference)
    said = _Said(network.relate_frames(tokens, edges, size), {edge: place for place, edge in enumerate(edges)})
    views = [_own_view(said, view, frames, reference) for view in range(frames)]
    own_points = torch.stack([view.reference_points for view in views])
    own_conf = torch.stack([view.conf for view in views])
    shape = (len(times), *own_conf.shape)
    points, conf = own_points.expand(*shape, 3).clone(), own_conf.expand(shape).clone()
    if network.knows_motion:
        for row, time in enumerate(times):
            for view in (view for view in range(frames) if view != time):
                points[row, view], conf[row, view] = _at_time(network, said, views[time], time, view)
    focals = weiszfeld_focal(torch.stack([view.points for view in views]))
    height, width = size
    return Prediction(
        own_points=own_points,
        own_conf=own_conf,
        points=points,
        conf=conf,
        times=tuple(times),
        world_from_camera=torch.stack([_pose(view.reference_from_camera) for view in views]).to(own_points),
        intrinsics=camera_matrix(focals[:, None], focals.new_tensor([width / 2, height / 2])),
        dynamic_logit=_dynamic(said, frames, reference),
        flow=_flow(said, frames, times),
    )


@dataclass(frozen=True)
class _Said:
    """What the network said of pairs, and where each pair stands."""

    output: PairOutput
    place: dict[tuple[int, int], int]


@dataclass(frozen=True)
class _View:
    """One frame at its own time: points [H, W, 3] in its own camera, conf [H, W], and its camera in the reference's."""

    points: Tensor
    conf: Tensor
    reference_from_camera: Sim3 | None

    @property
    def reference_points(self) -> Tensor:
        """[H, W, 3], NaN where the camera is not determined."""
        if self.reference_from_camera is None:
            return torch.full_like(self.points, torch.nan)
        return self.reference_from_camera.points(self.points)


def _edges(frames: int, times: Sequence[int], reference: int) -> Edges:
    if frames == 1:
        return ((0, 0),)
    others = [view for view in range(frames) if view != reference]
    edges = [edge for view in others for edge in ((reference, view), (view, reference))]
    edges += [(time, view) for time in times for view in range(frames) if view != time]
    return tuple(dict.fromkeys(edges))


def _partner(view: int, frames: int, reference: int) -> int:
    """The frame whose pair with `view` gives the view's own map."""
    if view != reference or frames == 1:
        return reference
    return 0 if reference else 1


def _own_view(said: _Said, view: int, frames: int, reference: int) -> _View:
    out = said.output
    own = said.place[view, _partner(view, frames, reference)]
    points, conf = out.points_1[own], out.conf_1[own]
    if view == reference:
        return _View(points, conf, Sim3.identity())
    back = said.place[reference, view]
    shared = said.place[reference, _partner(reference, frames, reference)]
    unit = _unit(out.points_1[back], out.points_1[shared])
    return _View(points, conf, _registered(points, unit * out.points_2[back], conf * out.conf_2[back]))


def _at_time(network: RelatesFrames, said: _Said, first: _View, time: int, view: int) -> tuple[Tensor, Tensor]:
    """P[view, time] and its confidence, from the pair (time, view). first: the frame of that time."""
    place = said.place[time, view]
    points, conf = network.second_at_first(said.output)
    if first.reference_from_camera is None:
        return torch.full_like(points[place], torch.nan), conf[place]
    unit = _unit(said.output.points_1[place], first.points)
    return first.reference_from_camera.points(unit * points[place]), conf[place]


def _unit(points: Tensor, target: Tensor) -> Tensor:
    """What brings a map to the unit of another of the same pixels in the same camera: the median ratio of distances."""
    ratio: Tensor = target.norm(dim=-1) / points.norm(dim=-1).clamp(min=1e-12)
    return ratio.nanmedian()


def _registered(source: Tensor, target: Tensor, weights: Tensor) -> Sim3 | None:
    try:
        return robust_sim3(source.reshape(-1, 3), target.reshape(-1, 3), weights.reshape(-1))
    except DegenerateError:
        return None


def _pose(reference_from_camera: Sim3 | None) -> Tensor:
    pose = torch.eye(4, dtype=torch.float64)
    if reference_from_camera is not None:
        pose[:3, :3] = torch.from_numpy(reference_from_camera.rotation)
        pose[:3, 3] = torch.from_numpy(reference_from_camera.translation)
    return pose


def _dynamic(said: _Said, frames: int, reference: int) -> Tensor | None:
    """[S, H, W] logits of every frame in its pair with the reference; the reference's is the mean of its pairs."""
    logits = said.output.dynamic_1
    if logits is None:
        return None
    own = [logits[said.place[view, _partner(view, frames, reference)]] for view in range(frames)]
    if frames > 1:
        places = [said.place[reference, view] for view in range(frames) if view != reference]
        own[reference] = logits[places].mean(0)
    return torch.stack(own)


def _flow(said: _Said, frames: int, times: Sequence[int]) -> Tensor | None:
    """[T, S, H, W, 2] pixels, from every view to the view of every asked time."""
    flows = said.output.flow_21
    if flows is None:
        return None
    still = torch.zeros_like(flows[0])
    return torch.stack(
        [
            torch.stack([still if view == time else flows[said.place[time, view]] for view in range(frames)])
            for time in times
        ]
    )
