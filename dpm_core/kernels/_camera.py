# SPDX-License-Identifier: Apache-2.0
"""Small matrices that are passed by value: on the CPU, whatever the points are on; entries are checked natively."""

from __future__ import annotations

import torch
from torch import Tensor


def matrix(name: str, array: Tensor, size: int) -> None:
    """Require a square float32 or float64 matrix on the CPU."""
    if not isinstance(array, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(array).__name__}")
    if array.dtype is not torch.float32 and array.dtype is not torch.float64:
        raise TypeError(f"{name} must be torch.float32 or torch.float64, not {array.dtype}")
    if array.shape != (size, size):
        raise ValueError(f"{name} must be [{size}, {size}], not {list(array.shape)}")
    if array.is_cuda or array.requires_grad:
        raise ValueError(f"{name} must be on the CPU, whatever the points are on, and not require grad")


def camera(world_from_camera: Tensor, intrinsics: Tensor) -> None:
    """Require the two matrices of a pinhole camera."""
    matrix("world_from_camera", world_from_camera, 4)
    matrix("intrinsics", intrinsics, 3)
