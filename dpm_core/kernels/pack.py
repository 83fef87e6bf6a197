# SPDX-License-Identifier: Apache-2.0
"""Clouds to the bytes of PointCloud2 messages."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ._checked import Arrays
from ._native import call, native

if TYPE_CHECKING:
    from typing_extensions import Buffer

_UINT8, _FLOAT32 = 2, 7  # sensor_msgs/PointField


class CloudField(NamedTuple):
    """What sensor_msgs/PointField says of a field; the count is 1."""

    name: str
    offset: int
    datatype: int


class CloudLayout(NamedTuple):
    """Fields of a packed point, in order of offset, and the bytes from one point to the next."""

    fields: tuple[CloudField, ...]
    step: int


@cache
def cloud_layout(
    *, colors: bool = True, confidence: bool = False, velocity: bool = False, dynamic: bool = False
) -> CloudLayout:
    """The layout of pack_cloud: x y z, then rgb, confidence, vx vy vz and dynamic as asked; little endian.

    With colours it is the 16 bytes x y z rgb; with confidence and velocity too it is 32 bytes. Bytes between the last
    field and the step, a multiple of 16, are zero.
    """
    offsets, step = native.cloud_layout(colors, confidence, velocity, dynamic)
    kinds = {"dynamic": _UINT8}
    fields = (CloudField(name, offset, kinds.get(name, _FLOAT32)) for name, offset in offsets.items())
    return CloudLayout(tuple(fields), step)


def pack_cloud(
    points: Tensor,
    colors: Tensor | None = None,
    confidence: Tensor | None = None,
    velocity: Tensor | None = None,
    dynamic: Tensor | None = None,
    *,
    organized: bool = False,
    out: Tensor | Buffer | None = None,
) -> Tensor:
    """The data of a PointCloud2 with the arrays that are given, laid out as `cloud_layout` of the same says.

    Args:
        points: [N, 3] float32.
        colors: [N, 3] uint8, red, green, blue; packed 0x00RRGGBB into the bits of the float32 field rgb.
        confidence: [N] float32.
        velocity: [N, 3] float32.
        dynamic: [N] bool, one byte 0 or 1.
        organized: keep every point in its place; else only the finite ones are written, in order.
        out: where to write: contiguous uint8 of N · step bytes or more on the device of `points` or (pinned or not)
            in host memory; a tensor, or anything writable with a buffer, such as the array.array of a message.

    Returns:
        [M · step] uint8, the bytes written: the first of `out` where it is given. On CUDA, without `organized` or with
        an `out` in host memory, the call waits for the stream.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    check = Arrays()
    check("points", points, torch.float32, "N 3")
    if colors is not None:
        check("colors", colors, torch.uint8, "N 3")
    if confidence is not None:
        check("confidence", confidence, torch.float32, "N")
    if velocity is not None:
        check("velocity", velocity, torch.float32, "N 3")
    if dynamic is not None:
        check("dynamic", dynamic, torch.bool, "N")
    if len(points) >= 1 << 31:
        raise ValueError(f"points must be fewer than 2^31, not {len(points)}")
    step = _step(colors is not None, confidence is not None, velocity is not None, dynamic is not None)
    needed = points.shape[0] * step
    target = points.new_empty(needed, dtype=torch.uint8) if out is None else _writable(out, needed, step)
    on_device = target if target.device == points.device else points.new_empty(needed, dtype=torch.uint8)
    counts = points.new_empty(native.PACK_SCRATCH_COUNTS, dtype=torch.int32) if points.is_cuda else None
    fields = (colors, confidence, velocity, dynamic)
    written = step * call(native.pack_cloud, points, *fields, organized, on_device, counts)
    if on_device is not target:
        target[:written].copy_(on_device[:written])
    return target[:written]


@cache
def _step(colors: bool, confidence: bool, velocity: bool, dynamic: bool) -> int:
    return cloud_layout(colors=colors, confidence=confidence, velocity=velocity, dynamic=dynamic).step


def _writable(out: Tensor | Buffer, needed: int, step: int) -> Tensor:
    if not isinstance(out, Tensor):
        view = memoryview(out)
        if view.readonly:
            raise ValueError("out must be writable")
        if not view.contiguous or view.itemsize != 1:
            raise ValueError("out must be contiguous bytes")
        out = torch.frombuffer(view, dtype=torch.uint8) if view.nbytes else torch.empty(0, dtype=torch.uint8)
    Arrays()("out", out, torch.uint8, "BYTES")
    if out.is_cuda and out.data_ptr() % 16:
        raise ValueError("out must begin at a multiple of 16 bytes on CUDA")
    if len(out) < needed:
        raise ValueError(f"out must have {needed} bytes ({needed // step} points of {step}) or more, not {len(out)}")
    return out
