# SPDX-License-Identifier: Apache-2.0
"""What an offline run leaves behind: one folder, complete or not there at all."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np

from ..atomic import AtomicFolder
from ..errors import DpmError
from ..stream.statistics import Tally
from ..stream.wanted import Wanted
from ..types import Estimate, Float64, MetricScale
from ..version import __version__
from .pictures import picture
from .ply import write_ply
from .recording import Recording, recording_possible
from .trajectory import seconds_text, write_trajectory

SUMMARY = "summary.json"
NO_RERUN = "rerun-sdk is not installed, so there is no recording.rrd; install it with: pip install 'dpm[view]'"


@dataclass(frozen=True)
class Outputs:
    """What is written beside the trajectory, the intrinsics and the summary.

    Attributes:
        depth: a float32 TIFF a frame, NaN where there is none.
        mask: a PNG a frame, 255 where something moves.
        cloud: a PLY a frame, everything fused at its instant.
        map: one PLY of all that does not move, as it is known in the end.
        tracks: one table of where the points that move were at each frame.
        recording: one Rerun recording of all.
        pictures: a PNG a frame for people: input, depth, mask, and the cloud from the side.
    """

    depth: bool = True
    mask: bool = True
    cloud: bool = True
    map: bool = True
    tracks: bool = True
    recording: bool = True
    pictures: bool = False

    def wanted(self) -> Wanted:
        """What of an estimate they are made of; camera path, depth and the newest frame's motion always."""
        cloud = self.cloud or self.recording or self.pictures
        return Wanted(cloud=cloud, motion="all" if cloud else "newest")


class Results:
    """Collects estimates; a context manager. An error or an interrupt inside leaves nothing behind.

    Files of a frame are named by its number, `000000` the first; line n of the trajectory and entry n of
    `intrinsics.json` are of the same frame.

    Attributes:
        path: the folder, there when the block has ended.
        notices: what a user should hear of the outputs.
    """

    def __init__(
        self, path: Path, about: Mapping[str, Any], outputs: Outputs | None = None, overwrite: bool = False
    ) -> None:
        """about: goes into the summary as it is (source, model, notice, …).

        Raises:
            DpmError: the folder is there and may not be overwritten, or cannot be written.
        """
        outputs = outputs or Outputs()
        self.path = path
        self.notices = [NO_RERUN] if outputs.recording and not recording_possible() else []
        self._about = about
        self._folder = AtomicFolder(path, SUMMARY, overwrite)
        self._tally = Tally()
        self._unit = "network"
        self._scale: MetricScale | None = None
        self._final: dict[str, Any] | None = None
        self._begun = time.perf_counter()
        try:
            self._writers = [make(self._folder.unfinished) for make in _chosen(outputs)]
        except BaseException:
            self._folder.abandon()
            raise

    def add(self, estimate: Estimate) -> None:
        """Write one estimate.

        Raises:
            DpmError: the disk does not take it.
        """
        try:
            for writer in self._writers:
                writer.add(self._tally.estimates_out, estimate)
        except OSError as error:
            raise self._unwritable(error) from error
        self._tally.frames_in += 1
        self._tally.estimates_out += 1
        self._tally.time({**estimate.seconds, "total": sum(estimate.seconds.values())})
        self._unit = estimate.unit
        self._scale = estimate.scale

    def start(self) -> None:
        """Start the clock of the run anew, when the network is ready."""
        self._begun = time.perf_counter()

    def tell(self, **about: Any) -> None:
        """Add to what the summary tells."""
        self._about = {**self._about, **about}

    def drop(self, reason: str) -> None:
        """Count a frame that gave no estimate."""
        self._tally.frames_in += 1
        self._tally.dropped[reason] += 1

    def summary(self) -> dict[str, Any]:
        """What is known so far, in the end what was written.

        Latencies are in seconds; the rate is of the whole run, reading and writing too.
        """
        if self._final is not None:
            return self._final
        seconds = time.perf_counter() - self._begun
        statistics = self._tally.picture()
        return {
            "dpm": __version__,
            **self._about,
            "unit": self._unit,
            "scale": None if self._scale is None else asdict(self._scale),
            "frames": statistics.frames_in,
            "estimates": statistics.estimates_out,
            "dropped": statistics.dropped,
            "seconds": seconds,
            "rate_hz": statistics.estimates_out / seconds,
            "latency_s": statistics.as_json()["latency"],
            "notices": self.notices,
        }

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._complete()
            else:
                self._let_go()
        finally:
            self._folder.abandon()

    def _complete(self) -> None:
        try:
            for writer in self._writers:
                writer.close()
            self._final = self.summary()
            text = json.dumps(self._final, indent=2, ensure_ascii=False)
            (self._folder.unfinished / SUMMARY).write_text(text + "\n")
            self._folder.finish()
        except OSError as error:
            raise self._unwritable(error) from error

    def _let_go(self) -> None:
        """Close what is open; what else goes wrong does not matter any more."""
        for writer in self._writers:
            with suppress(Exception):
                writer.close()

    def _unwritable(self, error: OSError) -> DpmError:
        return DpmError(f"{self.path} cannot be written on ({error}); make room or choose another --out")


class _Writer(Protocol):
    def add(self, index: int, estimate: Estimate) -> None: ...
    def close(self) -> None: ...


def _chosen(outputs: Outputs) -> list[Callable[[Path], _Writer]]:
    writers: list[Callable[[Path], _Writer]] = [_Trajectory, _Intrinsics]
    if outputs.depth:
        writers.append(_Depth)
    if outputs.mask:
        writers.append(_Mask)
    if outputs.cloud:
        writers.append(_Clouds)
    if outputs.map:
        writers.append(_Map)
    if outputs.tracks:
        writers.append(_Tracks)
    if outputs.recording and recording_possible():
        writers.append(_Recording)
    if outputs.pictures:
        writers.append(_Pictures)
    return writers


class _Trajectory:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "trajectory.txt"
        self._poses: list[tuple[int, Float64]] = []

    def add(self, index: int, estimate: Estimate) -> None:
        self._poses.append((estimate.stamp_ns, estimate.world_from_camera))

    def close(self) -> None:
        write_trajectory(self._path, self._poses)


class _Intrinsics:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "intrinsics.json"
        self._frames: list[dict[str, Any]] = []

    def add(self, index: int, estimate: Estimate) -> None:
        height, width = estimate.depth.shape
        camera = {"stamp_ns": estimate.stamp_ns, "frame_id": estimate.frame_id, "width": width, "height": height}
        self._frames.append({**camera, "matrix": estimate.intrinsics.tolist()})

    def close(self) -> None:
        lines = ",\n ".join(json.dumps(frame) for frame in self._frames)
        self._path.write_text(f"[{lines}]\n")


class _EachFrame(ABC):
    """A file a frame in a folder of its own."""

    name = ""
    suffix = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / self.name
        self._folder.mkdir()

    def add(self, index: int, estimate: Estimate) -> None:
        self.write(self._folder / f"{index:06d}{self.suffix}", estimate)

    @abstractmethod
    def write(self, path: Path, estimate: Estimate) -> None:
        """One frame's file."""

    def close(self) -> None:  # noqa: B027 (nothing to do is right for most)
        """Every file is complete already."""


class _Depth(_EachFrame):
    name, suffix = "depth", ".tiff"

    def write(self, path: Path, estimate: Estimate) -> None:
        _write_image(path, np.ascontiguousarray(estimate.depth, np.float32))


class _Mask(_EachFrame):
    name, suffix = "mask", ".png"

    def write(self, path: Path, estimate: Estimate) -> None:
        _write_image(path, estimate.dynamic.astype(np.uint8) * 255)


class _Clouds(_EachFrame):
    name, suffix = "cloud", ".ply"

    def write(self, path: Path, estimate: Estimate) -> None:
        stamp = f"stamp {seconds_text(estimate.stamp_ns)}"
        write_ply(path, estimate.cloud, (stamp, f"unit {estimate.unit}, velocity per second"))


class _Map:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "map.ply"
        self._newest: Estimate | None = None

    def add(self, index: int, estimate: Estimate) -> None:
        self._newest = estimate

    def close(self) -> None:
        if self._newest is not None:
            write_ply(self._path, self._newest.static_map(), (f"unit {self._newest.unit}",))


class _Tracks:
    def __init__(self, folder: Path) -> None:
        self._file = (folder / "tracks.csv").open("w", encoding="ascii")
        self._file.write("stamp,track,x,y,z\n")

    def add(self, index: int, estimate: Estimate) -> None:
        stamp = seconds_text(estimate.stamp_ns)
        positions = estimate.tracks.points[-1:].reshape(-1, 3)
        for track, (x, y, z) in zip(estimate.tracks.ids, positions, strict=True):
            self._file.write(f"{stamp},{track},{x:.9g},{y:.9g},{z:.9g}\n")

    def close(self) -> None:
        self._file.close()


class _Pictures(_EachFrame):
    name, suffix = "pictures", ".png"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path: list[Float64] = []

    def write(self, path: Path, estimate: Estimate) -> None:
        self._path.append(estimate.world_from_camera[:3, 3])
        _write_image(path, cv2.cvtColor(picture(estimate, self._path), cv2.COLOR_RGB2BGR))


class _Recording:
    def __init__(self, folder: Path) -> None:
        self._recording = Recording(folder / "recording.rrd")

    def add(self, index: int, estimate: Estimate) -> None:
        self._recording.add(estimate)

    def close(self) -> None:
        self._recording.close()


def _write_image(path: Path, image: Any) -> None:
    if not cv2.imwrite(str(path), image):
        raise OSError(f"{path} could not be written")
