# SPDX-License-Identifier: Apache-2.0
"""`dpm bag`: what the node would say of a bag's images, written beside the bag's own topics; no frame is dropped.

Cameras first, one after another, into an unfinished folder beside the output (bag_camera.py), then all into one bag
(bag_merge.py). Both steps give the same bytes however often they are interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rosbags.rosbag2 import Reader
from tyro.conf import Positional, arg

from dpm_core.cli.arguments import parse, write_json
from dpm_core.engines import Engine, open_engine
from dpm_core.errors import DpmError
from dpm_core.io.bag import BagSource
from dpm_core.io.sensors import Sensors
from dpm_core.version import __version__

from . import bags
from .bag_camera import OUTPUTS, BagCamera
from .bag_job import unfinished
from .bag_merge import Results, absolute, merge
from .bag_settings import settings

_SHARED = ("/tf", "/tf_static")  # topics that everybody adds to


@dataclass(frozen=True)
class Bag:
    """Put the moving world beside a bag's own topics: every image through the node's session, none dropped.

    Attributes:
        input: a rosbag2 folder, an .mcap or a .db3 file.
        out: the new bag with all topics of the old one: one file where it ends in .mcap, else a rosbag2 folder.
        topic: the image topics; the only one where none is named.
        namespace: of the outputs, one for each topic; none for one camera, else that of the image topic.
        depth_topic: depth images of the same view, one topic for each camera: makes lengths metres.
        odom_topic: the robot's odometry, nav_msgs/Odometry or /tf: makes lengths metres.
        outputs: only these of the node's outputs, such as points pose /tf; all where none is named.
        model: the network; `dpm weights list` tells the names.
        weights: a file of weights in place of the model's own.
        device: auto, cpu, cuda, cuda:1, …
        backend: auto, or what runs the network.
        params_file: the node's parameters, as launch files take them.
        param: name:=value, a parameter of the node each.
        save_every: frames that a kill may cost; after so many the state is saved.
        restart: forget what an interrupted run has done, in place of going on.
        overwrite: replace a bag of that name.
        json: write the figures to this file.
    """

    input: Positional[Path]
    out: Path
    topic: Annotated[tuple[str, ...], arg(metavar="NAME ...")] = ()
    namespace: Annotated[tuple[str, ...], arg(metavar="NAME ...")] = ()
    depth_topic: Annotated[tuple[str, ...], arg(metavar="NAME ...")] = ()
    odom_topic: str | None = None
    outputs: Annotated[tuple[str, ...], arg(metavar="NAME ...")] = ()
    model: str | None = None
    weights: Path | None = None
    device: str | None = None
    backend: str | None = None
    params_file: Path | None = None
    param: Annotated[tuple[str, ...], arg(metavar="NAME:=VALUE ...")] = ()
    save_every: int = 20
    restart: bool = False
    overwrite: bool = False
    json: Annotated[Path | None, arg(metavar="FILE")] = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.save_every < 1:
            raise DpmError(f"--save-every is {self.save_every}; it must be 1 or more frames")
        for name in self.outputs:
            if name not in OUTPUTS:
                raise DpmError(f"--outputs {name}: there is no such output; choose from: {', '.join(OUTPUTS)}")
        if self.namespace and len(self.namespace) != max(1, len(self.topic)):
            raise DpmError(
                f"{len(self.namespace)} --namespace for {max(1, len(self.topic))} --topic; give one for each"
            )

    @property
    def values(self) -> dict[str, Any]:
        """The node's parameters.

        Raises:
            DpmError: one is not known, or cannot be meant.
        """
        named = {"model": self.model, "weights": self.weights, "device": self.device, "backend": self.backend}
        own = [f"{name}:={json.dumps(str(value))}" for name, value in named.items() if value is not None]
        return settings(self.params_file, [*self.param, *own])


@dataclass(frozen=True)
class _Camera:
    """A camera of the bag.

    Attributes:
        topic: of its images.
        namespace: of its outputs, "" for none.
        depth_topic: of its depth images, None without.
        prefix: of its map's and world's frames, which must differ between cameras.
    """

    topic: str
    namespace: str
    depth_topic: str | None = None
    prefix: str = ""

    def values(self, values: dict[str, Any]) -> dict[str, Any]:
        """The parameters of this camera."""
        own = {name: self.prefix + values[name] for name in ("map_frame", "world_frame") if values[name]}
        return {**values, **own}

    def source(self, options: Bag, values: dict[str, Any]) -> BagSource:
        """Its frames, with the calibration beside its topic."""
        names = {name: str(values[name]) for name in ("odom_frame", "base_frame", "base_from_camera")}
        sensors = Sensors(depth_topic=self.depth_topic, odom_topic=options.odom_topic, **names)
        return BagSource(options.input, self.topic, sensors)


EngineFactory = Callable[[str, "Path | None", str, str], Engine]


def main(argv: list[str], engine_factory: EngineFactory = open_engine) -> int:
    """Run the command; 0 where the bag is written, 2 for bad input, 130 where it was interrupted and can go on."""
    try:
        options = parse(Bag, "dpm bag", argv)
        figures = _bag(options, engine_factory, Console(stderr=True, highlight=False))
        if options.json is not None:
            write_json(options.json, figures)
        _report(options, figures)
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dpm: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _bag(options: Bag, engine_factory: EngineFactory, console: Console) -> dict[str, Any]:
    values = options.values
    if options.out.exists() and not options.overwrite:
        raise DpmError(f"{options.out} exists; choose another name or add --overwrite")
    with bags.open_bag(options.input) as reader:
        cameras = _cameras(options)
        _require_free_names(options, reader, cameras)
        about = _about(options, reader, cameras, values)
        with unfinished(options.out, about, options.restart) as folder:
            engine = _engine(engine_factory, values, console)
            results = []
            for number, camera in enumerate(cameras):
                done = BagCamera(folder / f"camera-{number}", engine, camera.values(values), _chosen(options))
                with camera.source(options, values) as source, _progress(console) as progress:
                    _process(done, source, options.save_every, progress)
                results.append(Results(camera.topic, camera.namespace, done))
            return {"model": engine.name, "notice": engine.notice, **_merge(options, reader, results, console)}


def _process(camera: BagCamera, source: BagSource, save_every: int, progress: Progress) -> None:
    task = progress.add_task(source.name, total=source.length, completed=camera.count.frames)
    camera.run(source, save_every, lambda: progress.advance(task))


def _merge(options: Bag, reader: Reader, results: Sequence[Results], console: Console) -> dict[str, Any]:
    with bags.BagWriter(options.out, options.overwrite) as writer, _progress(console) as progress:
        task = progress.add_task(f"writing {options.out.name}", total=reader.message_count)
        left_out = merge(reader, writer, results, lambda: progress.advance(task))
    return {
        "out": str(options.out),
        "messages": writer.count,
        "bytes": _size(options.out),
        "left_out": left_out,
        "cameras": [_figures(each) for each in results],
    }


def _figures(results: Results) -> dict[str, Any]:
    count = results.camera.count
    return {
        "topic": results.topic,
        "frames": count.frames,
        "estimates": count.estimates,
        "resumed_at": results.camera.begun_at,
        "unit": count.unit,
        "dropped": dict(count.dropped),
        "breaks": dict(count.breaks),
        "messages": {absolute(name, results.namespace): number for name, number in count.messages.items()},
    }


def _cameras(options: Bag) -> list[_Camera]:
    """The cameras with namespaces that differ.

    Raises:
        DpmError: the bag has no such images, or two cameras have one namespace.
    """
    topics = [_topic_of_images(options.input, topic) for topic in options.topic or (None,)]
    if len(topics) == 1:
        return [_Camera(topics[0], (*options.namespace, "")[0], (*options.depth_topic, None)[0])]
    spaces = [f"/{name.strip('/')}" for name in options.namespace or map(_home, topics)]
    for space in spaces:
        if spaces.count(space) > 1:
            raise DpmError(f"two cameras would write into {space}; give each a --namespace of its own")
    depths = options.depth_topic or (None,) * len(topics)
    each = zip(topics, spaces, depths, strict=True)
    return [_Camera(topic, space, depth, f"{space[1:]}/") for topic, space, depth in each]


def _topic_of_images(path: Path, wanted: str | None) -> str:
    with BagSource(path, wanted) as source:
        return source.topic


def _home(topic: str) -> str:
    """The namespace of the camera: "/left" of "/left/image_raw" and of "/left/image_raw/compressed"."""
    return str(PurePosixPath(topic.removesuffix("/compressed")).parent)


def _chosen(options: Bag) -> set[str]:
    return set(options.outputs or OUTPUTS)


def _require_free_names(options: Bag, reader: Reader, cameras: Sequence[_Camera]) -> None:
    there = {connection.topic for connection in reader.connections}
    for camera in cameras:
        for name in sorted(_chosen(options)):
            topic = absolute(name, camera.namespace)
            if topic in there and topic not in _SHARED:
                raise DpmError(f"{options.input} has a topic {topic} already; give another --namespace")


def _engine(factory: EngineFactory, values: dict[str, Any], console: Console) -> Engine:
    weights = Path(values["weights"]) if values["weights"] else None
    engine = factory(values["model"], weights, values["device"], values["backend"])
    if engine.notice is not None:
        console.print(f"[yellow]note:[/] {engine.notice}", soft_wrap=True)
    return engine


def _about(options: Bag, reader: Reader, cameras: Sequence[_Camera], values: dict[str, Any]) -> dict[str, Any]:
    """All that the result depends on."""
    weights = Path(values["weights"]) if values["weights"] else None
    counts = {f"messages on {each.topic}": each.msgcount for each in reader.connections}
    return {
        **values,
        **counts,
        "dpm": __version__,
        "torch": torch.__version__,
        "threads of torch": torch.get_num_threads(),  # sums in another order end in other bits
        "start of the bag": reader.start_time,
        "end of the bag": reader.end_time,
        "cameras": [[camera.topic, camera.namespace, camera.depth_topic] for camera in cameras],
        "odometry": options.odom_topic,
        "outputs": sorted(_chosen(options)),
        "size of the weights": weights.stat().st_size if weights is not None and weights.exists() else None,
    }


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _report(options: Bag, figures: dict[str, Any]) -> None:
    for camera in figures["cameras"]:
        unit = "metres" if camera["unit"] == "m" else "the network's own unit (the scale is not known)"
        print(f"{camera['estimates']} of {camera['frames']} images on {camera['topic']}; lengths are in {unit}")
        for reason, count in camera["dropped"].items():
            print(f"note: {count} frames gave no estimate: {reason}")
        for reason, count in camera["breaks"].items():
            print(f"note: the window began anew {count} times: {reason}")
    for topic in figures["left_out"]:
        print(f"note: {topic} is left out; the bag does not tell its type's definition")
    print(f"{figures['messages']} messages in {options.out}, {figures['bytes'] / 1e6:.1f} MB; it opens in Foxglove,")
    print(f"  and plays with: ros2 bag play {options.out}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
