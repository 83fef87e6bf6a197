# SPDX-License-Identifier: Apache-2.0
"""A first scene without optimisation: pairs hung onto each other along a maximum spanning tree.

Source: reference sheet §4.2.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..focal import weiszfeld_focal
from ..pairs import Edges, PairMaps, image_confidence
from ..pnp import solve_pnp
from ..sim3 import Sim3, weighted_sim3
from .scene import Scene


@dataclass(frozen=True)
class TreeConfig:
    """How the first scene is made.

    Attributes:
        min_conf: pixels must exceed it to take part in PnP.
        pnp_iterations: of RANSAC.
    """

    min_conf: float = 3.0
    pnp_iterations: int = 10


def initialise(scene: Scene, pairs: PairMaps, config: TreeConfig) -> None:
    """Sets all unknowns of `scene` from the pairs.

    Raises:
        ValueError: the pairs do not connect all images.
        DegenerateError: a pair's points do not determine how it hangs on the others.
    """
    draft = _grow(pairs)
    cameras = _cameras(pairs, draft, config)
    for edge, (i, _) in enumerate(pairs.edges):
        world_from_pair = _register(pairs.points_i[edge], draft.points[i], pairs.conf_i[edge])
        rotation, translation = (
            scene.pair_poses.new_tensor(array) for array in (world_from_pair.rotation, world_from_pair.translation)
        )
        scene.set_pair(edge, world_from_pair.scale, rotation, translation)
    factor = scene.scale_factor().detach()
    for image, pose in enumerate(cameras.poses):
        pose[:3, 3] *= factor
        scene.set_image(image, pose, draft.points[image] * factor)
    scene.set_focals(cameras.focals)


@dataclass
class _Draft:
    """What the tree gives: world points of every image, and poses and focals of those that stood first in a pair."""

    points: dict[int, Tensor]
    poses: dict[int, Tensor]
    focals: dict[int, Tensor]


@dataclass(frozen=True)
class _Cameras:
    """poses: [N, 4, 4] world_from_camera; focals: [N] pixels."""

    poses: Tensor
    focals: Tensor


def _grow(pairs: PairMaps) -> _Draft:
    score = pairs.conf_i.mean((1, 2)) * pairs.conf_j.mean((1, 2))
    branches = _spanning_tree(pairs.edges, pairs.images, score.tolist())
    root = branches[0]
    i, j = pairs.edges[root]
    draft = _Draft({i: pairs.points_i[root], j: pairs.points_j[root]}, {}, {})
    draft.poses[i] = torch.eye(4, dtype=score.dtype, device=score.device)
    draft.focals[i] = weiszfeld_focal(pairs.points_i[root])

    hung, waiting = root, deque(branches[1:])
    while waiting:
        edge = waiting.popleft()
        i, j = pairs.edges[edge]
        # The published code takes the focal from the pair hung before, which need not hold image i: so do its numbers.
        draft.focals.setdefault(i, weiszfeld_focal(pairs.points_i[hung]))
        if not {i, j} & draft.points.keys():
            waiting.append(edge)
            continue
        _hang(draft, pairs, edge)
        hung = edge
    return draft


def _hang(draft: _Draft, pairs: PairMaps, edge: int) -> None:
    """Registers a pair on whichever of its images is known, and so learns the other."""
    i, j = pairs.edges[edge]
    if i in draft.points:
        world_from_pair = _register(pairs.points_i[edge], draft.points[i], pairs.conf_i[edge])
        draft.points[j] = world_from_pair.points(pairs.points_j[edge])
    else:
        world_from_pair = _register(pairs.points_j[edge], draft.points[j], pairs.conf_j[edge])
        draft.points[i] = world_from_pair.points(pairs.points_i[edge])
    draft.poses.setdefault(i, _rigid_part(world_from_pair, like=pairs.conf_i))


def _spanning_tree(edges: Edges, images: int, score: list[float]) -> list[int]:
    """Indices of the maximum spanning tree's edges, the most confident first (Kruskal)."""
    part = list(range(images))
    tree = []
    for edge in sorted(range(len(edges)), key=lambda edge: -score[edge]):
        i, j = (part[end] for end in edges[edge])
        if i != j:
            part = [i if of == j else of for of in part]
            tree.append(edge)
    if len(tree) != images - 1:
        raise ValueError(f"the pairs connect only some of the {images} images; give a connected graph")
    return tree


def _cameras(pairs: PairMaps, draft: _Draft, config: TreeConfig) -> _Cameras:
    """From the tree, else by PnP on the image's world points."""
    usable = image_confidence(pairs) > config.min_conf
    score = pairs.conf_i.mean((1, 2)) * pairs.conf_j.mean((1, 2))
    for edge in score.argsort(descending=True).tolist():
        draft.focals.setdefault(pairs.edges[edge][0], weiszfeld_focal(pairs.points_i[edge]))
    cameras = [_camera(image, usable[image], draft, config) for image in range(pairs.images)]
    return _Cameras(torch.stack([pose for pose, _ in cameras]), torch.stack([focal for _, focal in cameras]))


def _camera(image: int, usable: Tensor, draft: _Draft, config: TreeConfig) -> tuple[Tensor, Tensor]:
    points, focal = draft.points[image], draft.focals.get(image)
    if image in draft.poses and focal is not None:
        return draft.poses[image], focal
    found = solve_pnp(
        points.cpu().numpy(),
        usable.cpu().numpy(),
        None if focal is None else float(focal),
        iterations=config.pnp_iterations,
    )
    if found is None:
        # Nothing explains the image: it starts at the origin with a usual lens, and the optimisation has the word.
        side = points.new_tensor(float(max(points.shape[:2])))
        return torch.eye(4, dtype=points.dtype, device=points.device), side if focal is None else focal
    return points.new_tensor(found.world_from_camera), points.new_tensor(found.focal)


def _register(source: Tensor, target: Tensor, weights: Tensor) -> Sim3:
    return weighted_sim3(source.reshape(-1, 3), target.reshape(-1, 3), weights.reshape(-1))


def _rigid_part(similarity: Sim3, like: Tensor) -> Tensor:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = similarity.rotation, similarity.translation
    return like.new_tensor(pose)
