# SPDX-License-Identifier: Apache-2.0
"""Pixels of ROS image messages to RGB arrays, with no ROS: the same code for live topics and for bags."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DpmError
from ..types import UInt8

Pixels: TypeAlias = Union[bytes, bytearray, memoryview, "array[int]", UInt8]


@dataclass(frozen=True)
class Layout:
    """How one encoding lies in memory, and what makes RGB of it.

    Attributes:
        channels: of one pixel, side by side in a row.
        to_rgb: takes [rows, W, channels], or [rows, W] where there is one channel.
        dtype: of one channel.
        even_width: whether two pixels of a row share their colour.
        half_height_colour: whether half as many rows of colour follow the rows of brightness: 2 x 2 pixels share one.
    """

    channels: int
    to_rgb: Callable[[NDArray[Any]], UInt8]
    dtype: str = "u1"
    even_width: bool = False
    half_height_colour: bool = False

    def rows(self, height: int) -> int:
        """Rows in memory of an image with `height` rows of pixels."""
        return height * 3 // 2 if self.half_height_colour else height


def _cvt(code: int) -> Callable[[NDArray[Any]], UInt8]:
    def convert(pixels: NDArray[Any]) -> UInt8:
        return np.asarray(cv2.cvtColor(pixels, code), np.uint8)

    return convert


def _mono16(pixels: NDArray[Any]) -> UInt8:
    # The whole 16-bit range, as cv_bridge scales it: a dim image stays dim, but equal frames stay equal.
    return _cvt(cv2.COLOR_GRAY2RGB)(cv2.convertScaleAbs(pixels, alpha=255 / 65535))


_UYVY = Layout(2, _cvt(cv2.COLOR_YUV2RGB_UYVY), even_width=True)
_YUYV = Layout(2, _cvt(cv2.COLOR_YUV2RGB_YUYV), even_width=True)

_LAYOUTS: dict[str, Layout] = {
    "rgb8": Layout(3, np.array),
    "bgr8": Layout(3, _cvt(cv2.COLOR_BGR2RGB)),
    "rgba8": Layout(4, _cvt(cv2.COLOR_RGBA2RGB)),
    "bgra8": Layout(4, _cvt(cv2.COLOR_BGRA2RGB)),
    "mono8": Layout(1, _cvt(cv2.COLOR_GRAY2RGB)),
    "8UC1": Layout(1, _cvt(cv2.COLOR_GRAY2RGB)),
    "8UC3": Layout(3, _cvt(cv2.COLOR_BGR2RGB)),
    "mono16": Layout(1, _mono16, dtype="u2"),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": Layout(1, _cvt(cv2.COLOR_YUV2RGB_NV12), even_width=True, half_height_colour=True),
    "nv21": Layout(1, _cvt(cv2.COLOR_YUV2RGB_NV21), even_width=True, half_height_colour=True),
    "bayer_rggb8": Layout(1, _cvt(cv2.COLOR_BayerRGGB2RGB)),
    "bayer_bggr8": Layout(1, _cvt(cv2.COLOR_BayerBGGR2RGB)),
    "bayer_gbrg8": Layout(1, _cvt(cv2.COLOR_BayerGBRG2RGB)),
    "bayer_grbg8": Layout(1, _cvt(cv2.COLOR_BayerGRBG2RGB)),
}

ENCODINGS: tuple[str, ...] = tuple(_LAYOUTS)

MOST_PIXELS = 2**27
"""Of a compressed image: a file of a few bytes may declare as many as it likes, and unpacking takes their memory."""


def decode_image(encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: Pixels) -> UInt8:
    """RGB of the fields of a sensor_msgs/Image.

    Args:
        encoding: one of ENCODINGS.
        height: rows.
        width: pixels a row.
        step: bytes a row, padding included.
        is_bigendian: byte order of encodings with more than one byte a channel.
        data: at least step * height bytes, half as many more for nv12 and nv21; the last row's padding may be missing.

    Returns:
        [height, width, 3] uint8, RGB, memory of its own.

    Raises:
        DpmError: the encoding is not known, or the sizes contradict each other.
    """
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        raise DpmError(f"image encoding '{encoding}' is not known; send one of: {', '.join(ENCODINGS)}")
    rows = packed_rows(encoding, layout, height, width, step, data)
    dtype = np.dtype(layout.dtype).newbyteorder(">" if is_bigendian else "<")
    pixels = rows.view(dtype).reshape(len(rows), width, layout.channels)
    native = pixels.astype(dtype.newbyteorder(_NATIVE), copy=False)
    return layout.to_rgb(native if layout.channels > 1 else native[..., 0])


def decode_compressed(format: str, data: Pixels) -> UInt8:
    """RGB of the fields of a sensor_msgs/CompressedImage.

    Args:
        format: the message's own words ("jpeg", "rgb8; jpeg compressed bgr8", "png"); the data decides.
        data: a whole JPEG or PNG file.

    Returns:
        [H, W, 3] uint8, RGB, as the camera saw it: an orientation tag is not applied.

    Raises:
        DpmError: the data is no JPEG or PNG, is cut short, declares more than MOST_PIXELS, or is compressed depth.
    """
    if "compressedDepth" in format:
        raise DpmError(f"image format '{format}' is depth, not a camera image; choose the colour topic")
    encoded = np.frombuffer(data, np.uint8)
    if _is_cut_short(encoded):
        raise DpmError(
            f"compressed image of format '{format}' is cut short after {encoded.size} bytes; send whole files"
        )
    height, width = declared_size(encoded.tobytes())
    if height * width > MOST_PIXELS:
        raise DpmError(f"compressed image declares {width} x {height} pixels; send at most {MOST_PIXELS}")
    bgr = _imdecode(encoded) if height * width else None
    if bgr is None:
        raise DpmError(
            f"compressed image of format '{format}' with {encoded.size} bytes is no JPEG or PNG; send one of these"
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


_NATIVE = "<" if sys.byteorder == "little" else ">"


def packed_rows(encoding: str, layout: Layout, height: int, width: int, step: int, data: Pixels) -> UInt8:
    """[layout.rows(height), used bytes a row] uint8, padding cut off, contiguous.

    Raises:
        DpmError: the sizes contradict each other.
    """
    used = width * layout.channels * np.dtype(layout.dtype).itemsize
    flat = np.frombuffer(data, np.uint8)
    if height < 1 or width < 1:
        raise DpmError(f"image is {width} x {height}; it must have at least one pixel")
    if layout.even_width and width % 2:
        raise DpmError(f"image of encoding '{encoding}' is {width} pixels wide; this encoding needs an even width")
    if layout.half_height_colour and height % 2:
        raise DpmError(f"image of encoding '{encoding}' is {height} pixels high; this encoding needs an even height")
    if step < used:
        raise DpmError(f"image step is {step} bytes; {width} pixels of '{encoding}' need {used}")
    rows = layout.rows(height)
    needed = step * (rows - 1) + used
    if flat.size < needed:
        raise DpmError(
            f"image data is {flat.size} bytes; {width} x {height} '{encoding}' of step {step} needs {needed}"
        )
    padded = np.lib.stride_tricks.as_strided(flat, (rows, used), (step, 1), writeable=False)
    return np.ascontiguousarray(padded)


def declared_size(content: bytes) -> tuple[int, int]:
    """(height, width) that a JPEG's or PNG's header declares, before anything is unpacked; zeros where it is neither.

    PNG: the IHDR chunk comes first. JPEG: the size is in the first frame header, SOF (ITU T.81, B.2.2).
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return int.from_bytes(content[20:24], "big"), int.from_bytes(content[16:20], "big")
    place = 2 if content.startswith(b"\xff\xd8") else len(content)
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADERS:
            size = content[place + 5 : place + 9]
            return int.from_bytes(size[:2], "big"), int.from_bytes(size[2:], "big")
        place += 1 if marker == 0xFF else 2 + length  # any number of fill bytes may precede a marker
    return 0, 0


_NO_FRAME_HEADERS = (
    0xC4,
    0xC8,
    0xCC,
)  # Huffman tables, an extension, arithmetic conditioning: among the SOFs by number


def _is_cut_short(encoded: UInt8) -> bool:
    """Whether a JPEG has no end after its last scan: the decoder would fill the rest with grey and say nothing."""
    content = encoded.tobytes()
    return content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def _imdecode(encoded: UInt8) -> UInt8 | None:
    if not encoded.size:
        return None
    try:
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # a size in the header beyond what the decoder allows
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)
