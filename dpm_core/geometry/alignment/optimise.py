# SPDX-License-Identifier: Apache-2.0
"""All pairs of a sequence brought into one world: DUSt3R's global alignment, with MonST3R's and POMATO's terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..pairs import PairMaps, image_confidence, reversed_index
from .flow import ego_flow
from .losses import flow_loss, pairwise_loss, smoothing_terms
from .masks import matching_flow, matching_pair_masks, motion_masks
from .scene import Scene
from .tree import TreeConfig, initialise

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
}


@dataclass(frozen=True)
class AlignmentConfig:
    """How pairs become a scene. The defaults are DUSt3R's.

    Attributes:
        steps: of Adam.
        rate: its learning rate at the start.
        last_rate: at the end.
        schedule: key of SCHEDULES, the way from one to the other.
        shared_focal: one focal for all images.
        base_scale: geometric mean of the pairs' scales, which fixes the scene's unit.
        smoothing: weight of the cameras' steps; 0 leaves the term out.
        flow: weight of the flow term, where there is a flow.
        flow_start: part of the steps done before the flow term begins.
        flow_limit: the flow term is dropped for good if it begins above this.
        tree: how the first scene is made.
    """

    steps: int = 300
    rate: float = 0.01
    last_rate: float = 1e-6
    schedule: str = "cosine"
    shared_focal: bool = False
    base_scale: float = 0.5
    smoothing: float = 0.0
    flow: float = 0.0
    flow_start: float = 0.0
    flow_limit: float = math.inf
    tree: TreeConfig = field(default_factory=TreeConfig)


DUST3R_ALIGNMENT = AlignmentConfig()
MONST3R_ALIGNMENT = AlignmentConfig(
    last_rate=1e-3,
    schedule="linear",
    shared_focal=True,
    smoothing=0.01,
    flow=0.01,
    flow_start=0.1,
    flow_limit=25.0,
)
POMATO_ALIGNMENT = AlignmentConfig(
    last_rate=1e-3,
    schedule="linear",
    shared_focal=True,
    smoothing=0.01,
    flow=0.01,
    flow_start=0.1,
    flow_limit=20.0,
)


@dataclass(frozen=True)
class FlowTarget:
    """What the flow term compares the cameras' own flow with.

    Attributes:
        flow_ij: the scene's intrinsics [N, 3, 3] -> [E, H, W, 2], measured flow from i to j, pixels.
        static_ij: [E, H, W] bool, pixels of i to use.
        static_ji: [E, H, W] bool, pixels of j to use.
        back: for every edge, the index of its reverse.
    """

    flow_ij: Callable[[Tensor], Tensor]
    static_ij: Tensor
    static_ji: Tensor
    back: tuple[int, ...]


def measured_flow(pairs: PairMaps, flow_ij: Tensor, moving: Tensor | None = None) -> FlowTarget:
    """MonST3R's target: a flow network's flow on pixels that do not move.

    Args:
        pairs: with every edge in both directions.
        flow_ij: [E, H, W, 2] pixels.
        moving: [N, H, W] bool; None for MonST3R's own motion masks.
    """
    moving = motion_masks(pairs, flow_ij) if moving is None else moving
    i, j = pairs.ends()
    return FlowTarget(lambda _: flow_ij, ~moving[i], ~moving[j], reversed_index(pairs.edges))


def matched_flow(pairs: PairMaps, factor: float = 0.1) -> FlowTarget:
    """POMATO's target: where its matched points land, on pixels that do not move.

    Args:
        pairs: with matched points and every edge in both directions.
        factor: threshold of the mask, times the mean displacement.
    """
    back = reversed_index(pairs.edges)
    static = ~matching_pair_masks(pairs, factor)
    return FlowTarget(lambda K: matching_flow(pairs, K.detach()), static, static[list(back)], back)


def flow_term(scene: Scene, pairs: PairMaps, target: FlowTarget) -> Tensor:
    """Smooth L1 between the cameras' flow and the target, both directions added."""
    (i, j), K, poses, depths = pairs.ends(), scene.intrinsics(), scene.world_from_camera(), scene.depths()
    there, back = target.flow_ij(K), list(target.back)
    forward = flow_loss(ego_flow(depths[i], K[i], K[j], poses[i], poses[j]), there, target.static_ij)
    backward = flow_loss(ego_flow(depths[j], K[j], K[i], poses[j], poses[i]), there[back], target.static_ji)
    return forward + backward


def new_scene(pairs: PairMaps, config: AlignmentConfig) -> Scene:
    """The scene as the spanning tree gives it. Raises: as `tree.initialise`."""
    scene = Scene(pairs.images, len(pairs.edges), pairs.size, config.shared_focal, config.base_scale)
    scene.to(pairs.conf_i)
    initialise(scene, pairs, config.tree)
    return scene


def optimise(scene: Scene, pairs: PairMaps, config: AlignmentConfig, target: FlowTarget | None = None) -> float:
    """Moves the scene to agree with the pairs.

    Args:
        scene: changed in place.
        pairs: what the network said.
        config: steps, rates, terms.
        target: for the flow term; None leaves it out.

    Returns:
        the loss before the last step; NaN where there is no step.
    """
    adam = torch.optim.Adam(scene.parameters(), lr=config.rate, betas=(0.9, 0.9))
    flow_begins = math.ceil(config.flow_start * config.steps)
    last = math.nan
    for step in range(config.steps):
        shape = SCHEDULES[config.schedule](step / config.steps)
        adam.param_groups[0]["lr"] = config.last_rate + (config.rate - config.last_rate) * shape
        loss = pairwise_loss(scene, pairs)
        if config.smoothing:
            loss = loss + config.smoothing * smoothing_terms(scene).sum()
        if config.flow and target and step >= flow_begins:
            flow = flow_term(scene, pairs, target)
            # A flow term this large means that the first scene and the flow have nothing to do with each other.
            target = None if step == flow_begins and flow > config.flow_limit else target
            loss = loss + config.flow * flow if target else loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        last = float(loss.detach())
    return last


@dataclass(frozen=True)
class Alignment:
    """N images in one world, the alignment's own unit.

    Attributes:
        world_from_camera: [N, 4, 4] float32.
        intrinsics: [N, 3, 3] float32 pixels.
        depth: [N, H, W] float32.
        points: [N, H, W, 3] float32, world.
        conf: [N, H, W] float32, the best that any pair says of the pixel.
        loss: before the last step.
    """

    world_from_camera: Tensor
    intrinsics: Tensor
    depth: Tensor
    points: Tensor
    conf: Tensor
    loss: float


def align(pairs: PairMaps, config: AlignmentConfig = DUST3R_ALIGNMENT, target: FlowTarget | None = None) -> Alignment:
    """Pairs in, one scene out. Arguments: as `optimise`; raises: as `tree.initialise`."""
    # What a network gave in inference mode cannot be differentiated through, a copy made outside of it can.
    with torch.inference_mode(False), torch.enable_grad():
        pairs = _copied(pairs)
        scene = new_scene(pairs, config)
        loss = optimise(scene, pairs, config, target)
    with torch.no_grad():
        return Alignment(
            scene.world_from_camera(),
            scene.intrinsics(),
            scene.depths(),
            scene.world_points(),
            image_confidence(pairs),
            loss,
        )


def _copied(pairs: PairMaps) -> PairMaps:
    points_i, conf_i, points_j, conf_j = (
        tensor.clone() for tensor in (pairs.points_i, pairs.conf_i, pairs.points_j, pairs.conf_j)
    )
    matched_j, conf_matched = (
        None if tensor is None else tensor.clone() for tensor in (pairs.matched_j, pairs.conf_matched)
    )
    return PairMaps(pairs.edges, points_i, conf_i, points_j, conf_j, matched_j, conf_matched)
