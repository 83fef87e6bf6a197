# SPDX-License-Identifier: Apache-2.0
"""Argument checks shared by all kernels: one line per array, messages that name what is wrong."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, device, dtype

from ._native import native, to_dlpack


@cache
def _axes(shape: str) -> tuple[str | int, ...]:
    return tuple(int(axis) if axis.isdigit() else axis for axis in shape.split())


class Arrays:
    """Checks arrays one after another; letters in a shape bind to the first size they meet."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, str]] = {}
        self._first: tuple[device, str] | None = None
        self._all_on_cpu = False

    def __call__(self, name: str, array: Tensor, kind: dtype, shape: str, *, contiguous: bool = True) -> None:
        """Require `array` to be a `kind` tensor of `shape`, such as "S H W 3", on the same device as the others."""
        if not isinstance(array, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, not {type(array).__name__}")
        if array.dtype is not kind:
            raise TypeError(f"{name} must be {kind}, not {array.dtype}")
        if array.requires_grad:
            raise ValueError(f"{name} requires grad, which kernels do not give: pass {name}.detach()")
        self._check_shape(name, array, shape)
        if not (array.is_cpu and self._all_on_cpu):
            self._check_device(name, array)
        if contiguous and not array.is_contiguous():
            raise ValueError(f"{name} must be contiguous")

    def _check_device(self, name: str, array: Tensor) -> None:
        if self._first is None:
            if not (array.is_cpu or array.is_cuda):
                raise ValueError(f"{name} must be on the CPU or a CUDA device, not {array.device}")
            self._first = (array.device, name)
            self._all_on_cpu = array.is_cpu
        elif array.device != self._first[0]:
            raise ValueError(f"{name} is on {array.device}, {self._first[1]} on {self._first[0]}")

    def _check_shape(self, name: str, array: Tensor, shape: str) -> None:
        axes, sizes = _axes(shape), array.shape
        if len(axes) != len(sizes):
            raise ValueError(f"{name} must be [{shape}], not {list(sizes)}")
        for axis, size in zip(axes, sizes):  # noqa: B905 (as long, and asked for every array of every call)
            wanted, origin = (axis, "") if isinstance(axis, int) else self._sizes.setdefault(axis, (size, name))
            if size != wanted:
                because = f" ({axis} = {wanted} from {origin})" if origin else ""
                raise ValueError(f"{name} must be [{shape}]{because}, not {list(sizes)}")


def positive(name: str, value: float) -> None:
    """Require a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and > 0, not {value}")


def not_negative(name: str, value: float) -> None:
    """Require a finite number, zero or above."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and >= 0, not {value}")


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Require one of the known words."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def finite(name: str, array: Tensor) -> None:
    """Require a small float32 array without infinities and NaN.

    On CUDA this waits for the stream; while a graph is captured, where nothing may wait, it is left out.
    """
    if not array.is_cuda:
        good = native.all_finite(to_dlpack(array))
    else:
        good = torch.cuda.is_current_stream_capturing() or bool(torch.isfinite(array).all())
    if not good:
        raise ValueError(f"{name} must be finite")
