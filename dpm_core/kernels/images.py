# SPDX-License-Identifier: Apache-2.0
"""Camera images to network inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ._checked import Arrays, one_of
from ._native import call, native, to_dlpack

_BYTES_OF = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "mono": 1}
_REACH_OF = {"bicubic": 2, "lanczos": 3}


def prepare_images(
    images: Tensor,
    resized: tuple[int, int],
    origin: tuple[int, int],
    size: tuple[int, int],
    *,
    channels: Literal["rgb", "bgr", "rgba", "bgra", "mono"] = "rgb",
    filter: Literal["bicubic", "lanczos"] = "bicubic",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    pad: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Resize whole images to `resized`, keep the box of `size` that begins at `origin`, and normalise it.

    The resize is the antialiased one of Pillow, rounding to 8 bits after each of its two passes as Pillow does, so
    that results are the same as of networks' own preprocessing. Opacity is laid over white before the resize.

    Args:
        images: [S, H, W, C] uint8, C as `channels` says; rows and frames may lie any distance apart.
        resized: (height, width) of the whole image after the resize.
        origin: (row, column) of the box's first pixel in the resized image; negative where the box begins before it.
        size: (height, width) of the box.
        channels: what the C bytes of a pixel are; mono gives three equal channels.
        filter: Keys' cubic (a = -1/2) or the windowed sinc of three lobes.
        mean: what is subtracted from values in [0, 1], for red, green and blue.
        std: what the difference is divided by.
        pad: value in [0, 1], before normalising, of pixels of the box outside the image.
        dtype: float32 or float16.

    Returns:
        [S, 3, height, width] of `dtype`, red, green, blue: (value / 255 - mean) / std, on the device of `images`.

    Raises:
        TypeError, ValueError: an argument is not as said above.
    """
    one_of("channels", channels, tuple(_BYTES_OF))
    one_of("filter", filter, tuple(_REACH_OF))
    Arrays()("images", images, torch.uint8, f"S H W {_BYTES_OF[channels]}", contiguous=False)
    frames, height, width, _ = images.shape
    _check_pixels_are_packed(images)
    _check_box(resized, size, (height, width))
    _check_normalisation(mean, std, pad, dtype)
    plan = _plan((height, width), tuple(resized), tuple(origin), tuple(size), filter, images.device)
    planes = images.new_empty((frames, 3, plan.needed_rows, plan.kept_columns))
    box = images.new_empty((frames, 3, *size), dtype=dtype)
    blue_first = channels in ("bgr", "bgra")
    resize = (*plan.columns, plan.first_row, *plan.rows, plan.corner)
    call(native.prepare_images, images, blue_first, *resize, list(mean), list(std), pad, planes, box)
    return box


class _Taps(NamedTuple):
    first: Tensor  # [outputs] int32
    counts: Tensor  # [outputs] int32
    weights: Tensor  # [outputs, most taps] int32


class _Plan(NamedTuple):
    columns: tuple[object, ...]  # _Taps as capsules, which keep them alive
    rows: tuple[object, ...]  # counted from first_row
    first_row: int
    needed_rows: int
    kept_columns: int
    corner: tuple[int, int]  # where the image begins in the box


@lru_cache(maxsize=64)
def _plan(
    source: tuple[int, int],
    resized: tuple[int, int],
    origin: tuple[int, int],
    size: tuple[int, int],
    filter: str,
    device: torch.device,
) -> _Plan:
    rows, columns = (_taps(*axis, filter) for axis in zip(source, resized, origin, size, strict=True))
    first_row = int(rows.first.min()) if len(rows.first) else 0
    needed_rows = int((rows.first + rows.counts).max()) - first_row if len(rows.first) else 0
    rows = rows._replace(first=rows.first - first_row)
    top, left = (max(0, -begin) for begin in origin)
    on_device = [tuple(to_dlpack(tensor.to(device)) for tensor in taps) for taps in (columns, rows)]
    return _Plan(on_device[0], on_device[1], first_row, needed_rows, len(columns.first), (top, left))


def _taps(inputs: int, outputs: int, origin: int, size: int, filter: str) -> _Taps:
    begin = min(max(0, origin), outputs)
    kept = max(0, min(outputs, origin + size) - begin)
    most = 2 * math.ceil(_REACH_OF[filter] * max(inputs / outputs, 1.0)) + 1
    shapes = ((kept,), (kept,), (kept, most))
    taps = _Taps(*(torch.empty(shape, dtype=torch.int32) for shape in shapes))
    native.resample_taps(inputs, outputs, begin, filter == "lanczos", *map(to_dlpack, taps))
    return taps


def _check_pixels_are_packed(images: Tensor) -> None:
    _, _, width, bytes_a_pixel = images.shape
    if images.numel() and (images.stride(3) != 1 or (width > 1 and images.stride(2) != bytes_a_pixel)):
        raise ValueError(f"images must have pixels side by side in a row, not strides {list(images.stride())}")
    if images.numel() and (images.stride(0) < 0 or images.stride(1) < 0):
        raise ValueError("images must have rows in order of memory")


def _check_box(resized: Sequence[int], size: Sequence[int], source: tuple[int, int]) -> None:
    for name, pair in (("resized", resized), ("size", size), ("the images' size", source)):
        if len(pair) != 2 or min(pair) < 1:
            raise ValueError(f"{name} must be (height, width), both > 0, not {tuple(pair)}")


def _check_normalisation(mean: Sequence[float], std: Sequence[float], pad: float, dtype: torch.dtype) -> None:
    if dtype not in (torch.float32, torch.float16):
        raise TypeError(f"dtype must be torch.float32 or torch.float16, not {dtype}")
    for name, triple in (("mean", mean), ("std", std)):
        if len(triple) != 3 or not all(map(math.isfinite, triple)):
            raise ValueError(f"{name} must be three finite numbers, not {tuple(triple)}")
    if 0 in std:
        raise ValueError(f"std must not be zero, not {tuple(std)}")
    if not math.isfinite(pad):
        raise ValueError(f"pad must be finite, not {pad}")
