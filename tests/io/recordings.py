# SPDX-License-Identifier: Apache-2.0
"""Small recordings that the tests write: bags, videos and folders whose frames tell who they are."""

from pathlib import Path

import av
import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.LATEST)
STAMP = 1_700_000_000_123_456_789
PERIOD = 100_000_000
HEIGHT, WIDTH = 24, 32
K = np.array([[30.0, 0, 15.5], [0, 31.0, 11.5], [0, 0, 1]])


def picture(index, height=HEIGHT, width=WIDTH):
    """[H, W, 3] uint8: the index is the brightness, so that frames survive any codec."""
    return np.full((height, width, 3), 10 + 10 * index, np.uint8)


def index_of(frame):
    return round((float(frame.image.mean()) - 10) / 10)


def _header(stamp_ns, frame_id):
    time = STORE.types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    return STORE.types["std_msgs/msg/Header"](time, frame_id)


def image(index, encoding="rgb8", stamp_ns=None, frame_id="front", pixels=None):
    pixels = picture(index) if pixels is None else pixels
    stamp_ns = STAMP + index * PERIOD if stamp_ns is None else stamp_ns
    return STORE.types["sensor_msgs/msg/Image"](
        _header(stamp_ns, frame_id),
        *pixels.shape[:2],
        encoding,
        0,
        pixels.strides[0],
        pixels.reshape(-1).view(np.uint8),
    )


def compressed(index, format="jpeg", suffix=".jpg", pixels=None):
    data = cv2.imencode(suffix, picture(index) if pixels is None else pixels)[1]
    header = _header(STAMP + index * PERIOD, "front")
    return STORE.types["sensor_msgs/msg/CompressedImage"](header, format, np.asarray(data).reshape(-1))


def camera_info(matrix=K, height=HEIGHT, width=WIDTH):
    make = STORE.types["sensor_msgs/msg/CameraInfo"]
    region = STORE.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    none = np.zeros
    return make(
        _header(STAMP, "front"), height, width, "plumb_bob", none(5), matrix.reshape(9), none(9), none(12), 0, 0, region
    )


def write_bag(path, topics, plugin=StoragePlugin.MCAP):
    """topics: messages by topic name, each written at its index times PERIOD."""
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        for topic, messages in topics.items():
            kind = messages[0].__msgtype__ if messages else "std_msgs/msg/String"
            connection = writer.add_connection(topic, kind, typestore=STORE)
            for index, message in enumerate(messages):
                writer.write(connection, STAMP + index * PERIOD, STORE.serialize_cdr(message, kind))
    return path


def text(words):
    return STORE.types["std_msgs/msg/String"](words)


def write_video(path, frames, codec="libx264", rate=10):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(stream.encode())
    return path


def write_folder(path: Path, names):
    path.mkdir()
    for index, name in enumerate(names):
        cv2.imwrite(str(path / name), picture(index))
    return path
