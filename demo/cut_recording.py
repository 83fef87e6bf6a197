# SPDX-License-Identifier: Apache-2.0
"""Cuts a recording small: every n-th camera image with its calibration, bytes untouched, as a new rosbag2 folder.

python demo/cut_recording.py SOURCE demo/walking --every 2 --frames 22
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer

IMAGES = "/camera/color/image_raw/compressed"
CALIBRATION = "/camera/color/camera_info"


def cut(source: Path, out: Path, every: int, frames: int) -> int:
    """Write the images and the calibrations of the same instants to `out`; returns how many images."""
    with AnyReader([source]) as reader, Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {connection.topic: connection for connection in reader.connections}
        stamps = [stamp for _, stamp, _ in reader.messages([topics[IMAGES]])]
        kept = set(islice(stamps, 0, every * frames, every))
        copies = {
            topic: writer.add_connection(topic, topics[topic].msgtype, typestore=reader.typestore)
            for topic in (IMAGES, CALIBRATION)
        }
        for connection, stamp, message in reader.messages([topics[topic] for topic in copies]):
            if stamp in kept:
                writer.write(copies[connection.topic], stamp, message)
    return len(kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="rosbag2 folder of the TUM recording")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--every", type=int, default=2, help="keep one image of so many")
    parser.add_argument("--frames", type=int, default=22, help="images to keep")
    arguments = parser.parse_args()
    count = cut(arguments.source, arguments.out, arguments.every, arguments.frames)
    size = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{count} images, {size / 1e6:.2f} MB: {arguments.out}")
