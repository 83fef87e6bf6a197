# SPDX-License-Identifier: Apache-2.0
"""How a camera image is brought to a network's size: resized, then cropped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..errors import DpmError
from ..types import Float64


@dataclass(frozen=True)
class Fit:
    """Resize the whole image to `resized`, then keep the box of `size` whose first pixel is `origin`.

    Attributes:
        source: (height, width) of the camera image.
        resized: (height, width) after resizing, before cropping.
        origin: (row, column) of the kept box in the resized image; negative where the image is padded.
        size: (height, width) that the network sees.
        filter: the antialiased resampling filter, "bicubic" or "lanczos".
        pad: what is around the image, 0 black … 1 white.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    origin: tuple[int, int]
    size: tuple[int, int]
    filter: Literal["bicubic", "lanczos"] = "bicubic"
    pad: float = 1.0

    def intrinsics(self, source_intrinsics: Float64) -> Float64:
        """Camera matrix of the fitted image. source_intrinsics: [3, 3] pixels, centres at integers -> the same kind."""
        scale_y, scale_x = (new / old for new, old in zip(self.resized, self.source, strict=True))
        fitted = np.array(source_intrinsics, np.float64)
        fitted[0] *= scale_x
        fitted[1] *= scale_y
        # Pixel areas scale about the image's corner, half a pixel before the first pixel's centre.
        fitted[0, 2] += 0.5 * scale_x - 0.5 - self.origin[1]
        fitted[1, 2] += 0.5 * scale_y - 0.5 - self.origin[0]
        return fitted


def fit_width(height: int, width: int, target: int = 518, patch: int = 14) -> Fit:
    """VGGT's rule "crop": the width becomes `target`, the height follows in whole patches, rows beyond `target` go.

    Source: reference sheet §2.7.
    """
    resized = max(patch, round(height * (target / width) / patch) * patch)
    size = min(resized, target)
    return Fit((height, width), (resized, target), ((resized - size) // 2, 0), (size, target))


def fit_landscape(height: int, width: int, target: int = 518, patch: int = 14) -> Fit:
    """V-DPM's rule: as `fit_width`, and what would have to be cropped is refused.

    Raises:
        DpmError: the image is higher than wide.
    """
    fit = fit_width(height, width, target, patch)
    if fit.resized != fit.size:
        raise DpmError(
            f"image is {width} x {height}: V-DPM takes no portrait images; turn or crop it to at least square"
        )
    return fit


def fit_padded(height: int, width: int, target: int = 518, patch: int = 14) -> Fit:
    """VGGT's rule "pad": the longer side becomes `target`, the other follows in whole patches, white makes it square.

    Source: reference sheet §2.7.
    """
    scale = target / max(height, width)
    resized_height, resized_width = (
        target if side == max(height, width) else max(patch, round(side * scale / patch) * patch)
        for side in (height, width)
    )
    origin = (-((target - resized_height) // 2), -((target - resized_width) // 2))
    return Fit((height, width), (resized_height, resized_width), origin, (target, target))


def fit_dust3r(height: int, width: int, target: int = 512, patch: int = 16, square_ok: bool = False) -> Fit:
    """DUSt3R's rule at 512: the longer side becomes `target`, then the middle is kept in whole patches.

    A square image is cropped to 4:3 unless `square_ok`. Source: reference sheet §4.1.

    Raises:
        DpmError: the image is so narrow that not one patch is left.
    """
    longer = max(height, width)
    resized_height, resized_width = (round(side * target / longer) for side in (height, width))
    # Sides are cut about the pixel in the middle, whole patches in all.
    half_height, half_width = ((2 * (side // 2)) // patch * (patch // 2) for side in (resized_height, resized_width))
    if resized_height == resized_width and not square_ok:
        half_height = 3 * half_width // 4
    if not (half_height and half_width):
        raise DpmError(
            f"image is {width} x {height}: at {target} pixels its shorter side is less than a patch of {patch}; crop it"
        )
    return _about_the_middle((height, width), (resized_height, resized_width), (half_height, half_width))


def fit_dust3r_square(height: int, width: int, target: int = 224) -> Fit:
    """DUSt3R's rule at 224: the shorter side becomes `target`, then the middle square is kept.

    Source: reference sheet §4.1.
    """
    longer = round(target * max(width / height, height / width))
    resized_height, resized_width = (round(side * longer / max(height, width)) for side in (height, width))
    half = min(resized_height, resized_width) // 2
    return _about_the_middle((height, width), (resized_height, resized_width), (half, half))


def _about_the_middle(source: tuple[int, int], resized: tuple[int, int], half: tuple[int, int]) -> Fit:
    origin = (resized[0] // 2 - half[0], resized[1] // 2 - half[1])
    shrinks = max(source) > max(resized)
    return Fit(source, resized, origin, (2 * half[0], 2 * half[1]), "lanczos" if shrinks else "bicubic")


def widened(fit: Fit, size: tuple[int, int]) -> Fit:
    """The same image in the middle of a larger box: how VGGT's loader makes images of one batch equal in size."""
    top, left = ((new - old) // 2 for new, old in zip(size, fit.size, strict=True))
    return replace(fit, origin=(fit.origin[0] - top, fit.origin[1] - left), size=size)


def fit_inside(height: int, width: int, size: tuple[int, int]) -> Fit:
    """A fixed size from any image: resized until both sides are covered, then the middle is kept.

    For networks that were exported for one size; the families' own rules above come first where they give that size.
    """
    scale = max(size[0] / height, size[1] / width)
    resized = (max(size[0], round(height * scale)), max(size[1], round(width * scale)))
    origin = ((resized[0] - size[0]) // 2, (resized[1] - size[1]) // 2)
    return Fit((height, width), resized, origin, size)
