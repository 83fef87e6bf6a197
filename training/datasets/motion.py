# SPDX-License-Identifier: Apache-2.0
"""Where things go, from what data sets tell: poses of rigid objects, tracks of points, optical flow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from dpm_core.types import Bool, Float32, Float64

from .clip import Clip, Fitted, Moved, View

OUTLINE = 0.05
"""Depths around a place that differ by more of their size are an outline: what is beside it is another thing."""

STILL = 1e-3
"""Motion below it, in the data set's unit, is none: poses are stored with few digits."""


class RigidClip(Clip):
    """Every object moves rigidly, with known poses; object 0 stands still."""

    @abstractmethod
    def object_pose(self, object_id: int, index: int) -> Float64 | None:
        """world_from_object [4, 4] at a frame; None where it is not known."""

    def moved(self, view: Fitted, index: int, time: int) -> Moved:
        """Each object's points by its own motion."""
        points, valid = view.points.copy(), view.valid.copy()
        for object_id, motion in self._motions(view, index, time):
            mask = view.object_id == object_id
            if motion is None:
                valid &= ~mask
            else:
                points[mask] = points[mask] @ motion[:3, :3].T + motion[:3, 3]
        return points, valid

    def dynamic(self, view: Fitted, index: int, frames: Sequence[int]) -> Bool:
        """What any of the window's times sees elsewhere."""
        moves = np.zeros_like(view.valid)
        for time in frames:
            points, valid = self.moved(view, index, time)
            moves |= valid & (np.linalg.norm(points - view.points, axis=-1) > STILL)
        return moves

    def _motions(self, view: Fitted, index: int, time: int) -> list[tuple[int, Float64 | None]]:
        assert view.object_id is not None
        motions: list[tuple[int, Float64 | None]] = []
        for object_id in np.unique(view.object_id):
            if object_id == 0 or time == index:
                continue
            before, after = (self.object_pose(int(object_id), frame) for frame in (index, time))
            motion = None if before is None or after is None else after @ np.linalg.inv(before)
            motions.append((int(object_id), motion))
        return motions


class TrackClip(Clip):
    """Some points are followed through all frames; the dense maps know only their own time."""

    nearness = 0.02
    """A track belongs to the pixel it falls on where the pixel's point is that near, relative to its depth."""

    @abstractmethod
    def tracks(self, index: int) -> tuple[Float64, Float64, Bool, Bool]:
        """Of a frame: points [N, 3] in the world, pixels (u, v) [N, 2], whether seen [N], whether known [N]."""

    def moved(self, view: Fitted, index: int, time: int) -> Moved:
        """At other times: the pixels that a track falls on."""
        if time == index:
            return view.points, view.valid
        here, pixels, seen, known = self.tracks(index)
        there, _, _, known_there = self.tracks(time)
        points, valid = np.zeros_like(view.points), np.zeros_like(view.valid)
        height, width = view.depth.shape
        u, v = np.round(view.from_source(pixels)).T
        use = seen & known & known_there & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        column, row = u[use].astype(int), v[use].astype(int)
        own = view.points[row, column]
        close = np.linalg.norm(own - here[use], axis=-1) < self.nearness * np.maximum(view.depth[row, column], 1e-6)
        close &= view.valid[row, column]
        row, column = row[close], column[close]
        # The pixel's own point, moved as the track moves: the two are not exactly the same point.
        points[row, column] = own[close] + (there[use] - here[use])[close]
        valid[row, column] = True
        return points, valid


class FlowClip(Clip):
    """Optical flow to the next frame is known; what the camera explains of it stands still (D²USt3R eq. 5)."""

    still = 1.0
    """τ of eq. 5, pixels of the source."""

    @abstractmethod
    def flow(self, index: int) -> tuple[Float32, Bool]:
        """From a frame to the next: [H, W, 2] source pixels (u, v), and where it is known and seen [H, W]."""

    def moved(self, view: Fitted, index: int, time: int) -> Moved:
        """Still pixels as they are; moving ones by following the flow, forwards or, turned around, backwards."""
        if time == index:
            return view.points, view.valid
        found, known = self._followed(view, index, time)
        moves, stands = self._moves_or_stands(view, index)
        points = np.where(moves[..., None], found, view.points)
        return points, view.valid & np.where(moves, known, stands)

    def dynamic(self, view: Fitted, index: int, frames: Sequence[int]) -> Bool:
        """What moves towards the next frame, or in the last frame, from the one before."""
        return self._moves_or_stands(view, index)[0]

    def _followed(self, view: Fitted, index: int, time: int) -> Moved:
        """Points of all pixels at another time, by chained flow."""
        first, last = min(index, time), max(index, time)
        origin = self.view(first)
        height, width = origin.depth.shape
        v, u = np.mgrid[:height, :width].astype(np.float64)
        seen = np.ones((height, width), bool)
        for step in range(first, last):
            flow, known = self.flow(step)
            row, column, inside = _nearest(v, u, height, width)
            seen &= inside & known[row, column] & (_spread(flow, v, u) < self.still)
            u, v = u + flow[row, column, 0], v + flow[row, column, 1]
        row, column, inside = _nearest(v, u, height, width)
        arrival = self.view(last).depth
        seen &= inside & (_spread(arrival[..., None], v, u) < OUTLINE * arrival[row, column])
        at = np.ix_(view.rows, view.columns)
        if index < time:
            there = self.view(time)
            depth = there.depth[row[at], column[at]]
            return unprojected(u[at], v[at], depth, there.intrinsics, there.world_from_camera), seen[at] & (depth > 0)
        # Flow runs towards this view: hand each pixel that it arrives at the point that it left.
        points, valid = world_points(origin)
        seen &= valid
        arrived, known = np.zeros_like(points), np.zeros_like(valid)
        arrived[row[seen], column[seen]], known[row[seen], column[seen]] = points[seen], True
        return arrived[at], known[at]

    def _moves_or_stands(self, view: Fitted, index: int) -> tuple[Bool, Bool]:
        """Eq. 5 and its opposite, [H, W] each; neither where the flow is not known."""
        forward = index + 1 < len(self)
        other = index + 1 if forward else index - 1
        here, there = self.view(index), self.view(other)
        if not forward:
            here, there = there, here
        flow, known = self.flow(index if forward else other)
        points, valid = world_points(here)
        local = np.linalg.inv(there.world_from_camera)
        camera = points @ local[:3, :3].T + local[:3, 3]
        projected = camera @ there.intrinsics.T
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = projected[..., :2] / projected[..., 2:]
        height, width = here.depth.shape
        v, u = np.mgrid[:height, :width]
        away = np.linalg.norm(np.stack([u, v], -1) + flow - expected, axis=-1)
        known = valid & known
        moves, stands = known & (away > self.still), known & (away <= self.still)
        if not forward:
            row, column, inside = _nearest(v + flow[..., 1], u + flow[..., 0], height, width)
            moves, stands = (_carried(mask & inside, row, column) for mask in (moves, stands))
        at = np.ix_(view.rows, view.columns)
        return moves[at], stands[at]


def _carried(mask: Bool, row: np.ndarray, column: np.ndarray) -> Bool:
    """The mask at the places where its pixels go."""
    carried = np.zeros_like(mask)
    carried[row[mask], column[mask]] = True
    return carried


def world_points(view: View | Fitted) -> Moved:
    """Points of a view's depth in the world, [H, W, 3], and where there are any."""
    v, u = np.mgrid[: view.depth.shape[0], : view.depth.shape[1]]
    return unprojected(u, v, view.depth, view.intrinsics, view.world_from_camera), view.depth > 0


def unprojected(u: np.ndarray, v: np.ndarray, depth: np.ndarray, K: Float64, world_from_camera: Float64) -> Float64:
    """World points [..., 3] of pixels (u, v) at a depth, each [...]."""
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(depth.shape)], -1)
    points: Float64 = rays * depth[..., None] @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]
    return points


def _spread(values: np.ndarray, v: Float64, u: Float64) -> Float64:
    """Largest difference among the four pixels around each place. values: [H, W, C]."""
    height, width = values.shape[:2]
    corners = []
    for rounded in (np.floor, np.ceil):
        for other in (np.floor, np.ceil):
            row, column, _ = _nearest(rounded(v), other(u), height, width)
            corners.append(values[row, column])
    spread: Float64 = np.ptp(corners, axis=0).max(-1)
    return spread


def _nearest(v: Float64, u: Float64, height: int, width: int) -> tuple[np.ndarray, np.ndarray, Bool]:
    """Row and column next to a place, kept inside, and whether it was."""
    row, column = (np.nan_to_num(np.round(x), nan=-1.0, posinf=-1.0, neginf=-1.0).astype(int) for x in (v, u))
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return row.clip(0, height - 1), column.clip(0, width - 1), inside
