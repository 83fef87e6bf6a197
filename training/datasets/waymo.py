# SPDX-License-Identifier: Apache-2.0
"""Waymo Open Dataset, perception v2 (Sun et al., CVPR 2020): driving, with laser points and boxes that follow objects.

The front camera with the points of the top laser. What is inside a box moves with it; the rest stands still.
What the lens bends is made straight, the picture and the points' places in it alike.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dpm_core.geometry.undistort import undistort
from dpm_core.types import Bool, Float64, Lens

from . import files
from .clip import Clip, Dataset, MissingError, UndecodableError, View
from .motion import RigidClip

FRONT, TOP = 1, 1
"""Numbers of the camera and of the laser."""

TABLES = (
    *("camera_image", "camera_calibration", "vehicle_pose"),
    *("lidar", "lidar_calibration", "lidar_pose", "lidar_camera_projection", "lidar_box"),
)

MARGIN = 0.1
"""Metres that a box is enlarged by: mirrors and bumpers stick out."""

# The vehicle's and its cameras' axes: x forward, y left, z up.
_VEHICLE_FROM_OPTICAL = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], float)

Rows = dict[int, dict[str, Any]]


class WaymoClip(RigidClip):
    """One segment of 20 s."""

    def __init__(self, root: Path, segment: str) -> None:
        super().__init__(segment)
        self._root, self._segment = root, segment
        for table in TABLES:
            if not self._path(table).is_file():
                raise MissingError(f"{self._path(table)} is missing")
        self._poses = {
            stamp: _matrix(row["[VehiclePoseComponent].world_from_vehicle.transform"])
            for stamp, row in _rows(self._path("vehicle_pose"), None).items()
        }
        self._stamps = sorted(self._poses)
        self._boxes = _boxes(self._path("lidar_box"))
        self._numbers = {name: i + 1 for i, name in enumerate(sorted({name for name, _ in self._boxes}))}
        self._names = {number: name for name, number in self._numbers.items()}

    def __len__(self) -> int:
        return len(self._stamps)

    def view(self, index: int) -> View:
        """The laser's points where the data set projects them into the camera."""
        stamp = self._stamps[index]
        camera = _calibration(self._path("camera_calibration"), "key.camera_name", FRONT)
        picture = self._row("camera_image", "key.camera_name", FRONT, stamp)["[CameraImageComponent].image"]
        image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise UndecodableError(f"{self._path('camera_image')}: the image at {stamp} cannot be decoded")
        K, lens = _camera(camera)
        depth, ids = self._maps(stamp, camera, image.shape[:2])
        vehicle_from_camera = _matrix(camera["[CameraCalibrationComponent].extrinsic.transform"])
        pose = self._poses[stamp] @ vehicle_from_camera
        return View(
            image=undistort(np.ascontiguousarray(image[..., ::-1], np.uint8), lens, K),
            depth=depth,
            intrinsics=K,
            world_from_camera=files.rigid(pose[:3, :3] @ _VEHICLE_FROM_OPTICAL, pose[:3, 3]),
            seconds=stamp / 1e6,
            object_id=ids,
        )

    def object_pose(self, object_id: int, index: int) -> Float64 | None:
        """The box's, in the world."""
        stamp = self._stamps[index]
        box = self._boxes.get((self._names[object_id], stamp))
        return None if box is None else self._poses[stamp] @ _box_pose(box)

    def _maps(self, stamp: int, camera: dict[str, Any], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Depth [H, W] and object ids [H, W]."""
        ranges = self._image("lidar", "LiDARComponent", stamp)
        projection = self._image("lidar_camera_projection", "LiDARCameraProjectionComponent", stamp)
        calibration = _calibration(self._path("lidar_calibration"), "key.laser_name", TOP)
        vehicle = self._corrected(_points(ranges[..., 0], calibration), stamp)
        camera_from_vehicle = np.linalg.inv(_matrix(camera["[CameraCalibrationComponent].extrinsic.transform"]))
        use = (projection[..., 0] == FRONT) & (ranges[..., 0] > 0)
        column, row = np.round(_straightened(projection[use][:, 1:3], camera)).astype(int).T
        inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
        points, column, row = vehicle[use][inside], column[inside], row[inside]
        along = points @ camera_from_vehicle[0, :3] + camera_from_vehicle[0, 3]
        nearest_last = np.argsort(-along)
        depth, ids = np.zeros(size, np.float32), np.zeros(size, np.int32)
        row, column = row[nearest_last], column[nearest_last]
        depth[row, column] = np.maximum(along[nearest_last], 0)
        ids[row, column] = self._inside(points[nearest_last], stamp)
        return depth, ids

    def _inside(self, points: Float64, stamp: int) -> np.ndarray:
        """Number of the box around each point [N, 3] of the vehicle's frame; 0 outside of all."""
        ids = np.zeros(len(points), np.int32)
        for (name, time), box in self._boxes.items():
            if time == stamp:
                local = np.linalg.inv(_box_pose(box))
                within: Bool = (np.abs(points @ local[:3, :3].T + local[:3, 3]) <= box[3:6] / 2 + MARGIN).all(-1)
                ids[within] = self._numbers[name]
        return ids

    def _corrected(self, points: Float64, stamp: int) -> Float64:
        """The top laser turns while the car drives: each point by the car's pose of its own moment."""
        from scipy.spatial.transform import Rotation

        own = self._image("lidar_pose", "LiDARPoseComponent", stamp).reshape(-1, 6)
        # Roll, pitch, yaw about x, y, z, in this order.
        rotation = Rotation.from_euler("xyz", own[:, :3]).as_matrix()
        world = np.einsum("nij,nj->ni", rotation, points.reshape(-1, 3)) + own[:, 3:]
        vehicle_from_world = np.linalg.inv(self._poses[stamp])
        vehicle: Float64 = world @ vehicle_from_world[:3, :3].T + vehicle_from_world[:3, 3]
        return vehicle.reshape(points.shape)

    def _image(self, table: str, component: str, stamp: int) -> Float64:
        row = self._row(table, "key.laser_name", TOP, stamp)
        shape = row[f"[{component}].range_image_return1.shape"]
        image: Float64 = np.array(row[f"[{component}].range_image_return1.values"], float).reshape(shape)
        return image

    def _row(self, table: str, key: str, number: int, stamp: int) -> dict[str, Any]:
        path = self._path(table)
        found = _rows(path, (key, number), stamp)
        if stamp not in found:
            raise UndecodableError(f"{path} has nothing at {stamp}")
        return found[stamp]

    def _path(self, table: str) -> Path:
        return self._root / table / f"{self._segment}.parquet"


def _camera(calibration: dict[str, Any]) -> tuple[Float64, Lens]:
    """Intrinsics [3, 3], and the lens: radial k1, k2, k3 and tangential p1, p2 as OpenCV has them."""
    f_u, f_v, c_u, c_v, *bends = (
        float(calibration[f"[CameraCalibrationComponent].intrinsic.{key}"])
        for key in ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
    )
    K = files.pinhole(f_u, f_v, c_u, c_v)
    return K, Lens("plumb_bob", tuple(bends), tuple(K.ravel().tolist()))


def _straightened(pixels: Float64, calibration: dict[str, Any]) -> Float64:
    """Where pixels [N, 2] (u, v) of the bent picture are in the straight one."""
    K, lens = _camera(calibration)
    bends = np.array(lens.coefficients)
    until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-4)
    straight = cv2.undistortPointsIter(pixels[:, None].astype(np.float64), K, bends, np.eye(3), K, until)
    return np.asarray(straight, np.float64).reshape(-1, 2)


def _points(ranges: Float64, calibration: dict[str, Any]) -> Float64:
    """Range image [H, W] to points [H, W, 3] in the vehicle's frame; rows from the highest beam down."""
    height, width = ranges.shape
    extrinsic = _matrix(calibration["[LiDARCalibrationComponent].extrinsic.transform"])
    beams = calibration["[LiDARCalibrationComponent].beam_inclination.values"]
    if beams is None or len(beams) == 0:
        low, high = (calibration[f"[LiDARCalibrationComponent].beam_inclination.{end}"] for end in ("min", "max"))
        beams = low + (np.arange(height) + 0.5) / height * (high - low)
    inclination = np.asarray(beams, float)[::-1, None]
    turn = np.arctan2(extrinsic[1, 0], extrinsic[0, 0])
    azimuth = (((width - np.arange(width) - 0.5) / width) * 2 - 1) * np.pi - turn
    flat = np.cos(inclination) * ranges
    local = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(inclination) * ranges], -1)
    points: Float64 = local @ extrinsic[:3, :3].T + extrinsic[:3, 3]
    return points


def _box_pose(box: Float64) -> Float64:
    """vehicle_from_box of x, y, z, three sizes, heading."""
    cos, sin = np.cos(box[6]), np.sin(box[6])
    return files.rigid(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]), box[:3])


def _matrix(numbers: Any) -> Float64:
    return np.array(numbers, float).reshape(4, 4)


@files.decodes
def _rows(path: Path, only: tuple[str, int] | None, stamp: int | None = None) -> Rows:
    """Rows of a table by time stamp: of one camera or laser, and of one time, where given."""
    import pyarrow.parquet as parquet

    filters = [(only[0], "=", only[1])] if only else []
    if stamp is not None:
        filters.append(("key.frame_timestamp_micros", "=", stamp))
    rows = parquet.read_table(path, filters=filters or None).to_pylist()
    return {int(row["key.frame_timestamp_micros"]): row for row in rows}


@functools.lru_cache(maxsize=64)
def _calibration(path: Path, key: str, number: int) -> dict[str, Any]:
    import pyarrow.parquet as parquet

    try:
        rows = parquet.read_table(path, filters=[(key, "=", number)]).to_pylist()
        return dict(rows[0])
    except Exception as error:
        raise UndecodableError(f"{path} cannot be decoded ({type(error).__name__}: {error})") from error


@files.decodes
def _boxes(path: Path) -> dict[tuple[str, int], Float64]:
    """By object and time: x, y, z, three sizes, heading, in the vehicle's frame."""
    import pyarrow.parquet as parquet

    names = [f"center.{axis}" for axis in "xyz"] + [f"size.{axis}" for axis in "xyz"] + ["heading"]
    return {
        (row["key.laser_object_id"], int(row["key.frame_timestamp_micros"])): np.array(
            [row[f"[LiDARBoxComponent].box.{name}"] for name in names], float
        )
        for row in parquet.read_table(path).to_pylist()
    }


def clips(folder: Path) -> list[Clip]:
    """The segments of the training split."""
    root = folder / "training" if (folder / "training").is_dir() else folder
    return [WaymoClip(root, path.stem) for path in sorted((root / "camera_image").glob("*.parquet"))]


DATASET = Dataset(
    name="waymo",
    origin="https://waymo.com/open (perception v2, parquet; the tables named in the layout)",
    layout="""
    training/camera_image/SEGMENT.parquet, and a file of the same name in
        camera_calibration, vehicle_pose, lidar, lidar_calibration, lidar_pose, lidar_camera_projection, lidar_box
    """,
    clips=clips,
)
