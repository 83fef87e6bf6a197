# SPDX-License-Identifier: Apache-2.0
"""The file formats of the data sets. What cannot be read is `UndecodableError`, whatever the reason."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import cv2
import numpy as np

from dpm_core.types import Float32, Float64, UInt8

from .clip import UndecodableError

P = ParamSpec("P")
T = TypeVar("T")


def decodes(read: Callable[P, T]) -> Callable[P, T]:
    """A reader of files whose failures become `UndecodableError`. Its first argument is the path."""

    @functools.wraps(read)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except UndecodableError:
            raise
        except Exception as error:
            # Damaged files fail in as many ways as there are libraries.
            raise UndecodableError(f"{args[0]} cannot be decoded ({type(error).__name__}: {error})") from error

    return checked


@decodes
def image(path: Path) -> UInt8:
    """[H, W, 3] uint8, RGB."""
    return np.ascontiguousarray(_pixels(path, cv2.IMREAD_COLOR)[..., ::-1])


@decodes
def raw(path: Path) -> np.ndarray:
    """A picture's numbers as they are stored; three channels in the order red, green, blue."""
    pixels = _pixels(path, cv2.IMREAD_UNCHANGED)
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]])


@decodes
def indexed(path: Path) -> np.ndarray:
    """A picture's palette indices [H, W]; grey values where it has no palette."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.array(picture if picture.mode in ("P", "L", "I", "I;16") else picture.convert("L"))


@decodes
def table(path: Path) -> Float64:
    """Numbers of a text file, one row a line; commas and spaces separate, "#" begins a comment."""
    lines = [line.split("#")[0].replace(",", " ").split() for line in path.read_text().splitlines()]
    return np.array([[float(word) for word in line] for line in lines if line], np.float64)


@decodes
def values(path: Path) -> Any:
    """JSON."""
    return json.loads(path.read_text())


@decodes
def array(path: Path, name: str = "") -> np.ndarray:
    """An .npy file, or one array of an .npz file; never a pickle."""
    loaded = np.load(path, allow_pickle=False)
    found: np.ndarray = loaded[name] if name else loaded
    return found


@decodes
def pfm(path: Path) -> Float32:
    """Portable float map [H, W] or [H, W, 3], first row on top."""
    with path.open("rb") as file:
        channels = {b"PF": 3, b"Pf": 1}[file.readline().strip()]
        width, height = map(int, file.readline().split())
        order = "<" if float(file.readline()) < 0 else ">"
        numbers = np.frombuffer(file.read(), order + "f4", height * width * channels)
    shape = (height, width, 3) if channels == 3 else (height, width)
    return np.ascontiguousarray(numbers.reshape(shape)[::-1], np.float32)


@decodes
def flo(path: Path) -> Float32:
    """Middlebury optical flow [H, W, 2], pixels (u, v)."""
    content = path.read_bytes()
    magic, (width, height) = np.frombuffer(content, "<f4", 1)[0], np.frombuffer(content, "<i4", 2, 4)
    if magic != np.float32(202021.25):
        raise ValueError("no Middlebury flow")
    flow: Float32 = np.frombuffer(content, "<f4", height * width * 2, 12).reshape(height, width, 2).copy()
    return flow


@decodes
def hdf5(path: Path, name: str) -> np.ndarray:
    """One array of an HDF5 file."""
    import h5py

    with h5py.File(path) as file:
        return np.array(file[name])


def _pixels(path: Path, how: int) -> np.ndarray:
    if not path.is_file():
        raise UndecodableError(f"{path} is missing")
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), how)
    if pixels is None:
        raise UndecodableError(f"{path} cannot be decoded: it is no picture, or cut short")
    return pixels


def rigid(rotation: np.ndarray, translation: np.ndarray) -> Float64:
    """[4, 4] of [3, 3] and [3]."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return pose


def pose_of(translation: np.ndarray, quaternion_xyzw: np.ndarray) -> Float64:
    """[4, 4] of a translation and a quaternion."""
    from scipy.spatial.transform import Rotation

    return rigid(Rotation.from_quat(quaternion_xyzw).as_matrix(), translation)


def pinhole(fx: float, fy: float, cx: float, cy: float) -> Float64:
    """[3, 3]."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
