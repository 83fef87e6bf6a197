# SPDX-License-Identifier: Apache-2.0
"""The world of `miniature` on disk, laid out and stored as each data set is."""

import gzip
import json

import cv2
import h5py
import numpy as np
import torch
from miniature import World
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation

FLIP = np.diag([1.0, -1.0, -1.0])


def put(path, content):
    """Write pictures, arrays and texts by their kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, (dict, list)):
        path.write_text(json.dumps(content))
    elif path.suffix == ".npy":
        np.save(path, content)
    elif content.ndim == 3:
        cv2.imwrite(str(path), content[..., [2, 1, 0, *range(3, content.shape[2])]])
    else:
        cv2.imwrite(str(path), content)


def lines(rows):
    return "\n".join(" ".join(f"{x:.9g}" for x in np.ravel(row)) for row in rows) + "\n"


def tum_pose(pose):
    return [*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()]


def tartanair(root):
    world = World(size=(480, 640), K=np.array([[320, 0, 320], [0, 320, 240], [0, 0, 1.0]]), moving=False)
    folder = root / "office/office/Easy/P000"
    ned = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]])
    poses = []
    for i in range(world.frames):
        put(folder / f"image_left/{i:06d}_left.png", world.image(i))
        put(folder / f"depth_left/{i:06d}_left_depth.npy", world.depth(i))
        pose = np.eye(4)
        pose[:3, :3] = ned @ world.pose(i)[:3, :3] @ ned.T
        pose[:3, 3] = ned @ world.pose(i)[:3, 3]
        poses.append(tum_pose(pose))
    put(folder / "pose_left.txt", lines(poses))
    return world


def pointodyssey(root):
    world = World(frames=5)
    folder = root / "train/ani"
    random = np.random.default_rng(0)
    start = world.at(2, 0)[random.integers(0, 24, 200), random.integers(0, 32, 200)]
    moves = start[:, 2] < 3
    tracks = np.array([start + moves[:, None] * (world.centre(i) - world.centre(0)) for i in range(world.frames)])
    pixels = np.array([world.project(points, i) for i, points in enumerate(tracks)])
    seen = np.zeros(tracks.shape[:2], bool)
    for i in range(world.frames):
        put(folder / f"rgbs/rgb_{i:05d}.jpg", world.image(i))
        put(folder / f"depths/depth_{i:05d}.png", np.round(world.depth(i) / 1000 * 65535).astype(np.uint16))
        u, v = np.round(pixels[i]).astype(int).T
        inside = (u >= 0) & (u < 32) & (v >= 0) & (v < 24)
        _, square, _ = world.cast(i)
        seen[i] = inside & (square[v.clip(0, 23), u.clip(0, 31)] == moves)
    np.savez(
        folder / "anno.npz",
        trajs_2d=pixels.astype(np.float32),
        trajs_3d=tracks.astype(np.float32),
        valids=np.ones(seen.shape, np.float32),
        visibs=seen.astype(np.float32),
        intrinsics=np.tile(world.intrinsics, (world.frames, 1, 1)),
        extrinsics=np.array([np.linalg.inv(world.pose(i)) for i in range(world.frames)]),
    )
    (root / "train/animal_s").mkdir()  # excluded: nobody looks inside
    return world


def twice(array):
    return array.repeat(2, 0).repeat(2, 1)


def spring(root):
    world = World()
    folder = root / "train/0001"
    for i in range(world.frames):
        put(folder / f"frame_left/frame_left_{i + 1:04d}.png", world.image(i))
        (folder / "disp1_left").mkdir(exist_ok=True)
        (folder / "flow_FW_left").mkdir(exist_ok=True)
        with h5py.File(folder / f"disp1_left/disp1_left_{i + 1:04d}.dsp5", "w") as file:
            file["disparity"] = twice(world.intrinsics[0, 0] * 0.065 / world.depth(i))
        if i + 1 < world.frames:
            with h5py.File(folder / f"flow_FW_left/flow_FW_left_{i + 1:04d}.flo5", "w") as file:
                flow, known = world.flow(i)
                file["flow"] = twice(np.where(known[..., None], flow, np.nan))
    K = world.intrinsics
    put(folder / "cam_data/intrinsics.txt", lines([[K[0, 0], K[1, 1], K[0, 2], K[1, 2]]] * world.frames))
    put(folder / "cam_data/extrinsics.txt", lines([np.linalg.inv(world.pose(i)) for i in range(world.frames)]))
    return world


def blinkvision(root, part):
    world = World()
    sequence = "AI33_002_280_people" if part == "indoor" else "train_moto"
    unit = 100 if part == "indoor" else 1  # that indoor scene is one with poses in centimetres
    folder = root / f"{part}_train" / sequence
    poses = []
    for i in range(world.frames):
        put(folder / f"final_uint8/{i:06d}.png", world.image(i))
        for name in ("depth", "forward_flow"):
            (folder / name).mkdir(exist_ok=True)
        np.savez(folder / f"depth/{i:06d}.npz", depth=world.depth(i))
        if i + 1 < world.frames:
            flow, known = world.flow(i)
            np.savez(folder / f"forward_flow/{i:06d}.npz", forward_flow=np.concatenate([flow, known[..., None]], -1))
        angles = Rotation.from_matrix(world.pose(i)[:3, :3] @ FLIP).as_euler("xyz")
        poses.append([world.pose(i)[:3, 3] * unit, angles])
    np.savez(folder / "poses.npz", camera_poses=np.array(poses))
    K = world.intrinsics.copy()
    K[:2, 2] += 0.5
    put(folder / "metadata.json", {"K_matrix": K.tolist()})
    if part == "outdoor":
        (root / "outdoor_train/autopilot_tree_01").mkdir()  # excluded
    return world


def dynamicreplica(root):
    world = World()
    sequence, annotations = "abc-3_obj", []
    height, width = world.size
    K, half = world.intrinsics, min(world.size) / 2
    flip = np.diag([-1.0, -1.0, 1.0])
    start = world.cast(2)[2].reshape(-1, 3)[::3]
    moves = start[:, 2] < 3
    for i in range(world.frames):
        folder = root / "train" / f"{sequence}_source_left"
        put(folder / f"images/{i}.png", world.image(i))
        put(folder / f"depths/{i}.geometric.png", world.depth(i).astype(np.float16).view(np.uint16))
        (folder / "trajectories").mkdir(exist_ok=True)
        points = start + moves[:, None] * (world.centre(i) - world.centre(2))
        pixels = world.project(points, i)
        u, v = np.round(pixels).astype(int).T
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        seen = inside & (world.cast(i)[1][v.clip(0, height - 1), u.clip(0, width - 1)] == moves)
        content = dict(traj_3d_world=points, traj_2d=np.concatenate([pixels, pixels[:, :1]], -1), verts_inds_vis=seen)
        torch.save({k: torch.from_numpy(v) for k, v in content.items()}, folder / f"trajectories/{i:06d}.pth")
        rotation = world.pose(i)[:3, :3] @ flip
        place = f"{sequence}_source_left"
        annotations.append(
            {
                "sequence_name": sequence,
                "camera_name": "left",
                "frame_number": i,
                "frame_timestamp": i / 30,
                "image": {"path": f"{place}/images/{i}.png", "size": [height, width]},
                "depth": {"path": f"{place}/depths/{i}.geometric.png"},
                "trajectories": {"path": f"{place}/trajectories/{i:06d}.pth"},
                "viewpoint": {
                    "R": rotation.tolist(),
                    "T": (-rotation.T @ world.pose(i)[:3, 3]).tolist(),
                    "focal_length": [K[0, 0] / half, K[1, 1] / half],
                    "principal_point": [(width / 2 - K[0, 2] - 0.5) / half, (height / 2 - K[1, 2] - 0.5) / half],
                    "intrinsics_format": "ndc_isotropic",
                },
            }
        )
    with gzip.open(root / "train/frame_annotations_train.jgz", "wt") as file:
        json.dump(annotations, file)
    return world


def paralleldomain4d(root):
    world, folder, data = World(), root / "scene_000000", []
    K = world.intrinsics
    for i in range(world.frames):
        name = f"{i * 10 + 5:018d}"
        put(folder / f"rgb/yaw-0/{name}.png", world.image(i))
        (folder / "depth/yaw-0").mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"depth/yaw-0/{name}.npz", data=world.depth(i))
        x, y, z, qx, qy, qz, qw = tum_pose(world.pose(i))
        pose = {"translation": dict(x=x, y=y, z=z), "rotation": dict(qx=qx, qy=qy, qz=qz, qw=qw)}
        image = {"filename": f"rgb/yaw-0/{name}.png", "annotations": {"6": f"depth/yaw-0/{name}.npz"}, "pose": pose}
        data += [{"datum": {"image": image}}, {"datum": {"point_cloud": {}}}]
    put(folder / "scene_abc.json", {"data": data})
    known = {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    put(folder / "calibration/abc.json", {"names": ["yaw-0"], "intrinsics": [known]})
    return world


def carla(root):
    world, folder = World(), root / "town01"
    height, width = world.size
    unreal = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0.0]])
    poses = []
    for i in range(world.frames):
        put(folder / f"rgb/{i:06d}.png", world.image(i))
        code = np.round(world.depth(i).astype(float) / 1000 * (256**3 - 1)).astype(int)
        put(
            folder / f"depth/{i:06d}.png", np.stack([code % 256, code // 256 % 256, code // 65536], -1).astype(np.uint8)
        )
        tags = np.where(world.cast(i)[1], 14, 3)
        put(folder / f"semantic/{i:06d}.png", np.stack([tags, tags * 0, tags * 0], -1).astype(np.uint8))
        pose = np.eye(4)
        pose[:3, :3] = unreal @ world.pose(i)[:3, :3] @ unreal.T
        pose[:3, 3] = unreal @ world.pose(i)[:3, 3]
        poses.append(pose.tolist())
    fov = np.degrees(2 * np.arctan(width / 2 / world.intrinsics[0, 0]))
    about = dict(width=width, height=height, fov=fov, seconds=[i / 20 for i in range(5)], unreal_from_camera=poses)
    put(folder / "camera.json", about)
    return world


def kubric(root):
    world, folder = World(), root / "scene_0"
    height, width = world.size
    K = world.intrinsics
    v, u = np.mgrid[:height, :width]
    along = np.sqrt(((u - K[0, 2]) / K[0, 0]) ** 2 + ((v - K[1, 2]) / K[1, 1]) ** 2 + 1)

    def entry(poses):
        turns = [Rotation.from_matrix(pose[:3, :3]).as_quat()[[3, 0, 1, 2]].tolist() for pose in poses]
        return {"positions": [pose[:3, 3].tolist() for pose in poses], "quaternions": turns}

    cameras, objects = [], []
    for i in range(world.frames):
        rgba = np.concatenate([world.image(i), np.full((height, width, 1), 255, np.uint8)], -1)
        put(folder / f"rgba_{i:05d}.png", rgba)
        put(folder / f"depth_{i:05d}.tiff", (world.depth(i) * along).astype(np.float32))
        picture = Image.fromarray(world.cast(i)[1].astype(np.uint8), "P")
        picture.putpalette([0, 0, 0, 255, 0, 0])
        picture.save(folder / f"segmentation_{i:05d}.png")
        pose = world.pose(i).copy()
        pose[:3, :3] = pose[:3, :3] @ FLIP
        cameras.append(pose)
        target = np.eye(4)
        target[:3, 3] = world.centre(i)
        objects.append(target)
    camera = {**entry(cameras), "sensor_width": 32.0, "focal_length": K[0, 0] / width * 32.0}
    put(folder / "metadata.json", {"metadata": {"num_frames": 5}, "camera": camera, "instances": [entry(objects)]})
    return world


def scannetpp(root):
    world, folder, about = World(moving=False), root / "data/0a5c/iphone", {}
    for i in range(world.frames):
        name = f"frame_{i:06d}"
        put(folder / f"rgb/{name}.jpg", world.image(i))
        put(folder / f"depth/{name}.png", np.round(world.depth(i) * 1000).astype(np.uint16))
        about[name] = {
            "aligned_pose": world.pose(i).tolist(),
            "intrinsic": world.intrinsics.tolist(),
            "timestamp": i / 60,
        }
    put(folder / "pose_intrinsic_imu.json", about)
    return world


def blendedmvs(root):
    world, folder = World(moving=False), root / "57f8d9bb"
    for i in range(world.frames):
        put(folder / f"blended_images/{i:08d}.jpg", world.image(i))
        camera = (
            f"extrinsic\n{lines(np.linalg.inv(world.pose(i)))}\nintrinsic\n{lines(world.intrinsics)}\n1 0.1 192 10\n"
        )
        put(folder / f"cams/{i:08d}_cam.txt", camera)
        header = f"Pf\n{world.size[1]} {world.size[0]}\n-1.0\n".encode()
        put(folder / f"rendered_depth_maps/{i:08d}.pfm", header + world.depth(i)[::-1].astype("<f4").tobytes())
    pairs = [f"{i}\n2 {(i + 1) % 5} 9.5 {(i - 1) % 5} 8.5" for i in range(5)]
    put(folder / "cams/pair.txt", "5\n" + "\n".join(pairs) + "\n")
    return world


def tagged(kind, *arrays):
    return np.float32(202021.25).tobytes() + b"".join(
        np.asarray(a).astype(k).tobytes() for k, a in zip(kind, arrays, strict=True)
    )


def sintel(root):
    world, scene = World(), "alley_1"
    height, width = world.size
    for i in range(world.frames):
        name = f"frame_{i + 1:04d}"
        put(root / f"training/final/{scene}/{name}.png", world.image(i))
        put(root / f"training/depth/{scene}/{name}.dpt", tagged(("<i4", "<f4"), [width, height], world.depth(i)))
        extrinsic = np.linalg.inv(world.pose(i))[:3]
        put(root / f"training/camdata_left/{scene}/{name}.cam", tagged(("<f8", "<f8"), world.intrinsics, extrinsic))
        if i + 1 < world.frames:
            flow, known = world.flow(i)
            put(root / f"training/flow/{scene}/{name}.flo", tagged(("<i4", "<f4"), [width, height], flow))
            put(root / f"training/occlusions/{scene}/{name}.png", (255 * ~known).astype(np.uint8))
    return world


def rgbd(root, folder, K):
    world = World(size=(480, 640), K=K)
    images, depths, path = [], [], []
    for i in range(world.frames):
        stamp = 1311868164.36 + i / 30
        put(root / folder / f"rgb/{stamp:.6f}.png", world.image(i))
        put(root / folder / f"depth/{stamp + 0.005:.6f}.png", np.round(world.depth(i) * 5000).astype(np.uint16))
        images.append(f"{stamp:.6f} rgb/{stamp:.6f}.png")
        depths.append(f"{stamp + 0.005:.6f} depth/{stamp + 0.005:.6f}.png")
        path.append(f"{stamp + 0.002:.4f} " + " ".join(f"{x:.7f}" for x in tum_pose(world.pose(i))))
    images.append(f"{stamp + 9:.6f} rgb/without_depth.png")
    for name, rows in (("rgb", images), ("depth", depths), ("groundtruth", path)):
        put(root / folder / f"{name}.txt", "# header\n" + "\n".join(rows) + "\n")
    return world


def kitti(root):
    P = np.array([[30, 0, 15.5, 4.5], [0, 30, 11.5, 0.2], [0, 0, 1, 0.003]])
    world = World(K=P[:, :3])
    day, drive = "2011_09_26", "2011_09_26_drive_0002_sync"
    camera_from_velodyne, velodyne_from_imu = np.eye(4), np.eye(4)
    camera_from_velodyne[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    camera_from_velodyne[:3, 3], velodyne_from_imu[:3, 3] = [0, -0.08, -0.27], [-0.81, 0.32, -0.8]

    def text(transform):
        return f"calib_time: 25-May-2012 16:47:16\nR: {lines([transform[:3, :3]])}T: {lines([transform[:3, 3]])}"

    put(root / day / "calib_imu_to_velo.txt", text(velodyne_from_imu))
    put(root / day / "calib_velo_to_cam.txt", text(camera_from_velodyne))
    put(root / day / "calib_cam_to_cam.txt", f"R_rect_00: {lines([np.eye(3)])}P_rect_02: {lines([P])}")
    beside = np.eye(4)
    beside[:3, 3] = np.linalg.inv(P[:, :3]) @ P[:, 3]
    camera_from_imu = beside @ camera_from_velodyne @ velodyne_from_imu
    # Turned so that the unit drives level; the first place is 49 N 8.4 E.
    level = np.eye(4)
    level[:3, :3] = camera_from_velodyne[:3, :3].T
    for i in range(world.frames):
        name = f"{i + 5:010d}"
        put(root / day / drive / f"image_02/data/{name}.png", world.image(i))
        sparse = np.where(np.add.outer(np.arange(24), np.arange(32)) % 2 == 0, world.depth(i), 0)
        truth = root / f"val/{drive}/proj_depth/groundtruth/image_02/{name}.png"
        put(truth, np.round(sparse * 256).astype(np.uint16))
        imu = level @ world.pose(i) @ camera_from_imu
        scale, radius = np.cos(np.radians(49.0)), 6378137.0
        start = radius * np.log(np.tan(np.radians(90 + 49.0) / 2))
        northing = start + imu[1, 3] / scale
        latitude = 2 * np.degrees(np.arctan(np.exp(northing / radius))) - 90
        longitude = 8.4 + np.degrees(imu[0, 3] / scale / radius)
        angles = Rotation.from_matrix(imu[:3, :3]).as_euler("xyz")
        row = [latitude, longitude, imu[2, 3], *angles, *np.zeros(24)]
        put(root / day / drive / f"oxts/data/{name}.txt", " ".join(f"{x:.14g}" for x in row) + "\n")
    return world


def nyuv2(root):
    world = World(
        size=(480, 640), K=np.array([[518.8579, 0, 325.5824], [0, 519.4696, 253.7362], [0, 0, 1]]), moving=False
    )
    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = np.stack([world.image(i).T for i in range(2)])
        file["depths"] = np.stack([world.depth(i).T for i in range(2)])
    savemat(root / "splits.mat", {"testNdxs": np.array([[1], [2], [1449]])})
    return world


def scannet(root):
    world, folder = World(moving=False), root / "scans/scene0000_00"
    for i in range(world.frames):
        put(folder / f"color/{i}.jpg", world.image(i))
        put(folder / f"depth/{i}.png", np.round(world.depth(i) * 1000).astype(np.uint16))
        put(folder / f"pose/{i}.txt", lines(world.pose(i)))
    put(folder / "pose/99.txt", lines(np.full((4, 4), -np.inf)))
    K = np.eye(4)
    K[:3, :3] = world.intrinsics
    put(folder / "intrinsic/intrinsic_color.txt", lines(K))
    return world
