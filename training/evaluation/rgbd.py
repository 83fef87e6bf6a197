# SPDX-License-Identifier: Apache-2.0
"""RGB-D recordings: colour frames with measured depth, and camera poses where they are known.

Two layouts are read:
- a folder of the 7-Scenes kind: frame-NNNNNN.color.jpg (or .png), frame-NNNNNN.depth.png (16 bit),
  frame-NNNNNN.pose.txt (camera to world, 4 × 4; may be missing) and camera-intrinsics.txt (3 × 3); numbers count the
  frames of a 30 Hz video;
- a rosbag with a colour topic and a depth topic (Image, or CompressedImage holding a 16-bit PNG); no poses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from dpm_core.errors import DpmError
from dpm_core.geometry.fit import Fit
from dpm_core.io.folder import read_image
from dpm_core.io.source import open_source
from dpm_core.types import Float32, Float64, Frame

_VIDEO_HZ = 30
_TOGETHER_NS = 20_000_000
_NONE = 65535


@dataclass(frozen=True)
class RgbdFrame:
    """A colour frame and its truth.

    Attributes:
        frame: with intrinsics.
        depth: [H, W] metres, 0 where it is not known.
        world_from_camera: [4, 4], None where it is not known.
    """

    frame: Frame
    depth: Float32
    world_from_camera: Float64 | None


def rgbd_frames(path: Path, units_per_metre: float) -> Iterator[RgbdFrame]:
    """The frames of a recording, in time.

    Args:
        path: a folder or a bag, as above.
        units_per_metre: of 16-bit depth images: 1000 for most, 5000 for the TUM benchmark.

    Raises:
        DpmError: the path is neither, or something in it is missing or damaged.
    """
    if not path.exists():
        raise DpmError(f"{path} is not there; give a folder with frame-NNNNNN.color images and depth, or a bag")
    if path.is_dir() and any(path.glob("*.color.*")):
        return _folder(path, units_per_metre)
    if path.suffix in (".mcap", ".db3", ".bag") or (path / "metadata.yaml").exists() or any(path.glob("*.mcap")):
        return _bag(path, units_per_metre)
    raise DpmError(f"{path} has no frame-NNNNNN.color images and is no bag; expected the 7-Scenes layout or a bag")


def fitted_depth(depth: Float32, fit: Fit) -> Float32:
    """The true depth at the pixels of a fitted image: the nearest measured pixel, 0 where there is none."""
    height, width = depth.shape
    if (height, width) != fit.source:
        raise DpmError(
            f"depth is {width}×{height}, its colour image {fit.source[1]}×{fit.source[0]}; register them first"
        )
    rows, down = _nearest(fit.size[0], fit.origin[0], fit.resized[0], height)
    columns, across = _nearest(fit.size[1], fit.origin[1], fit.resized[1], width)
    fitted: Float32 = np.where(down[:, None] & across, depth[rows[:, None], columns], np.float32(0))
    return fitted


def _nearest(size: int, origin: int, resized: int, source: int) -> tuple[Any, Any]:
    place = (np.arange(size) + origin + 0.5) * source / resized - 0.5
    return np.clip(np.round(place), 0, source - 1).astype(int), (place > -0.5) & (place < source - 0.5)


def _folder(path: Path, units_per_metre: float) -> Iterator[RgbdFrame]:
    calibration = path / "camera-intrinsics.txt"
    if not calibration.exists():
        raise DpmError(
            f"{path} has no camera-intrinsics.txt; write the camera matrix there, three rows of three numbers"
        )
    intrinsics = _matrix(calibration, 3)
    for color in sorted(path.glob("frame-*.color.*")):
        stem = color.name.split(".")[0]
        number = stem.removeprefix("frame-")
        if not number.isdigit():
            raise DpmError(f"{color} has no frame number; expected a name like frame-000012.color.jpg")
        depth_file, pose_file = path / f"{stem}.depth.png", path / f"{stem}.pose.txt"
        raw = cv2.imread(str(depth_file), cv2.IMREAD_UNCHANGED)
        if raw is None:
            raise DpmError(f"{depth_file} is missing or damaged; every colour image needs its depth, a 16-bit PNG")
        pose = _pose(pose_file) if pose_file.exists() else None
        stamp = int(number) * 1_000_000_000 // _VIDEO_HZ
        yield RgbdFrame(Frame(stamp, read_image(color), intrinsics=intrinsics), _metres(raw, units_per_metre), pose)


def _matrix(file: Path, size: int) -> Float64:
    try:
        matrix = np.loadtxt(file, dtype=np.float64)
    except (ValueError, OSError) as error:
        raise DpmError(f"{file} cannot be read as numbers; expected {size} rows of {size}") from error
    if matrix.shape != (size, size) or not np.isfinite(matrix).all():
        raise DpmError(f"{file} holds {matrix.size} numbers; expected {size} rows of {size}, all finite")
    return matrix


def _pose(file: Path) -> Float64:
    matrix = _matrix(file, 4)
    rigid = nearest_rigid(matrix)
    if abs(rigid - matrix).max() > 0.01:
        raise DpmError(f"{file} is no rigid pose; expected a rotation and a translation, camera to world")
    return rigid


def nearest_rigid(pose: Float64) -> Float64:
    """[4, 4] with the rotation nearest to that of `pose`, whose digits were rounded."""
    U, _, Vt = np.linalg.svd(pose[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3] = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    rigid[:3, 3] = pose[:3, 3]
    return rigid


def _metres(raw: Any, units_per_metre: float) -> Float32:
    if raw.ndim != 2:
        raise DpmError(f"a depth image has {raw.ndim} axes; expected one channel of 16 bits")
    if raw.dtype == np.uint16:
        metres: Float32 = np.where(raw == _NONE, 0, raw).astype(np.float32) / np.float32(units_per_metre)
    else:
        metres = np.nan_to_num(raw.astype(np.float32), nan=0, posinf=0, neginf=0)
    return metres


def _bag(path: Path, units_per_metre: float) -> Iterator[RgbdFrame]:
    depths = _bag_depths(path, units_per_metre)
    stamps = np.array(sorted(depths))
    with open_source(path) as source:
        for frame in source:
            if frame.intrinsics is None:
                raise DpmError(
                    f"{path} has no CameraInfo beside its colour topic; record one, its camera must be known"
                )
            nearest = int(stamps[np.abs(stamps - frame.stamp_ns).argmin()])
            if abs(nearest - frame.stamp_ns) <= _TOGETHER_NS:
                yield RgbdFrame(frame, depths[nearest], None)


def _bag_depths(path: Path, units_per_metre: float) -> dict[int, Float32]:
    """Depth images by stamp, of the one topic that has them."""
    depths: dict[int, Float32] = {}
    with AnyReader([path], default_typestore=get_typestore(Stores.LATEST)) as reader:
        topics = {c.topic for c in reader.connections if "depth" in c.topic.lower() and c.msgtype.endswith("Image")}
        if len(topics) != 1:
            found = ", ".join(sorted(topics)) or "none"
            raise DpmError(f"{path} must have one image topic with 'depth' in its name; it has: {found}")
        for connection, _, raw in reader.messages([c for c in reader.connections if c.topic in topics]):
            message: Any = reader.deserialize(raw, connection.msgtype)
            stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
            depths[stamp] = _metres(_depth_pixels(message, path), units_per_metre)
    if not depths:
        raise DpmError(f"{path} has no depth image; record the depth topic too")
    return depths


def _depth_pixels(message: Any, path: Path) -> Any:
    if hasattr(message, "format"):
        packed = np.frombuffer(message.data, np.uint8)
        # The compressedDepth transport puts twelve bytes of its own before the PNG.
        start = 12 if "compressedDepth" in message.format else 0
        image = cv2.imdecode(packed[start:], cv2.IMREAD_UNCHANGED)
        if image is None:
            raise DpmError(
                f"{path} has a depth image of format '{message.format}' that is not a PNG; expected 16-bit PNG"
            )
        return image
    kinds = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
    if message.encoding not in kinds:
        raise DpmError(f"{path} has depth images encoded '{message.encoding}'; expected one of: {', '.join(kinds)}")
    kind = np.dtype(kinds[message.encoding]).newbyteorder(">" if message.is_bigendian else "<")
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    return rows[:, : message.width * kind.itemsize].copy().view(kind).astype(kind.newbyteorder("="))
