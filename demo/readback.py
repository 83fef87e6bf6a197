# SPDX-License-Identifier: Apache-2.0
"""What the node published, read back from a bag: the same estimates that an offline run would give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader
from scipy.spatial.transform import Rotation

from dpm_core.io.images import decode_compressed
from dpm_core.types import Cloud, Estimate, Float64

_DTYPES = {2: "u1", 7: "<f4"}  # sensor_msgs/PointField


def estimates(bag: Path, image_topic: str) -> Iterator[Estimate]:
    """Estimates in order of time, of every stamp that has all parts; their images come from `image_topic`."""
    by_stamp: dict[int, dict[str, Any]] = defaultdict(dict)
    with AnyReader([bag]) as reader:
        for connection, _, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)
            if hasattr(message, "header"):
                stamp = message.header.stamp
                by_stamp[stamp.sec * 1_000_000_000 + stamp.nanosec][connection.topic] = message
    needed = {image_topic, "/depth/image", "/depth/camera_info", "/confidence", "/dynamic_mask", "/pose", "/points"}
    for stamp_ns, messages in sorted(by_stamp.items()):
        if needed <= messages.keys():
            yield _estimate(stamp_ns, messages, image_topic)


def log_times(bag: Path, topic: str) -> list[int]:
    """When each message of a topic was recorded, nanoseconds."""
    with AnyReader([bag]) as reader:
        connections = [connection for connection in reader.connections if connection.topic == topic]
        return [stamp_ns for _, stamp_ns, _ in reader.messages(connections)] if connections else []


def _estimate(stamp_ns: int, messages: dict[str, Any], image_topic: str) -> Estimate:
    depth = _pixels(messages["/depth/image"], "<f4")
    size = (depth.shape[1], depth.shape[0])
    compressed = messages[image_topic]
    image = cv2.resize(decode_compressed(compressed.format, compressed.data), size, interpolation=cv2.INTER_AREA)
    moving = "/points/dynamic" in messages
    world_from_camera = _matrix(messages["/pose"].pose)
    cloud = _split_cloud(messages) if moving else _cloud(messages["/points"], dynamic=False)
    return Estimate(
        stamp_ns=stamp_ns,
        frame_id=messages["/depth/image"].header.frame_id,
        world_from_camera=world_from_camera,
        intrinsics=messages["/depth/camera_info"].k.reshape(3, 3),
        unit="network",
        image=np.asarray(image, np.uint8),
        depth=depth,
        conf=_pixels(messages["/confidence"], "<f4"),
        dynamic=_pixels(messages["/dynamic_mask"], "u1") > 0,
        scene_flow=np.full((*depth.shape, 3), np.nan, np.float32),
        motion_known=moving,
        cloud=_in_map(cloud, world_from_camera),
        seconds={},
    )


def _pixels(message: Any, dtype: str) -> Any:
    return message.data.view(dtype).reshape(message.height, message.width)


def _matrix(pose: Any) -> Float64:
    matrix = np.eye(4)
    quaternion, place = pose.orientation, pose.position
    matrix[:3, :3] = Rotation.from_quat([quaternion.x, quaternion.y, quaternion.z, quaternion.w]).as_matrix()
    matrix[:3, 3] = place.x, place.y, place.z
    return matrix


def _in_map(cloud: Cloud, world_from_camera: Float64) -> Cloud:
    rotation, centre = world_from_camera[:3, :3], world_from_camera[:3, 3]
    points, velocity = cloud.points @ rotation.T + centre, cloud.velocity @ rotation.T
    return replace(cloud, points=points.astype(np.float32), velocity=velocity.astype(np.float32))


def _split_cloud(messages: dict[str, Any]) -> Cloud:
    parts = [_cloud(messages[f"/points/{name}"], name == "dynamic") for name in ("static", "dynamic")]
    fields = ("points", "colors", "confidence", "velocity", "dynamic")
    return Cloud(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))


def _cloud(message: Any, dynamic: bool) -> Cloud:
    names, offsets = [field.name for field in message.fields], [field.offset for field in message.fields]
    formats = [_DTYPES[field.datatype] for field in message.fields]
    layout = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": message.point_step})
    rows = message.data.view(layout)

    def columns(*wanted: str) -> Any:
        return np.stack([rows[name] for name in wanted], -1)

    packed = np.ascontiguousarray(rows["rgb"]).view("<u4")
    return Cloud(
        points=columns("x", "y", "z"),
        colors=np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], -1).astype(np.uint8),
        confidence=np.ascontiguousarray(rows["confidence"]),
        velocity=columns("vx", "vy", "vz"),
        dynamic=np.full(len(rows), dynamic),
    )
