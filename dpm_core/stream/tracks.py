# SPDX-License-Identifier: Apache-2.0
"""Moving points followed through time: each keeps its identity while it is seen.

A dynamic point map says where the content of pixel x of view v is at time t: P[v, t](x). So a point that was marked at
a pixel of a frame is followed, with no search, for as long as that frame is in the window: at every new instant it is
at P[v, now](x). Windows are chained by the frames they share: before the frame leaves the window, the point is marked
again in the newest frame that shows it, at the pixel where it projects to, and goes on from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry.sim3 import Sim3
from ..types import Tracks
from .config import TrackConfig
from .view import View

Locate = Callable[[Tensor, Tensor], Tensor]
"""(view [N], pixel [N]) -> [N, 3] float32: P[view, now](pixel) in map coordinates."""


class _Marks(NamedTuple):
    """Pixels by which N points are followed.

    Attributes:
        stamp: [N] int64, of the frame.
        pixel: [N] int64, v · W + u.
        offset: [N, 3] float32, from the pixel's content to the point itself, within a pixel of it; map units.
    """

    stamp: Tensor
    pixel: Tensor
    offset: Tensor


class _Followed(NamedTuple):
    """N points that are followed.

    Attributes:
        ids: [N] int64.
        held: the mark by which a point is followed now: the oldest, since each change adds some error.
        spare: its mark in the newest frame that showed it.
        trail: [L, N, 3] float32, where it was, oldest first, NaN before it began; map coordinates.
    """

    ids: Tensor
    held: _Marks
    spare: _Marks
    trail: Tensor


class Tracker:
    """Follows points that were seen moving. Not more than `TrackConfig.count` at once, `length` positions each."""

    def __init__(self) -> None:
        self._points: _Followed | None = None
        self._stamps: deque[int] = deque()
        self._next_id = 0

    def forget(self) -> None:
        """End all tracks; the next ones have ids of their own."""
        self._points = None
        self._stamps.clear()

    def follow(
        self,
        view: View,
        stamps: Sequence[int],
        points_now: Tensor,
        map_from_window: Sim3,
        config: TrackConfig,
    ) -> None:
        """One frame on.

        A point is seen where the newest surface at its pixel is near it. A hidden one is followed by the frames that
        saw it while they are in the window; then its track ends.

        Args:
            view: the newest frame.
            stamps: of the window's S frames, nanoseconds.
            points_now: [S, H, W, 3] float32, P[v, now], the window's coordinates.
            map_from_window: of this window.
            config: thresholds; `length` counts when the tracker begins.
        """
        locate = partial(_locate, points_now, map_from_window)
        points = self._points if self._points is not None else _nothing(view, config.length)
        points = _moved_on(_rows(points, slice(config.count)), stamps, locate)
        points = _seen_again(points, view, len(stamps) - 1, locate, config.tolerance)
        points = self._begun(points, view, len(stamps) - 1, locate, config)
        self._points = points
        self._stamps.append(view.stamp_ns)
        while len(self._stamps) > len(points.trail):
            self._stamps.popleft()

    def tracks(self) -> Tracks:
        """Where the points are and were."""
        if self._points is None:
            return Tracks.none()
        length = len(self._stamps)
        return Tracks(
            ids=self._points.ids.cpu().numpy(),
            stamps_ns=tuple(self._stamps),
            points=self._points.trail[-length:].cpu().numpy(),
        )

    def _begun(self, points: _Followed, view: View, newest: int, locate: Locate, config: TrackConfig) -> _Followed:
        """Mark moving pixels on a lattice where no point is followed near."""
        pixel = _free_lattice(points, view, config.spacing)
        room = config.count - len(points.ids)
        if len(pixel) > room:  # evenly, not the uppermost
            pixel = pixel[torch.linspace(0, len(pixel) - 1, room).round().long().to(pixel.device)]
        position = locate(torch.full_like(pixel, newest), pixel)
        finite = position.isfinite().all(-1)
        pixel, position = pixel[finite], position[finite]
        marks = _Marks(torch.full_like(pixel, view.stamp_ns), pixel, torch.zeros_like(position))
        trail = torch.full((len(points.trail), len(pixel), 3), torch.nan, device=position.device)
        trail[-1] = position
        ids = torch.arange(self._next_id, self._next_id + len(pixel), device=pixel.device)
        self._next_id += len(pixel)
        return _joined(points, _Followed(ids, marks, marks, trail))


def _locate(points_now: Tensor, map_from_window: Sim3, view: Tensor, pixel: Tensor) -> Tensor:
    return map_from_window.points(points_now.flatten(1, 2)[view, pixel])


def _moved_on(points: _Followed, stamps: Sequence[int], locate: Locate) -> _Followed:
    """Every point where it is now; those whose marks have left the window are lost."""
    in_window = torch.tensor(stamps, device=points.ids.device)
    kept = torch.isin(points.held.stamp, in_window)
    held = _chosen(kept, points.held, points.spare)
    found = torch.isin(held.stamp, in_window)
    points, held = _rows(points._replace(held=held), found), _marks_rows(held, found)

    position = locate(torch.searchsorted(in_window, held.stamp), held.pixel) + held.offset
    points = points._replace(trail=torch.cat([points.trail[1:], position[None]]))
    return _rows(points, position.isfinite().all(-1))


def _seen_again(points: _Followed, view: View, newest: int, locate: Locate, tolerance: float) -> _Followed:
    """Mark points in the newest frame where it shows them."""
    position = points.trail[-1]
    pixel, depth = view.project(position)
    inside = pixel >= 0
    pixel = pixel.clamp(min=0)
    offset = position - locate(torch.full_like(pixel, newest), pixel)
    shown = inside & view.trusted.flatten()[pixel] & (offset.norm(dim=-1) <= tolerance * depth)
    marks = _Marks(torch.full_like(pixel, view.stamp_ns), pixel, offset)
    return points._replace(spare=_chosen(shown, marks, points.spare))


def _free_lattice(points: _Followed, view: View, spacing: int) -> Tensor:
    """[M] pixels: the middles of the lattice's cells that move, are trusted and hold no point that is followed."""
    height, width = view.depth.shape
    pixel, _ = view.project(points.trail[-1])
    pixel = pixel[pixel >= 0]
    taken = torch.zeros(-(-height // spacing), -(-width // spacing), dtype=torch.bool, device=pixel.device)
    taken[pixel // width // spacing, pixel % width // spacing] = True
    middle = slice(spacing // 2, None, spacing)
    wanted = (view.dynamic & view.trusted)[middle, middle]
    rows, columns = (wanted & ~taken[: wanted.shape[0], : wanted.shape[1]]).nonzero(as_tuple=True)
    return (rows * spacing + spacing // 2) * width + columns * spacing + spacing // 2


def _nothing(view: View, length: int) -> _Followed:
    integers = torch.empty(0, dtype=torch.int64, device=view.depth.device)
    marks = _Marks(integers, integers, view.depth.new_empty(0, 3))
    return _Followed(integers, marks, marks, view.depth.new_empty(length, 0, 3))


def _chosen(first: Tensor, one: _Marks, other: _Marks) -> _Marks:
    """Marks of `one` where `first`, else of `other`."""
    stamp, pixel = (torch.where(first, *pair) for pair in zip(one[:2], other[:2], strict=True))
    return _Marks(stamp, pixel, torch.where(first[:, None], one.offset, other.offset))


def _marks_rows(marks: _Marks, rows: Tensor | slice) -> _Marks:
    return _Marks(*(array[rows] for array in marks))


def _rows(points: _Followed, rows: Tensor | slice) -> _Followed:
    marks = (_marks_rows(points.held, rows), _marks_rows(points.spare, rows))
    return _Followed(points.ids[rows], *marks, points.trail[:, rows])


def _joined(points: _Followed, more: _Followed) -> _Followed:
    held, spare = (
        _Marks(*(torch.cat(pair) for pair in zip(one, other, strict=True)))
        for one, other in ((points.held, more.held), (points.spare, more.spare))
    )
    return _Followed(torch.cat([points.ids, more.ids]), held, spare, torch.cat([points.trail, more.trail], dim=1))
