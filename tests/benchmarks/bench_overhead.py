# SPDX-License-Identifier: Apache-2.0
"""What the node adds to the network: from an image's callback to its published messages, stage by stage.

    python tests/benchmarks/bench_overhead.py [--images 60] [--json FILE]

A node in a process of its own hears 640 x 480 images; this process subscribes to every output. Its network answers at
once with a scene that was made before (a wavy wall, a twentieth of it moving), at the size of vdpm-mini and at that of
V-DPM, so that all that is measured is beside the network. An image is sent when the one before was answered. Stages are
those of the node's diagnostics; "read" is the callback's own work, measured here on the same message.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("ros", "stream")]

from dpm_ros import conversions, interface  # noqa: E402
from dpm_ros.node import main as run_node  # noqa: E402
from harness import Graph, image_message  # noqa: E402

from dpm_core.checkpoints import find_spec  # noqa: E402
from dpm_core.types import Frame, Prediction  # noqa: E402

DOMAIN = 95
CAMERA = (480, 640)
NETWORKS = ("vdpm-mini", "vdpm")
OF_THE_NETWORK = ("encode", "predict")


class ReadyEngine:
    """Answers with a scene that it has at hand, at the size of a network."""

    notice = None
    device = torch.device("cpu")

    def __init__(self, network: str) -> None:
        self.name = f"nothing, at the size of {network}"
        self.fit = find_spec(network).fit

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """No tokens."""
        return torch.zeros(1, 1)

    @lru_cache(maxsize=64)  # noqa: B019 (one engine a process)
    def _scene(self, views: int, size: tuple[int, int], times: tuple[int, ...]) -> Prediction:
        height, width = size
        v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        depth = 3 + 0.5 * torch.sin(0.05 * u) * torch.cos(0.04 * v)
        rays = torch.stack([(u - width / 2) / width, (v - height / 2) / width, torch.ones_like(depth)], -1)
        moving = (u < width // 20)[..., None] * torch.tensor([0.05, 0.0, 0.0])
        own = torch.stack([rays * depth[..., None] + view * moving for view in range(views)])
        dense = torch.stack([torch.stack([own[time] for _ in range(views)]) for time in times])
        intrinsics = torch.tensor([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
        return Prediction(
            own_points=own,
            own_conf=torch.full(own.shape[:-1], 3.0),
            points=dense,
            conf=torch.full(dense.shape[:-1], 3.0),
            times=times,
            world_from_camera=torch.eye(4).repeat(views, 1, 1),
            intrinsics=intrinsics.repeat(views, 1, 1),
        )

    def predict(self, tokens: Any, size: tuple[int, int], times: Any) -> Prediction:
        """The scene."""
        return self._scene(len(tokens), tuple(size), tuple(times))


def message(index: int) -> Any:
    """A 640 x 480 image with something in it."""
    v, u = np.mgrid[: CAMERA[0], : CAMERA[1]]
    image = np.stack([u % 256, v % 256, (u + v) % 256], -1).astype(np.uint8)
    return image_message(Frame(10**9 + index * 10**8, image, "camera"))


def read_ms(repeats: int = 20) -> float:
    """The median time to read an image message, milliseconds."""
    one, spent = message(0), []
    for _ in range(repeats):
        begun = time.perf_counter()
        conversions.rgb_from_image(one)
        spent.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(spent)


def measure(network: str, images: int) -> dict[str, float]:
    """The median of each stage, milliseconds, as the node's diagnostics tell; and what is beside the network."""
    graph = Graph(DOMAIN)
    try:
        command = [sys.executable, __file__, "--node", network]
        graph.node("-p", "image_qos:=reliable", command=command)
        peer = graph.peer().hear()
        publisher = peer.publisher()
        for index in range(images):
            peer.exchange(publisher, message(index), interface.DYNAMIC_MASK)
        values = peer.health()[2]
    finally:
        graph.end()
    p50 = {key.split()[1]: float(value) for key, value in values.items() if key.endswith("p50 (ms)")}
    beside = read_ms() + p50["total"] - sum(p50[stage] for stage in OF_THE_NETWORK)
    return {"read": read_ms(), **p50, "beside the network": beside}


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.update(ROS_DOMAIN_ID=str(DOMAIN), FASTDDS_BUILTIN_TRANSPORTS="LARGE_DATA", OMP_NUM_THREADS="2")
    columns = {network: measure(network, arguments.images) for network in NETWORKS}
    sizes = {network: find_spec(network).fit(*CAMERA).size for network in NETWORKS}
    print("p50, ms".ljust(20), *(f"{network} {size[1]} x {size[0]}".rjust(24) for network, size in sizes.items()))
    for stage in columns[NETWORKS[0]]:
        print(stage.ljust(20), *(f"{columns[network][stage]:24.1f}" for network in NETWORKS))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(columns, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--node"]:
        sys.exit(run_node([__file__, *sys.argv[3:]], lambda *_: ReadyEngine(sys.argv[2])))
    sys.exit(main())
