# SPDX-License-Identifier: Apache-2.0
"""The world of `miniature` as Waymo's parquet tables."""

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from miniature import SQUARE, World
from scipy.spatial.transform import Rotation

LENS = {"k1": -0.2, "k2": 0.05, "p1": 0.004, "p2": -0.006, "k3": 0.01}


def seen_bent(world, frame):
    """The picture through the lens: every pixel shows what a straight one shows elsewhere."""
    height, width = world.size
    v, u = np.mgrid[:height, :width].astype(float)
    straight = cv2.undistortPointsIter(
        np.stack([u, v], -1).reshape(-1, 1, 2), world.intrinsics, np.array([*LENS.values()]), np.eye(3),
        world.intrinsics, (cv2.TERM_CRITERIA_COUNT, 100, 0.0)
    ).reshape(height, width, 2)  # fmt: skip
    return world.image(frame, (straight[..., 0], straight[..., 1]))


def bent(world, pixels):
    """Where straight pixels [..., 2] are in the picture: radial and tangential distortion (Brown 1966)."""
    K = world.intrinsics
    x, y = ((pixels[..., i] - K[i, 2]) / K[i, i] for i in (0, 1))
    k1, k2, p1, p2, k3 = LENS.values()
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    x, y = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]], -1)


def waymo(root):
    """The laser turns at the camera's place, one beam a row of pixels; what it meets is the world, through a lens."""
    world = World(size=(96, 128), K=np.array([[120, 0, 63.5], [0, 120, 47.5], [0, 0, 1.0]]))
    segment = "10017090168044687777_6380_000_6400_000"
    height, width = world.size
    optical = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0.0]])
    vehicle_from_camera = np.eye(4)
    vehicle_from_camera[:3, 3] = [1.5, 0.0, 2.0]
    upright = np.eye(4)
    upright[:3, :3] = optical
    columns, rows = 720, 41
    beams = np.linspace(-0.4, 0.4, rows)
    azimuth = ((columns - np.arange(columns) - 0.5) / columns * 2 - 1) * np.pi
    inclination = beams[::-1, None]
    rays = np.stack([np.cos(inclination) * np.cos(azimuth), np.cos(inclination) * np.sin(azimuth),
                     np.broadcast_to(np.sin(inclination), (rows, columns))], -1)  # fmt: skip
    tables = {
        name: []
        for name in ("camera_image", "vehicle_pose", "lidar", "lidar_pose", "lidar_camera_projection", "lidar_box")
    }
    for i in range(world.frames):
        stamp = 1_000_000 + 100_000 * i
        # The world's axes are optical; Waymo's world is upright.
        world_from_camera = upright @ world.pose(i) @ upright.T
        world_from_vehicle = world_from_camera @ np.linalg.inv(vehicle_from_camera)
        ahead = rays @ optical @ world.pose(i)[:3, :3].T  # in the optical world
        origin = world.pose(i)[:3, 3]
        ranges = np.full((rows, columns), -1.0)
        for z in (4.0, SQUARE):
            with np.errstate(divide="ignore"):
                reach = (z - origin[2]) / ahead[..., 2]
            hit = (reach > 0) & (reach < 50)
            if z == SQUARE:
                hit &= (np.abs(origin + ahead * reach[..., None] - world.centre(i))[..., :2] < 0.4).all(-1)
            ranges = np.where(hit, reach, ranges)
        met = origin + ahead * ranges[..., None]
        pixel = world.project(met, i)
        inside = (ranges > 0) & (ahead @ world.pose(i)[:3, 2] > 0)
        inside &= (np.abs(pixel - world.intrinsics[:2, 2]) < [width / 2 - 1, height / 2 - 1]).all(-1)
        projection = np.zeros((rows, columns, 6), np.int32)
        projection[..., 0] = inside
        projection[..., 1:3] = np.where(inside[..., None], np.round(bent(world, pixel)), 0)
        moment = {"key.segment_context_name": segment, "key.frame_timestamp_micros": stamp}
        laser, camera = {**moment, "key.laser_name": 1}, {**moment, "key.camera_name": 1}
        _, jpeg = cv2.imencode(".png", np.ascontiguousarray(seen_bent(world, i)[..., ::-1]))

        def ranged(component, values):
            values = np.asarray(values)
            return {f"[{component}].range_image_return1.values": values.ravel().tolist(),
                    f"[{component}].range_image_return1.shape": list(values.shape)}  # fmt: skip

        pose_angles = Rotation.from_matrix(world_from_vehicle[:3, :3]).as_euler("xyz")
        own = np.tile([*pose_angles, *world_from_vehicle[:3, 3]], (rows, columns, 1))
        tables["camera_image"].append({**camera, "[CameraImageComponent].image": jpeg.tobytes()})
        flat = world_from_vehicle.ravel().tolist()
        tables["vehicle_pose"].append({**moment, "[VehiclePoseComponent].world_from_vehicle.transform": flat})
        tables["lidar"].append({**laser, **ranged("LiDARComponent", np.stack([ranges] * 4, -1))})
        tables["lidar_pose"].append({**laser, **ranged("LiDARPoseComponent", own)})
        tables["lidar_camera_projection"].append({**laser, **ranged("LiDARCameraProjectionComponent", projection)})
        # The box turns against the car as the car turns under it.
        box = np.linalg.inv(world_from_vehicle) @ np.append(optical @ world.centre(i), 1)
        heading = -np.arctan2(world_from_vehicle[1, 0], world_from_vehicle[0, 0])
        values = {"center.x": box[0], "center.y": box[1], "center.z": box[2], "heading": heading}
        values |= {"size.x": 0.05, "size.y": 0.8, "size.z": 0.8}
        named = {f"[LiDARBoxComponent].box.{key}": float(value) for key, value in values.items()}
        tables["lidar_box"].append({**moment, "key.laser_object_id": "abc", **named})
    K = world.intrinsics
    intrinsic = {"f_u": K[0, 0], "f_v": K[1, 1], "c_u": K[0, 2], "c_v": K[1, 2], **LENS}
    known = {f"[CameraCalibrationComponent].intrinsic.{key}": value for key, value in intrinsic.items()}
    known["[CameraCalibrationComponent].extrinsic.transform"] = vehicle_from_camera.ravel().tolist()
    tables["camera_calibration"] = [{"key.camera_name": 1, **known}]
    laser = {"extrinsic.transform": vehicle_from_camera.ravel().tolist(), "beam_inclination.values": beams.tolist()}
    laser |= {"beam_inclination.min": -0.4, "beam_inclination.max": 0.4}
    tables["lidar_calibration"] = [
        {"key.laser_name": 1, **{f"[LiDARCalibrationComponent].{key}": value for key, value in laser.items()}}
    ]
    for name, content in tables.items():
        path = root / "training" / name / f"{segment}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(content), path)
    return world
