# SPDX-License-Identifier: Apache-2.0
"""Decoded image files to network images, by the rules of each family's own loader.

Source: reference sheet §2.7 (VGGT), §4.1 (DUSt3R).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import DpmError
from ..kernels import prepare_images
from ..types import Float64, UInt8
from .fit import Fit, fit_dust3r, fit_dust3r_square, fit_landscape, fit_padded, fit_width

_CHANNELS: dict[int, Literal["mono", "rgb", "rgba"]] = {1: "mono", 3: "rgb", 4: "rgba"}


@dataclass(frozen=True)
class Loader:
    """How a family reads an image file.

    Attributes:
        fit: (height, width) -> how the image is brought to a size that the network takes.
        orientation: whether the file's EXIF orientation is applied.
        opacity: whether transparent images are laid over white; where not, the opacity is dropped.
    """

    fit: Callable[[int, int], Fit]
    orientation: bool
    opacity: bool


VGGT_CROP = Loader(fit_width, orientation=False, opacity=True)
VGGT_PAD = Loader(fit_padded, orientation=False, opacity=True)
VDPM_LOADER = Loader(fit_landscape, orientation=False, opacity=True)
DUST3R_512 = Loader(fit_dust3r, orientation=True, opacity=False)
DUST3R_224 = Loader(fit_dust3r_square, orientation=True, opacity=False)


def load_image(pixels: UInt8, loader: Loader, orientation: int = 1) -> Tensor:
    """One decoded file as the family's network sees it.

    Args:
        pixels: [H, W] grey, [H, W, 3] RGB or [H, W, 4] RGB and opacity, as stored in the file.
        loader: the family's rule.
        orientation: the file's EXIF orientation, 1 to 8.

    Returns:
        [3, h, w] float32 in [0, 1], RGB. DUSt3R's family expects 2 x - 1, which its networks do themselves.

    Raises:
        DpmError: the orientation is none, the image has another number of channels, or the rule refuses it.
    """
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if loader.orientation:
        pixels = upright(pixels, orientation)
    if pixels.shape[2] == 4 and not loader.opacity:
        pixels = pixels[..., :3]
    height, width, _ = pixels.shape
    return fitted(torch.from_numpy(np.array(pixels, order="C"))[None], loader.fit(height, width))[0]


def fitted(images: Tensor, fit: Fit) -> Tensor:
    """Resized, cropped and padded images.

    Args:
        images: [S, H, W, C] uint8 of the size `fit.source`; C = 1 grey, 3 RGB, 4 RGB and opacity, laid over white.
        fit: one of the rules in `fit`.

    Returns:
        [S, 3, h, w] float32 in [0, 1], RGB, of the size `fit.size`.

    Raises:
        DpmError: the images have another number of channels.
    """
    channels = _CHANNELS.get(images.shape[3])
    if channels is None:
        raise DpmError(f"image has {images.shape[3]} channels; give grey, RGB, or RGB with opacity")
    return prepare_images(images, fit.resized, fit.origin, fit.size, channels=channels, filter=fit.filter, pad=fit.pad)


def load_square(pixels: UInt8, target: int = 518) -> tuple[Tensor, Float64]:
    """VGGT's square loader, for reconstructions whose cameras must be known in the original image's pixels.

    Args:
        pixels: [H, W], [H, W, 3] or [H, W, 4] uint8, as stored in the file.
        target: side of the result.

    Returns:
        [3, target, target] float32 in [0, 1]: made square with black first, then resized; and [6] float64,
        left, top, right, bottom of the original image in the result, then its width and height.
    """
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, channels = pixels.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side, channels), np.uint8)
    if channels == 4:
        square[..., 3] = 255
    square[top : top + height, left : left + width] = pixels
    image = fitted(torch.from_numpy(square)[None], Fit((side, side), (target, target), (0, 0), (target, target)))[0]
    corners = np.array([left, top, left + width, top + height]) * (target / side)
    return image, np.append(corners, [width, height])


# What each EXIF orientation asks for: mirror left and right, then turn left by quarters.
_TURNS = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}


def upright(pixels: UInt8, orientation: int) -> UInt8:
    """The image as it is to be seen. pixels: [H, W, C]; orientation: EXIF, 1 to 8.

    Raises:
        DpmError: the orientation is none of these.
    """
    if orientation not in _TURNS:
        raise DpmError(f"EXIF orientation {orientation} is not one of 1 to 8; rewrite the file's orientation tag")
    mirrored, quarters = _TURNS[orientation]
    return np.rot90(pixels[:, ::-1] if mirrored else pixels, quarters)
