# SPDX-License-Identifier: Apache-2.0
"""Cameras from points whose pixels are known, beginning with a guess: resection by Levenberg-Marquardt, batched.

Unlike PnP in RANSAC (`pnp.py`) the answer is a smooth function of its input: the same on every machine.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .cameras import inverse_rigid, rigid

_ROUNDS = 3  # of a new width of the robust loss each
_STEPS = 8  # a round at most
_CONVERGED = 1e-9  # radians and units of depth, of a step


def resect(points: Tensor, pixels: Tensor, weights: Tensor, intrinsics: Tensor, world_from_camera: Tensor) -> Tensor:
    """The poses that minimise Σ wᵢ c² log(1 + ‖π(K (R Xᵢ + t)) − uᵢ‖² / c²), Cauchy's loss of the reprojection errors.

    c is twice the median error of a camera, anew for each of three rounds. A step is taken only where it lessens the
    sum: the answer explains the pixels no worse than the guess.

    Args:
        points: [S, N, 3] float64, in the world; not finite where there is none.
        pixels: [N, 2] float64, of the points in every camera.
        weights: [S, N] float64, >= 0.
        intrinsics: [3, 3] float64, pixels.
        world_from_camera: [S, 4, 4] float64, the guess.

    Returns:
        [S, 4, 4] float64, world_from_camera.
    """
    known = points.isfinite().all(-1)
    points = points.where(known[..., None], 0)
    weights = weights.where(known, 0).nan_to_num(0.0)
    problem = _Problem(points, pixels, weights, intrinsics)
    pose = inverse_rigid(world_from_camera)
    for _ in range(_ROUNDS):
        pose = _descend(problem, pose, problem.width(pose))
    return inverse_rigid(pose)


class _Problem:
    """Points and their pixels, with poses as camera_from_world [S, 4, 4]."""

    def __init__(self, points: Tensor, pixels: Tensor, weights: Tensor, intrinsics: Tensor) -> None:
        self._points, self._pixels, self._weights = points, pixels, weights
        self._focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]])
        self._centre = intrinsics[:2, 2]

    def errors(self, pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[S, N, 2] reprojection errors, [S, N, 3] points in the camera, [S, N] weights, 0 behind it."""
        local = self._points @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
        before = local[..., 2] > 1e-9
        local = local.where(before[..., None], 1.0)
        errors = self._focal * local[..., :2] / local[..., 2:] + self._centre - self._pixels
        return errors, local, self._weights * before

    def width(self, pose: Tensor) -> Tensor:
        """[S] c, pixels."""
        errors, _, weights = self.errors(pose)
        size = errors.norm(dim=-1).where(weights > 0, torch.nan)
        median: Tensor = size.nanmedian(-1).values
        return (2 * median).nan_to_num(1.0).clamp_min(1e-6)

    def cost(self, pose: Tensor, width: Tensor) -> Tensor:
        """[S] the sum; infinite where a point has gone behind its camera."""
        errors, _, weights = self.errors(pose)
        loss = weights * torch.log1p(errors.square().sum(-1) / width[:, None].square())
        gone = (weights > 0).sum(-1) < (self._weights > 0).sum(-1)
        return loss.sum(-1).masked_fill(gone, torch.inf)

    def normal_equations(self, pose: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """JᵀWJ [S, 6, 6] and JᵀWe [S, 6], of a turn about the camera's axes and a shift along them."""
        errors, local, weights = self.errors(pose)
        x, y, z = local.unbind(-1)
        none = torch.zeros_like(z)
        along_u = torch.stack([1 / z, none, -x / z**2], -1) * self._focal[0]
        along_v = torch.stack([none, 1 / z, -y / z**2], -1) * self._focal[1]
        J = torch.cat([torch.cat([torch.linalg.cross(local, row), row], -1) for row in (along_u, along_v)], 1)
        robust = weights / (1 + errors.square().sum(-1) / width[:, None].square())
        weighted = J.mT * robust.repeat(1, 2)[:, None]
        return weighted @ J, (weighted @ errors.mT.flatten(1)[..., None])[..., 0]


def _descend(problem: _Problem, pose: Tensor, width: Tensor) -> Tensor:
    cost = problem.cost(pose, width)
    damping = torch.full_like(width, 1e-4)
    for _ in range(_STEPS):
        H, gradient = problem.normal_equations(pose, width)
        diagonal = H.diagonal(dim1=-2, dim2=-1)
        damped = H + torch.diag_embed(damping[:, None] * diagonal + 1e-12 * (1 + diagonal.amax(-1, keepdim=True)))
        step = -torch.linalg.solve_ex(damped, gradient[..., None]).result[..., 0]
        step = step.where(step.isfinite().all(-1, keepdim=True), 0.0)
        tried = _moved(pose, step)
        new_cost = problem.cost(tried, width)
        better = new_cost < cost
        pose = tried.where(better[:, None, None], pose)
        cost = new_cost.where(better, cost)
        damping = (damping * torch.where(better, 0.1, 10.0)).clamp(1e-12, 1e6)
        if bool((step.abs().amax(-1) < _CONVERGED).all()):
            break
    return pose


def _moved(pose: Tensor, step: Tensor) -> Tensor:
    """exp(turn) and shift applied after camera_from_world. step: [S, 6] -> [S, 4, 4]."""
    turn, shift = step[:, :3], step[:, 3:]
    eye = torch.eye(3, dtype=pose.dtype, device=pose.device)
    cross = torch.linalg.cross(turn[:, None], eye.expand(len(pose), 3, 3)).mT  # [turn]×: its columns are turn × eᵢ
    angle = turn.norm(dim=-1)[:, None, None]
    sine, cosine = torch.sinc(angle / torch.pi), 0.5 * torch.sinc(angle / (2 * torch.pi)).square()
    rotation = eye + sine * cross + cosine * cross @ cross  # Rodrigues
    return rigid(rotation @ pose[:, :3, :3], (rotation @ pose[:, :3, 3:])[..., 0] + shift)
