# SPDX-License-Identifier: Apache-2.0
"""Which pixels of an alignment move, and which of its points are seen through.

Sources: reference sheet §5 (MonST3R), §7.3 (POMATO), §4.2 (cleaning).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..cameras import inverse_rigid, pixel_grid, project, transform
from ..pair_viewer import view_pair
from ..pairs import PairMaps, reversed_index
from .flow import ego_flow


def motion_masks(pairs: PairMaps, flow_ij: Tensor, threshold: float = 0.35) -> Tensor:
    """Pixels whose measured flow is not the camera's, by images: MonST3R's rule.

    The error of every pair, |ego flow − flow| with the cameras of the pair viewer, is brought to 0…1 by its own least
    and largest value; an image's mask is where the mean over its pairs exceeds the threshold.

    Args:
        pairs: with every edge in both directions.
        flow_ij: [E, H, W, 2] measured flow from i to j, pixels.
        threshold: of the mean.

    Returns:
        [N, H, W] bool.

    Raises:
        ValueError: an edge stands there in one direction only.
    """
    errors: dict[int, list[Tensor]] = {image: [] for image in range(pairs.images)}
    for edge, back in enumerate(reversed_index(pairs.edges)):
        if edge < back:
            i, j = pairs.edges[edge]
            forward, backward = _ego_flows(pairs, edge, back)
            errors[i].append(_spread((forward - flow_ij[edge]).norm(dim=-1)))
            errors[j].append(_spread((backward - flow_ij[back]).norm(dim=-1)))
    return torch.stack([torch.stack(of_image).mean(0) > threshold for of_image in errors.values()])


def _ego_flows(pairs: PairMaps, edge: int, back: int) -> tuple[Tensor, Tensor]:
    """[H, W, 2] i → j and j → i, from these two pairs alone."""
    pick = [edge, back]
    maps = (pairs.points_i[pick], pairs.conf_i[pick], pairs.points_j[pick], pairs.conf_j[pick])
    views = view_pair(PairMaps(((0, 1), (1, 0)), *maps))
    K, poses = views.intrinsics, views.world_from_camera
    forward = ego_flow(views.depth[0], K[0], K[1], poses[0], poses[1])
    return forward, ego_flow(views.depth[1], K[1], K[0], poses[1], poses[0])


def _spread(error: Tensor) -> Tensor:
    return (error - error.min()) / (error.max() - error.min()).clamp(min=torch.finfo(error.dtype).tiny)


def matching_pair_masks(pairs: PairMaps, factor: float = 0.1) -> Tensor:
    """Pixels of i that move between j's time and i's, by pairs: POMATO's rule.

    |matched − points| of the reversed pair (i's pixels, camera j) > factor × its mean over the map.

    Returns:
        [E, H, W] bool.

    Raises:
        ValueError: there are no matched points, or an edge stands there in one direction only.
    """
    return _mean_relative(_displacement(pairs)[list(reversed_index(pairs.edges))], factor)


def matching_frame_masks(pairs: PairMaps, factor: float = 0.4) -> Tensor:
    """POMATO's masks by images: that of the pair (t, t + 1), all False for the last image.

    Returns:
        [N, H, W] bool.

    Raises:
        ValueError: there are no matched points, or a pair of neighbours is missing.
    """
    missing = [t for t in range(pairs.images - 1) if (t, t + 1) not in pairs.edges]
    if missing:
        raise ValueError(f"pairs of neighbours are needed; ({missing[0]}, {missing[0] + 1}) is missing")
    neighbours = [pairs.edges.index((t, t + 1)) for t in range(pairs.images - 1)]
    masks = torch.zeros(pairs.images, *pairs.size, dtype=torch.bool, device=pairs.conf_i.device)
    masks[:-1] = _mean_relative(_displacement(pairs)[neighbours], factor)
    return masks


def matching_flow(pairs: PairMaps, intrinsics: Tensor, epsilon: float = 1e-6) -> Tensor:
    """[E, H, W, 2] flow from i to j, in pixels, where POMATO's matched points land in camera j: K X / z − pixel.

    Args:
        pairs: with matched points and every edge in both directions.
        intrinsics: [N, 3, 3] pixels.
        epsilon: added to the depth.
    """
    matched, (_, j) = _matched(pairs)[list(reversed_index(pairs.edges))], pairs.ends()
    landed = project(matched, intrinsics[j], epsilon)
    return landed - pixel_grid(landed[..., 0])


def cleaned_confidence(
    conf: Tensor, depth: Tensor, points: Tensor, intrinsics: Tensor, world_from_camera: Tensor, tolerance: float = 1e-3
) -> Tensor:
    """Confidence with zeros at points that stand in front of what a more confident image sees there.

    Args:
        conf: [N, H, W].
        depth: [N, H, W] of every image.
        points: [N, H, W, 3] world points of every image.
        intrinsics: [N, 3, 3] pixels.
        world_from_camera: [N, 4, 4].
        tolerance: a point may be nearer by this part of the seen depth.

    Returns:
        [N, H, W].
    """
    cleaned = conf.clone()
    camera_from_world = inverse_rigid(world_from_camera)
    for i in range(len(conf)):
        for j in range(len(conf)):
            if i != j:
                in_j = transform(camera_from_world[j], points[i])
                pixel = project(in_j, intrinsics[j]).round()
                inside = _inside(pixel, in_j[..., 2])
                u, v = (pixel[..., axis].nan_to_num(0.0, 0.0, 0.0).long() for axis in (0, 1))
                u, v = u.clamp(0, conf.shape[2] - 1), v.clamp(0, conf.shape[1] - 1)
                before = in_j[..., 2] < (1 - tolerance) * depth[j, v, u]
                cleaned[i][inside & before & (cleaned[i] < cleaned[j, v, u])] = 0
    return cleaned


def _inside(pixel: Tensor, depth: Tensor) -> Tensor:
    height, width = depth.shape
    limits = pixel.new_tensor([width - 1, height - 1])
    return (depth > 0) & ((pixel >= 0) & (pixel <= limits)).all(-1)


def _matched(pairs: PairMaps) -> Tensor:
    if pairs.matched_j is None:
        raise ValueError("the pairs hold no matched points; they come from POMATO's matching head")
    return pairs.matched_j


def _displacement(pairs: PairMaps) -> Tensor:
    """[E, H, W] how far j's content moved between the two times."""
    distance: Tensor = (_matched(pairs) - pairs.points_j).norm(dim=-1)
    return distance


def _mean_relative(displacement: Tensor, factor: float) -> Tensor:
    return displacement > factor * displacement.mean((1, 2), keepdim=True)
