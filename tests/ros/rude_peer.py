# SPDX-License-Identifier: Apache-2.0
"""A process that sends images and hears every output, until it is killed: rude_peer.py NAMESPACE."""

import sys
import time
from itertools import count
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "stream")]

import oracle  # noqa: E402
from harness import Graph, image_message  # noqa: E402


def main(namespace):
    """Send an image for each pose that comes, and say so."""
    peer = Graph(domain=None).peer("rude", namespace).hear()
    images = peer.publisher()
    for index in count():
        frame = oracle.frame(7, stamp_ns=time.time_ns(), frame_id="rude camera")
        peer.exchange(images, image_message(frame))
        print(f"answered {index}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
