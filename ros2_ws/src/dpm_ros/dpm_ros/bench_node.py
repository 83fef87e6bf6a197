# SPDX-License-Identifier: Apache-2.0
"""`dpm bench node`: what the node adds to its network, from an image's callback to its published messages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sensor_msgs.msg import Image
from tyro.conf import arg

from dpm_core.cli.arguments import parse, write_json
from dpm_core.cli.measuring import described, machine, patched_size, told, use_threads
from dpm_core.errors import DpmError
from dpm_core.geometry.fit import Fit
from dpm_core.types import Prediction

from . import conversions, interface
from .node import main as run_node

SERVE = "--serve"
OF_THE_NETWORK = ("encode", "predict")
BESIDE = "beside the network"
_CAMERA = (480, 640)
_PERIOD_NS = 100_000_000
_PATIENCE = 60.0
_MATCHED_S = 0.5  # the other side of a match may learn of it a little later
_SELDOM = (interface.MAP, interface.STATIC_TF, interface.DIAGNOSTICS)
_STAGE = re.compile(r"latency: (?P<stage>.+) (?P<name>p50|p95|max) \(ms\)")


@dataclass(frozen=True)
class Options:
    """Time the node on 640 x 480 images with every output subscribed by another process.

    Its network answers at once with a scene made before, so that all that is measured is beside it. An image is sent
    when all messages of the one before have come.

    Attributes:
        size: HEIGHTxWIDTH of the network's images, multiples of 14: 168x224 is vdpm-mini's, 392x518 V-DPM's.
        window: frames that the network sees at once.
        images: that are sent.
        threads: of the node; 0 for as many as torch would use.
        domain: ROS_DOMAIN_ID of the two processes.
        json: write the figures here too.
    """

    size: str = "168x224"
    window: int = 8
    images: int = 60
    threads: int = 0
    domain: int = 95
    json: Annotated[Path | None, arg(metavar="FILE")] = None


class ReadyEngine:
    """Answers with a wavy wall that it has at hand, a twentieth of it moving. size: (height, width)."""

    notice = None
    device = torch.device("cpu")

    def __init__(self, size: tuple[int, int]) -> None:
        self.name = f"a scene at hand, {size[1]} x {size[0]}"
        self._size = size

    def fit(self, height: int, width: int) -> Fit:
        """The whole image to the size."""
        return Fit((height, width), self._size, (0, 0), self._size)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """No tokens."""
        return torch.zeros(1, 1)

    def predict(self, tokens: Any, size: tuple[int, int], times: Any) -> Prediction:
        """The scene."""
        return self._scene(len(tokens), tuple(times))

    @lru_cache(maxsize=64)  # noqa: B019 (one engine a process)
    def _scene(self, views: int, times: tuple[int, ...]) -> Prediction:
        height, width = self._size
        v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        depth = 3 + 0.5 * torch.sin(0.05 * u) * torch.cos(0.04 * v)
        rays = torch.stack([(u - width / 2) / width, (v - height / 2) / width, torch.ones_like(depth)], -1)
        moving = (u < width // 20)[..., None] * torch.tensor([0.05, 0.0, 0.0])
        own = torch.stack([rays * depth[..., None] + view * moving for view in range(views)])
        dense = torch.stack([own[time].expand_as(own) for time in times])
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


class Listener(Node):
    """Sends images and hears everything, as bytes: it must not take the node's processor to read them.

    namespace: of all topics, those with absolute names too, so that no other node of the domain is heard.
    """

    def __init__(self, context: Context, namespace: str) -> None:
        options: dict[str, Any] = {"enable_rosout": False, "start_parameter_services": False}
        super().__init__("listener", context=context, namespace=namespace, **options)
        self.messages: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.health: list[dict[str, str]] = []
        self._images = self.create_publisher(Image, interface.IMAGE.name, 10)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self)
        self._ears = [
            self.create_subscription(output.type, _own(output), partial(self._hear, output.name), output.qos, raw=True)
            for output in interface.OUTPUTS
            if output is not interface.DIAGNOSTICS
        ]
        told = interface.DIAGNOSTICS
        self._ears.append(self.create_subscription(DiagnosticArray, _own(told), self._hear_health, told.qos))

    def meet(self) -> None:
        """Wait until the node hears us, and we it."""
        self._until(lambda: self._images.get_subscription_count() > 0, "the node reads no images")
        self._until(lambda: all(ear.get_publisher_count() > 0 for ear in self._ears), "the node offers too little")
        time.sleep(_MATCHED_S)

    def exchange(self, image: Image) -> float:
        """Send an image, wait for all of its messages; the seconds between. Of the first one, no motion is known."""
        heard = dict(self.messages)
        first = not heard.get(interface.POSE.name)
        awaited = [output.name for output in interface.OUTPUTS if output not in _SELDOM]
        if first:
            awaited = [interface.POSE.name, interface.DYNAMIC_MASK.name]
        begun = time.perf_counter()
        self._images.publish(image)
        self._until(
            lambda: all(self.messages[name] > heard.get(name, 0) for name in awaited),
            "messages of an image are missing",
        )
        return time.perf_counter() - begun

    def stages(self) -> dict[str, dict[str, float]]:
        """p50, p95 and max of each stage, milliseconds, as the node's diagnostics tell from now on."""
        told = len(self.health)
        self._until(lambda: len(self.health) > told + 1, "the node tells nothing of itself")
        found: dict[str, dict[str, float]] = {}
        for key, value in self.health[-1].items():
            if (of_stage := _STAGE.fullmatch(key)) is not None:
                found.setdefault(of_stage["stage"], {})[of_stage["name"]] = float(value)
        return found

    def close(self) -> None:
        """Leave."""
        self._executor.remove_node(self)
        self.destroy_node()

    def _hear(self, name: str, raw: bytes) -> None:
        self.messages[name] += 1
        self.bytes[name] += len(raw)

    def _hear_health(self, message: DiagnosticArray) -> None:
        self.health += [{value.key: value.value for value in status.values} for status in message.status]

    def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        ends = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > ends:
                raise DpmError(f"{complaint} after {_PATIENCE:.0f} s; see `dpm doctor`, or try another --domain")
            self._executor.spin_once(timeout_sec=0.05)


def main(argv: list[str]) -> int:
    """0; figures on stdout and, where asked, in a file."""
    options = parse(Options, "dpm bench node", argv)
    if options.images < 2 or options.window < 2:
        raise DpmError("images and window must be 2 or more: of one image alone no motion is known")
    patched_size(options.size, 14)
    use_threads(options.threads)
    figures = {"machine": machine(torch.device("cpu")), "options": told(options), **measure(options)}
    Console().print(_table(figures))
    if options.json is not None:
        write_json(options.json, figures)
    return 0


def measure(options: Options) -> dict[str, Any]:
    """Stages of the node, and what came of each topic."""
    environment = os.environ | {"ROS_DOMAIN_ID": str(options.domain), "FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}
    if options.threads:
        environment["OMP_NUM_THREADS"] = str(options.threads)
    os.environ["FASTDDS_BUILTIN_TRANSPORTS"] = "LARGE_DATA"
    namespace = f"/bench_{os.getpid()}"
    arguments = ["-p", "image_qos:=reliable", "-p", f"window:={options.window}", "-r", f"__ns:={namespace}"]
    for output in interface.OUTPUTS:
        if output.name.startswith("/"):
            arguments += ["-r", f"{output.name}:={_own(output)}"]
    command = [sys.executable, "-m", "dpm_ros.bench_node", SERVE, options.size, "--ros-args", *arguments]
    context = Context()
    rclpy.init(context=context, domain_id=options.domain)
    node = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    listener = Listener(context, namespace)
    try:
        listener.meet()
        numbers = track(range(options.images), description="images", transient=True)
        seconds = [listener.exchange(_image(number)) for number in numbers]
        stages = listener.stages()
    finally:
        listener.close()
        context.try_shutdown()
        node.terminate()
        node.wait()
    beside = stages["total"]["p50"] - sum(stages[stage]["p50"] for stage in OF_THE_NETWORK)
    heard = {name: {"messages": count, "bytes": listener.bytes[name]} for name, count in listener.messages.items()}
    return {
        "node": {
            "stages": stages,
            BESIDE: beside,
            "heard": dict(zip(("p50", "p95", "max"), 1e3 * np.percentile(seconds, [50, 95, 100]), strict=True)),
            "topics": heard,
        }
    }


def _own(output: interface.Output) -> str:
    """Its name within the namespace."""
    return output.name.lstrip("/")


def _image(index: int) -> Image:
    """With something in it."""
    v, u = np.mgrid[: _CAMERA[0], : _CAMERA[1]]
    pixels = np.stack([u % 256, v % 256, (u + v) % 256], -1).astype(np.uint8)
    message = Image(height=_CAMERA[0], width=_CAMERA[1], encoding="rgb8", step=3 * _CAMERA[1], data=pixels.tobytes())
    message.header = conversions.header(10**9 + index * _PERIOD_NS, "camera")
    return message


def _table(figures: dict[str, Any]) -> Table:
    options, node = figures["options"], figures["node"]
    table = Table(title=f"{options['window']} frames of {options['size']}, ms\n{described(figures['machine'])}")
    table.add_column("stage")
    for name in ("p50", "p95", "max"):
        table.add_column(name, justify="right")
    for stage, spread in node["stages"].items():
        table.add_row(stage, *(f"{spread[name]:.1f}" for name in ("p50", "p95", "max")))
    table.add_row(BESIDE, f"{node[BESIDE]:.1f}", end_section=True)
    table.add_row("sent to heard", *(f"{node['heard'][name]:.1f}" for name in ("p50", "p95", "max")))
    return table


def _serve(size: str, arguments: list[str]) -> int:
    engine = ReadyEngine(patched_size(size, 14))
    return run_node([SERVE, *arguments], lambda *_: engine)


if __name__ == "__main__":
    sys.exit(_serve(sys.argv[2], sys.argv[3:]))
