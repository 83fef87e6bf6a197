# SPDX-License-Identifier: Apache-2.0
"""Recordings with depth, in the layouts that are read."""

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from dpm_core.errors import DpmError
from dpm_core.geometry.fit import Fit
from training.evaluation.rgbd import fitted_depth, nearest_rigid, rgbd_frames

K = np.array([[40.0, 0, 15.5], [0, 40.0, 11.5], [0, 0, 1]])
H, W = 24, 32


def pixels(index):
    return np.random.default_rng(index).integers(0, 255, (H, W, 3), np.uint8)


def millimetres(index):
    depth = np.random.default_rng(100 + index).integers(500, 4000, (H, W)).astype(np.uint16)
    depth[0, 0], depth[0, 1] = 65535, 0
    return depth


@pytest.fixture
def folder(tmp_path):
    np.savetxt(tmp_path / "camera-intrinsics.txt", K)
    for index in (0, 3, 6):
        cv2.imwrite(str(tmp_path / f"frame-{index:06d}.color.png"), pixels(index)[..., ::-1])
        cv2.imwrite(str(tmp_path / f"frame-{index:06d}.depth.png"), millimetres(index))
        pose = np.eye(4)
        pose[0, 3] = 0.1 * index
        np.savetxt(tmp_path / f"frame-{index:06d}.pose.txt", pose)
    return tmp_path


def test_a_folder_gives_frames_depth_and_poses(folder):
    frames = list(rgbd_frames(folder, 1000))
    assert [seen.frame.stamp_ns for seen in frames] == [0, 100_000_000, 200_000_000]
    for seen, index in zip(frames, (0, 3, 6), strict=True):
        assert np.array_equal(seen.frame.image, pixels(index))
        assert np.array_equal(seen.frame.intrinsics, K)
        expected = millimetres(index) / 1000
        expected[0, 0] = 0
        np.testing.assert_allclose(seen.depth, expected, rtol=1e-6)
        assert seen.world_from_camera[0, 3] == pytest.approx(0.1 * index)


def test_poses_may_be_missing(folder):
    (folder / "frame-000003.pose.txt").unlink()
    assert [seen.world_from_camera is None for seen in rgbd_frames(folder, 1000)] == [False, True, False]


def test_rounded_poses_become_rigid():
    pose = np.eye(4)
    pose[:3, :3] = np.round(cv2.Rodrigues(np.array([0.3, 0.2, -0.5]))[0], 3)
    rotation = nearest_rigid(pose)[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert abs(rotation - pose[:3, :3]).max() < 1e-3


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda f: (f / "camera-intrinsics.txt").unlink(), "no camera-intrinsics.txt"),
        (lambda f: (f / "camera-intrinsics.txt").write_text("1 2 x"), "cannot be read as numbers"),
        (lambda f: (f / "camera-intrinsics.txt").write_text("1 2 3"), "holds 3 numbers"),
        (lambda f: (f / "frame-000003.depth.png").unlink(), "frame-000003.depth.png is missing"),
        (lambda f: (f / "frame-000003.depth.png").write_bytes(b"no"), "missing or damaged"),
        (lambda f: np.savetxt(f / "frame-000003.pose.txt", 2 * np.eye(4)), "no rigid pose"),
        (lambda f: (f / "frame-000003.color.png").rename(f / "frame-x.color.png"), "no frame number"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(folder, harm, told):
    harm(folder)
    with pytest.raises(DpmError, match=told):
        list(rgbd_frames(folder, 1000))


def test_other_paths_are_refused(tmp_path):
    with pytest.raises(DpmError, match="is not there"):
        rgbd_frames(tmp_path / "no", 1000)
    with pytest.raises(DpmError, match="is no bag"):
        rgbd_frames(tmp_path, 1000)


def write_bag(path, depth_topics=("/cam/depth/image",), packed=False, info=True):
    store = get_typestore(Stores.ROS2_HUMBLE)
    kinds = store.types
    with Writer(path, version=9) as writer:
        image_kind = "sensor_msgs/msg/Image"
        depth_kind = "sensor_msgs/msg/CompressedImage" if packed else image_kind
        color = writer.add_connection("/cam/image", image_kind, typestore=store)
        depths = [writer.add_connection(topic, depth_kind, typestore=store) for topic in depth_topics]
        camera = writer.add_connection("/cam/camera_info", "sensor_msgs/msg/CameraInfo", typestore=store)
        for index in range(3):
            stamp = 1_000_000_000 + index * 100_000_000

            def header(ns):
                time = kinds["builtin_interfaces/msg/Time"](ns // 10**9, ns % 10**9)
                return kinds["std_msgs/msg/Header"](time, "camera")

            def image(ns, encoding, array):
                data = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
                step = array.nbytes // H
                return kinds[image_kind](header(ns), H, W, encoding, 0, step, data)

            message = image(stamp, "rgb8", pixels(index))
            writer.write(color, stamp, store.serialize_cdr(message, image_kind))
            late = stamp + 5_000_000
            for connection in depths:
                if packed:
                    png = cv2.imencode(".png", millimetres(index))[1].reshape(-1)
                    message = kinds[depth_kind](header(late), "16UC1; png", png)
                else:
                    message = image(late, "16UC1", millimetres(index))
                writer.write(connection, late, store.serialize_cdr(message, depth_kind))
            if info:
                region = kinds["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
                lens = (np.zeros(5), K.reshape(-1), np.eye(3).reshape(-1), np.zeros(12))
                message = kinds["sensor_msgs/msg/CameraInfo"](header(stamp), H, W, "plumb_bob", *lens, 0, 0, region)
                writer.write(camera, stamp, store.serialize_cdr(message, "sensor_msgs/msg/CameraInfo"))


@pytest.mark.parametrize("packed", [False, True])
def test_a_bag_gives_frames_with_the_depth_of_the_same_moment(tmp_path, packed):
    write_bag(tmp_path / "bag", packed=packed)
    frames = list(rgbd_frames(tmp_path / "bag", 500))
    assert len(frames) == 3
    for index, seen in enumerate(frames):
        assert np.array_equal(seen.frame.image, pixels(index))
        assert seen.world_from_camera is None
        expected = millimetres(index) / 500
        expected[0, 0] = 0
        np.testing.assert_allclose(seen.depth, expected, rtol=1e-6)


def test_what_a_bag_lacks_is_named(tmp_path):
    write_bag(tmp_path / "two", depth_topics=("/a/depth", "/b/depth"))
    with pytest.raises(DpmError, match=r"one image topic with 'depth'.*/a/depth, /b/depth"):
        list(rgbd_frames(tmp_path / "two", 1000))
    write_bag(tmp_path / "none", depth_topics=())
    with pytest.raises(DpmError, match="it has: none"):
        list(rgbd_frames(tmp_path / "none", 1000))
    write_bag(tmp_path / "blind", info=False)
    with pytest.raises(DpmError, match="no CameraInfo"):
        list(rgbd_frames(tmp_path / "blind", 1000))


def test_depth_is_read_where_the_fitted_pixels_lie():
    v, u = np.mgrid[:48, :64]
    depth = (100 * v + u).astype(np.float32)
    halved = fitted_depth(depth, Fit((48, 64), (24, 32), (2, 4), (20, 24)))
    assert halved.shape == (20, 24)
    # The fitted pixel (r, c) lies at source (2 (r + 2) + 0.5, 2 (c + 4) + 0.5).
    rows, columns = np.mgrid[:20, :24]
    assert (abs(halved // 100 - (2 * (rows + 2) + 0.5)) <= 0.5).all()
    assert (abs(halved % 100 - (2 * (columns + 4) + 0.5)) <= 0.5).all()
    padded = fitted_depth(depth + 1, Fit((48, 64), (48, 64), (-3, 0), (54, 64)))
    assert (padded[:3] == 0).all()
    assert (padded[51:] == 0).all()
    assert np.array_equal(padded[3:51], depth + 1)
    with pytest.raises(DpmError, match="register them first"):
        fitted_depth(depth, Fit((24, 32), (24, 32), (0, 0), (24, 32)))
