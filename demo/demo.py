# SPDX-License-Identifier: Apache-2.0
"""The demo: the bundled recording goes over DDS through the node, what it publishes is recorded and drawn.

Three processes, as on a robot: the node, a recorder, a replay. Nothing is shared between them but topics.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import rclpy
import tyro
from diagnostic_msgs.msg import DiagnosticArray
from readback import estimates, log_times
from rich.console import Console
from rich.table import Table

from dpm_core.io.pictures import picture
from dpm_core.io.recording import Recording

HERE = Path(__file__).parent
IMAGES = "/camera/color/image_raw/compressed"
CALIBRATION = "/camera/color/camera_info"
OUTPUTS = (
    "/points",
    "/points/static",
    "/points/dynamic",
    "/scene_flow",
    "/tracks",
    "/map",
    "/pose",
    "/path",
    "/tf",
    "/tf_static",
    "/depth/image",
    "/depth/camera_info",
    "/confidence",
    "/dynamic_mask",
    "/diagnostics",
)


@dataclass(frozen=True)
class DemoConfig:
    """Replay a recording through the node, record and draw what it says."""

    bag: Path = HERE / "walking"
    """A bag with compressed images on /camera/color/image_raw/compressed."""
    rate: float = 0.2
    """Speed of the replay to the recording's; what the node cannot keep up with is dropped and counted."""
    out: Path = HERE / "out"
    """Folder of pictures and the Rerun recording; the bag goes beside it, with the suffix .mcap."""
    model: str = "vdpm-mini"
    """The network."""
    weights: Annotated[str, tyro.conf.arg(metavar="FILE")] = ""
    """Its weights, in place of the bundled ones."""
    json: Path | None = None
    """Write the figures into this file, too."""


def main(config: DemoConfig) -> int:
    """0 where everything was written."""
    bag = config.out.with_suffix(".mcap")
    shutil.rmtree(config.out, ignore_errors=True)
    os.environ |= {
        "ROS_DOMAIN_ID": str(random.randint(100, 200)),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA",
    }
    rclpy.init()
    with running("the node", node_command(config)), running("the recorder", recorder_command(bag)):
        status = replay(config)
    rclpy.shutdown()
    draw(bag, config.out)
    figures = figures_of(status, bag)
    report(config, bag, figures)
    if config.json is not None:
        config.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def node_command(config: DemoConfig) -> list[str]:
    """The node as on a robot, told where the camera is."""
    parameters = {"image_transport": "compressed", "image_qos": "reliable", "cloud_fields": "motion"}
    parameters |= {"model": config.model, "weights": f"'{config.weights}'"}
    remappings = {"image": IMAGES.removesuffix("/compressed"), "camera_info": CALIBRATION}
    command = [sys.executable, "-m", "dpm_ros.node", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    for name, value in remappings.items():
        command += ["-r", f"{name}:={value}"]
    return command


def recorder_command(bag: Path) -> list[str]:
    """Everything that the node publishes, beside what it was given."""
    command = [sys.executable, "-m", "dpm_ros.record"]
    return [*command, *OUTPUTS, IMAGES, CALIBRATION, "--out", str(bag), "--overwrite"]


@contextmanager
def running(what: str, command: list[str]) -> Iterator[None]:
    """A process for the time of the block, ended as by Ctrl-C."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield
        process.send_signal(signal.SIGINT)
        if process.wait(60) != 0:
            raise SystemExit(f"{what} ended with {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def replay(config: DemoConfig) -> dict[str, str]:
    """Play the bag, and give what the node says of itself when it has answered everything."""
    listener = Listener()
    listener.wait(lambda status: status["state"] == "active", "the node to start", 120)
    listener.wait(lambda _: listener.read_by_somebody(OUTPUTS), "the recorder to listen", 120)
    # The node and the recorder each want the images and their calibration.
    command = [sys.executable, "-m", "dpm_ros.replay", str(config.bag), "--rate", str(config.rate), "--wait-for", "4"]
    subprocess.run(command, check=True)
    sent = len(log_times(config.bag, IMAGES))
    return listener.wait(
        lambda status: int(status["frames in"]) >= sent and status["waiting"] == "0", "the last estimate", 120
    )


class Listener:
    """Hears the node's diagnostics."""

    def __init__(self) -> None:
        self._node = rclpy.create_node("dpm_demo")
        self._status: dict[str, str] = {}
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, 10)

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._status = {item.key: item.value for item in status.values}

    def read_by_somebody(self, topics: Iterable[str]) -> bool:
        """Whether each has a reader."""
        return all(self._node.count_subscribers(topic) for topic in topics)

    def wait(self, until: Callable[[dict[str, str]], bool], what: str, seconds: float) -> dict[str, str]:
        """The first status for which `until` holds."""
        ends = time.monotonic() + seconds
        while not (self._status and until(self._status)):
            rclpy.spin_once(self._node, timeout_sec=0.2)
            if time.monotonic() > ends:
                raise SystemExit(f"waited {seconds:.0f} s for {what}; the node says: {self._status or 'nothing'}")
        return self._status


def draw(bag: Path, out: Path) -> None:
    """A picture a frame and one Rerun recording from what was recorded."""
    (out / "pictures").mkdir(parents=True)
    recording = Recording(out / "recording.rrd")
    path = []
    for index, estimate in enumerate(estimates(bag, IMAGES)):
        path.append(estimate.world_from_camera[:3, 3])
        drawn = cv2.cvtColor(picture(estimate, path), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(out / "pictures" / f"{index:06d}.png"), drawn)
        recording.add(estimate)
    recording.close()
    if not path:
        raise SystemExit(f"{bag} holds no complete estimate")


def figures_of(status: dict[str, str], bag: Path) -> dict[str, Any]:
    """How it went: counts and latencies by the node's own diagnostics, the rate by what was recorded."""
    published = log_times(bag, "/pose")
    seconds = (published[-1] - published[0]) * 1e-9
    stages = [key.removeprefix("latency: ").removesuffix(" p50 (ms)") for key in status if key.endswith(" p50 (ms)")]
    return {
        "engine": status["engine"],
        "notice": status["notice"],
        "frames_in": int(status["frames in"]),
        "estimates_out": int(status["estimates out"]),
        "rate_hz": (len(published) - 1) / seconds if seconds > 0 else 0.0,
        "dropped": {key.removeprefix("dropped: "): int(n) for key, n in status.items() if key.startswith("dropped: ")},
        "latency_ms": {
            stage: {name: float(status[f"latency: {stage} {name} (ms)"]) for name in ("p50", "p95", "max")}
            for stage in stages
        },
    }


def report(config: DemoConfig, bag: Path, figures: dict[str, Any]) -> None:
    """Where things are, and how it went, for people."""
    table = Table(title="latency of an estimate, ms", title_justify="left")
    for column in ("stage", "p50", "p95", "max"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, spread in figures["latency_ms"].items():
        table.add_row(stage, *(f"{value:.1f}" for value in spread.values()))
    dropped = ", ".join(f"{count} by {why}" for why, count in figures["dropped"].items()) or "none"
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"engine           {figures['engine']}")
    console.print(f"estimates        {figures['estimates_out']} of {figures['frames_in']} frames; dropped: {dropped}")
    console.print(f"rate             {figures['rate_hz']:.1f} Hz, replayed at {config.rate:g} of the recording's speed")
    console.print(f"what it sent     {bag} (opens in Foxglove, `ros2 bag play`, `dpm replay`)")
    console.print(f"pictures         {config.out / 'pictures'}")
    console.print(f"Rerun recording  {config.out / 'recording.rrd'} (open it with .venv/bin/rerun)")
    if figures["notice"]:
        console.print(f"\n[bold]{figures['notice']}[/bold]")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(DemoConfig)))
