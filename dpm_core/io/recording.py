# SPDX-License-Identifier: Apache-2.0
"""Estimates as a Rerun recording: the moving cloud, the camera and what it saw, on the frames' own time."""

from __future__ import annotations

from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..types import Bool, Cloud, Estimate, Float64, Tracks
from .colors import track_colors

_PATH_KEPT = 300  # camera centres shown behind the newest
_MAP_CHANGE = 0.2  # part by which the map must grow or shrink to be written again: all of them together stay small
TIMELINE = "stamp"


def recording_possible() -> bool:
    """Whether rerun-sdk is installed."""
    return find_spec("rerun") is not None


class Recording:
    """Writes `estimate` after `estimate` into a .rrd file; `close` completes it."""

    def __init__(self, path: Path) -> None:
        import rerun

        self._rr: Any = rerun
        self._stream = rerun.RecordingStream("dpm")
        self._stream.save(path, default_blueprint=_blueprint())
        self._stream.log("map", rerun.ViewCoordinates.RIGHT_HAND_Y_DOWN, static=True)
        names = [(0, "static", (0, 0, 0, 0)), (1, "moving", (255, 60, 40, 160))]
        self._stream.log("map/camera/moving", rerun.AnnotationContext(names), static=True)
        self._path: deque[Float64] = deque(maxlen=_PATH_KEPT)
        self._map_size = 0

    def add(self, estimate: Estimate) -> None:
        """Log one estimate at its stamp."""
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(estimate.stamp_ns, "ns"))
        self._camera(estimate)
        self._cloud("map/points/static", estimate.cloud, ~estimate.cloud.dynamic)
        self._cloud("map/points/moving", estimate.cloud, estimate.cloud.dynamic)
        self._tracks(estimate.tracks)
        self._map(estimate)

    def close(self) -> None:
        """Complete the file."""
        self._stream.flush()
        self._stream.disconnect()

    def _camera(self, estimate: Estimate) -> None:
        rr, log = self._rr, self._stream.log
        pose = estimate.world_from_camera
        height, width = estimate.depth.shape
        pinhole = rr.Pinhole(image_from_camera=estimate.intrinsics, width=width, height=height)
        log("map/camera", rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]), pinhole)
        log("map/camera/image", rr.Image(estimate.image).compress(jpeg_quality=90))
        log("map/camera/depth", rr.DepthImage(estimate.depth, meter=1.0))
        log("map/camera/moving", rr.SegmentationImage(estimate.dynamic.astype(np.uint8)))
        self._path.append(pose[:3, 3])
        log("map/path", rr.LineStrips3D([np.array(self._path)], colors=[40, 120, 255]))

    def _cloud(self, entity: str, cloud: Cloud, chosen: Bool) -> None:
        self._stream.log(entity, self._rr.Points3D(cloud.points[chosen], colors=cloud.colors[chosen]))

    def _tracks(self, tracks: Tracks) -> None:
        strips = [strip[np.isfinite(strip).all(-1)] for strip in tracks.points.swapaxes(0, 1)]
        colors = track_colors(tracks.ids)
        self._stream.log("map/tracks", self._rr.LineStrips3D(strips, colors=colors))

    def _map(self, estimate: Estimate) -> None:
        still = estimate.static_map()
        size = len(still.points)
        if abs(size - self._map_size) > _MAP_CHANGE * self._map_size:
            self._map_size = size
            self._stream.log("map/still", self._rr.Points3D(still.points, colors=still.colors))


def _blueprint() -> Any:
    from rerun import blueprint as layout

    images = [layout.Spatial2DView(origin=f"map/camera/{name}", name=name) for name in ("image", "depth")]
    moving = layout.Spatial2DView(origin="map/camera", contents=["$origin/image", "$origin/moving"], name="moving")
    world = layout.Spatial3DView(
        origin="map", contents=["$origin/**", "- $origin/camera/depth", "- $origin/camera/moving"], name="world"
    )
    return layout.Blueprint(
        layout.Horizontal(world, layout.Vertical(*images, moving), column_shares=[3, 1]), collapse_panels=True
    )
