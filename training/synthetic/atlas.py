# SPDX-License-Identifier: Apache-2.0
"""Pictures to paint with: pages of marks like writing, collages, photographs of a folder; each with blurred levels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dpm_core.errors import DpmError

LEVELS = 5
_RESOLUTION = 128
_PAGES, _COLLAGES = 12, 28
_PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(frozen=True)
class Atlas:
    """All pictures in one volume, so that one lookup reads any of them at any level.

    Attributes:
        volume: [1, 3, (pages + pictures) · LEVELS, R, R] float32 linear RGB; level l is blurred to R / 2^l.
        pages: how many are marks, dark on white; they come first.
        pictures: how many are coloured.
        resolution: R.
    """

    volume: Tensor
    pages: int
    pictures: int
    resolution: int = _RESOLUTION


def build_atlas(photos: Path | None, device: torch.device, most_photos: int = 256) -> Atlas:
    """The atlas, the same on every call.

    Args:
        photos: a folder, searched with its subfolders; None paints with what is drawn here alone.
        device: where the volume goes.
        most_photos: no more are read, in the order of their names.

    Raises:
        DpmError: the folder is not there, holds no photograph, or one cannot be read.
    """
    generator = torch.Generator().manual_seed(411)
    pages = [_page(generator) for _ in range(_PAGES)]
    pictures = [_collage(generator) for _ in range(_COLLAGES)]
    if photos is not None:
        pictures += _photographs(photos, most_photos)
    layers = torch.stack([_levels(picture) for picture in pages + pictures])
    volume = layers.flatten(0, 1).movedim(0, 1)[None].contiguous()
    return Atlas(volume.to(device), len(pages), len(pictures))


def _levels(picture: Tensor) -> Tensor:
    """[3, R, R] -> [LEVELS, 3, R, R]."""
    levels = [picture]
    for level in range(1, LEVELS):
        small = F.avg_pool2d(picture[None], 2**level)
        levels.append(F.interpolate(small, size=_RESOLUTION, mode="bilinear", align_corners=False)[0])
    return torch.stack(levels)


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _page(generator: torch.Generator) -> Tensor:
    """Rows of random glyphs on 3 × 5 grids, some larger, like a printed page or a sign."""
    page = torch.ones(_RESOLUTION, _RESOLUTION)
    y = 4
    while y < _RESOLUTION - 8:
        pixel = 1 + int(torch.randint(0, 4, (), generator=generator))
        if y + 6 * pixel > _RESOLUTION:
            break
        x = 4 + int(torch.randint(0, 12, (), generator=generator))
        end = int(_uniform(generator, 0.5, 1.0) * (_RESOLUTION - 6))
        while x + 4 * pixel < end:
            if torch.rand((), generator=generator) < 0.83:
                glyph = (torch.rand(5, 3, generator=generator) < 0.42).float()
                ink = glyph.repeat_interleave(pixel, 0).repeat_interleave(pixel, 1)
                page[y : y + 5 * pixel, x : x + 3 * pixel] = 1 - ink
            x += 4 * pixel
        y += 7 * pixel + int(torch.randint(0, 3, (), generator=generator))
    return page.expand(3, -1, -1).clone()


def _collage(generator: torch.Generator) -> Tensor:
    """Soft gradients with patches, discs, lines and speckle over them, in a few related colours."""
    axis = torch.linspace(-1, 1, _RESOLUTION)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    palette = torch.rand(5, 3, generator=generator) ** 1.6
    palette = torch.lerp(palette.mean(1, keepdim=True).expand(5, 3), palette, _uniform(generator, 0.1, 0.9))
    turn = _uniform(generator, 0, 6.283)
    ramp = 0.5 + 0.5 * (x * torch.cos(torch.tensor(turn)) + y * torch.sin(torch.tensor(turn)))
    picture = torch.lerp(palette[0][:, None, None], palette[1][:, None, None], ramp.clamp(0, 1))
    for _ in range(int(torch.randint(8, 60, (), generator=generator))):
        centre_x, centre_y = _uniform(generator, -1, 1), _uniform(generator, -1, 1)
        angle = torch.tensor(_uniform(generator, 0, 6.283))
        across = (x - centre_x) * angle.cos() + (y - centre_y) * angle.sin()
        up = (y - centre_y) * angle.cos() - (x - centre_x) * angle.sin()
        a, b = _uniform(generator, 0.03, 0.5), _uniform(generator, 0.02, 0.35)
        form = int(torch.randint(0, 3, (), generator=generator))
        if form == 0:
            inside = (across / a).square() + (up / b).square() < 1
        elif form == 1:
            inside = (across.abs() < a) & (up.abs() < b)
        else:
            inside = up.abs() < 0.03
        color = palette[int(torch.randint(0, 5, (), generator=generator))] * _uniform(generator, 0.6, 1.3)
        picture = torch.where(inside, color[:, None, None], picture)
    speckle = F.interpolate(torch.rand(1, 1, 64, 64, generator=generator), size=_RESOLUTION, mode="bilinear")[0]
    return (picture * (0.7 + 0.6 * speckle)).clamp(0, 1)


def _photographs(folder: Path, most: int) -> list[Tensor]:
    import cv2

    if not folder.is_dir():
        raise DpmError(f"photograph folder {folder} is not there; give a folder of images or leave it out")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PHOTO_SUFFIXES)[:most]
    if not files:
        raise DpmError(
            f"photograph folder {folder} holds no image; expected one of {', '.join(sorted(_PHOTO_SUFFIXES))}"
        )
    pictures = []
    for file in files:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise DpmError(f"photograph {file} cannot be read; remove or replace it")
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        square = cv2.resize(
            image[top : top + side, left : left + side], (_RESOLUTION,) * 2, interpolation=cv2.INTER_AREA
        )
        pictures.append((torch.from_numpy(square[..., ::-1].copy()).movedim(-1, 0).float() / 255) ** 2.2)
    return pictures
