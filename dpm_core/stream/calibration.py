# SPDX-License-Identifier: Apache-2.0
"""A known camera in place of the estimated one: what a network saw with its own focal length, as it truly is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..geometry.cameras import pixel_grid
from ..geometry.fit import Fit
from ..geometry.resection import resect
from ..geometry.undistort import seen_through, undistort, undistort_depth
from ..kernels import prepare_images
from ..types import Float64, Frame, Lens, Prediction

_MOST_PIXELS = 512  # a pose has six numbers


def straightened(frame: Frame) -> Frame:
    """The frame as a pinhole camera with its intrinsics would have taken it, depth too.

    Raises:
        DpmError: the lens cannot be meant.
    """
    if frame.lens is None or frame.intrinsics is None:
        return frame
    height, width = frame.image.shape[:2]
    depth = frame.depth
    if depth is not None:
        depth = undistort_depth(depth, frame.lens, frame.intrinsics, (height, width))
    return replace(frame, image=undistort(frame.image, frame.lens, frame.intrinsics), lens=None, depth=depth)


def calibrated(prediction: Prediction, frame: Frame, fit: Fit) -> Prediction:
    """The prediction as the calibrated camera makes it; itself where the camera is not calibrated.

    Args:
        prediction: of one window, all of whose frames this camera took.
        frame: one of them, as it came.
        fit: how its image was brought to the network's size.
    """
    if frame.intrinsics is None:
        return prediction
    if frame.lens is not None:
        prediction = _without(prediction, ~_seen(frame.lens, frame.intrinsics, fit))
    return with_intrinsics(prediction, fit.intrinsics(frame.intrinsics))


def _seen(lens: Lens, intrinsics: Float64, fit: Fit) -> Tensor:
    """[H, W] bool, the network's pixels that show something."""
    straight = seen_through(lens, intrinsics, fit.source).astype(np.uint8)[None, ..., None]
    box = prepare_images(torch.from_numpy(straight * 255), fit.resized, fit.origin, fit.size, channels="mono", pad=0.0)
    return box[0, 0] == 1


def _without(prediction: Prediction, unseen: Tensor) -> Prediction:
    """Nothing is known at these pixels. unseen: [H, W] bool."""
    unseen = unseen.to(prediction.own_conf.device)
    return replace(
        prediction,
        own_points=prediction.own_points.masked_fill(unseen[..., None], torch.nan),
        own_conf=prediction.own_conf.masked_fill(unseen, 0.0),
        points=prediction.points.masked_fill(unseen[..., None], torch.nan),
        conf=prediction.conf.masked_fill(unseen, 0.0),
    )


def with_intrinsics(prediction: Prediction, intrinsics: Float64) -> Prediction:
    """The prediction with the true camera matrix in place of the network's.

    A network that takes the camera matrix for K̂ sees every point of its reference camera on the ray K̂⁻¹ u of a
    pixel u that truly lies on K⁻¹ u. So points x̂ become K⁻¹ K̂ x̂: depth stays, rays are the true ones. Cameras are
    placed anew where their own points fall on their own pixels (resection), so that maps, poses and intrinsics agree.

    Args:
        prediction: of one window, all of whose frames this camera took.
        intrinsics: K, [3, 3] float64, pixels of the network's images.
    """
    K = torch.from_numpy(intrinsics).to(prediction.own_points)
    true_from_seen = torch.linalg.inv(K.double()) @ prediction.intrinsics[0].double()
    linear = true_from_seen.to(prediction.own_points).mT
    own_points = prediction.own_points @ linear
    poses = _placed(own_points, prediction.own_conf, K, _moved(prediction.world_from_camera, true_from_seen))
    return replace(
        prediction,
        own_points=own_points,
        points=prediction.points @ linear,
        world_from_camera=poses.to(prediction.world_from_camera),
        intrinsics=K.expand_as(prediction.intrinsics),
    )


def _moved(world_from_camera: Tensor, linear: Tensor) -> Tensor:
    """The network's own poses among the moved points: the nearest rotation to A R A⁻¹, and A t. [S, 4, 4] float64."""
    poses = world_from_camera.double().cpu()
    A = linear.cpu()
    U, _, Vt = torch.linalg.svd(A @ poses[:, :3, :3] @ torch.linalg.inv(A))
    poses[:, :3, :3] = U @ Vt
    poses[:, :3, 3] = poses[:, :3, 3] @ A.mT
    return poses


def _placed(points: Tensor, conf: Tensor, intrinsics: Tensor, guess: Tensor) -> Tensor:
    """world_from_camera [S, 4, 4] of the cameras that see their [S, H, W, 3] points at their pixels."""
    height, width = conf.shape[1:]
    step = max(1, round((height * width / _MOST_PIXELS) ** 0.5))
    pixels = pixel_grid(conf[0].double().cpu())[::step, ::step].reshape(-1, 2)
    seen, weights = (each[:, ::step, ::step].double().cpu().flatten(1, 2) for each in (points, conf))
    return resect(seen, pixels, weights, intrinsics.double().cpu(), guess)
