# SPDX-License-Identifier: Apache-2.0
"""Frames of a folder of images, in the order a person would give them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..errors import DpmError
from ..types import Frame, UInt8
from .source import Source, Undecoded

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class FolderSource(Source):
    """All colour and grey images of a folder, one size. 16-bit ones are depth images by custom, and left out.

    Stamps are the file names where all are times: seconds with a decimal point (`1341846434.710184.png`, as in the TUM
    benchmark) or whole nanoseconds (`1403636579763555584.png`, as in EuRoC). Else the images are `fps` a second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        super().__init__(path, path.resolve().name)
        if not 0 < fps < float("inf"):
            raise DpmError(f"--fps is {fps}; it must be more than 0")
        self._files = self._images()
        stamps = [_stamp(file.stem) for file in self._files]
        named = [stamp for stamp in stamps if stamp is not None]
        self._stamps = named if len(named) == len(stamps) else [round(n * 1e9 / fps) for n in range(len(stamps))]

    def close(self) -> None:
        """Nothing stays open between frames."""

    def _total(self) -> int:
        return len(self._files)

    def _undecoded(self) -> Iterator[Undecoded]:
        for file, stamp in zip(self._files, self._stamps, strict=True):
            yield partial(_frame, file, stamp)

    def _images(self) -> list[Path]:
        files = sorted((file for file in self.path.iterdir() if file.suffix.lower() in SUFFIXES), key=_natural)
        sizes: dict[tuple[int, int], Path] = {}
        kept = []
        for file in files:
            with _open(file) as image:
                if image.mode.startswith(("I", "F")):
                    continue
                kept.append(file)
                sizes.setdefault(_upright_size(image), file)
        if not kept:
            raise DpmError(f"{self.path} holds no images; put files there of: {', '.join(SUFFIXES)}")
        if len(sizes) > 1:
            (size, file), (other_size, other_file) = list(sizes.items())[:2]
            raise DpmError(
                f"{self.path} holds images of two sizes: {file.name} is {_by(size)}, {other_file.name} is "
                f"{_by(other_size)}; keep the images of one camera in a folder of their own"
            )
        return kept


def _frame(file: Path, stamp_ns: int) -> Frame:
    return Frame(stamp_ns, read_image(file))


def read_image(file: Path) -> UInt8:
    """[H, W, 3] uint8, RGB: upright by its orientation tag, transparency on white, grey in three channels.

    Raises:
        DpmError: the file is not an image or is cut short.
    """
    with _open(file) as image:
        try:
            upright = ImageOps.exif_transpose(image)
            if "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA"):
                rgba = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
            return np.array(upright.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise DpmError(f"{file} is damaged ({_one_line(error)}); replace it or take it away") from error


def _open(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DpmError(f"{file} is not an image that can be read; replace it or take it away") from error


_ORIENTATION_TAG = 0x0112
_LYING = (5, 6, 7, 8)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) after turning."""
    width, height = image.size
    # A PNG would be decoded whole to look for the tag, and cameras do not write PNG.
    lying = image.format != "PNG" and image.getexif().get(_ORIENTATION_TAG) in _LYING
    return (height, width) if lying else (width, height)


def _natural(file: Path) -> list[tuple[int, str]]:
    """Sorts frame9 before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _stamp(stem: str) -> int | None:
    """Nanoseconds of a name that is a time."""
    if match := re.fullmatch(r"(\d+)\.(\d{1,9})", stem):
        return int(match[1]) * 1_000_000_000 + int(match[2].ljust(9, "0"))
    return int(stem) if re.fullmatch(r"\d{18,19}", stem) else None


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
