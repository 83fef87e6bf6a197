# SPDX-License-Identifier: Apache-2.0
"""Named coordinate frames and how they lie to each other over time, as /tf and /tf_static tell (REP-105)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..errors import DpmError
from ..types import Float64

_MEMORY_NS = 10_000_000_000  # as tf2 keeps
_MOST_SAMPLES = 4096  # of one frame
_MOST_FRAMES = 1024


@dataclass
class _Edge:
    """How a frame lies in its parent: poses by stamp, or one for all times."""

    parent: str
    stamps: list[int] = field(default_factory=list)
    poses: dict[int, Float64] = field(default_factory=dict)
    constant: Float64 | None = None
    doubted: tuple[int, Float64] | None = None

    def at(self, stamp_ns: int) -> Float64 | None:
        if self.constant is not None:
            return self.constant
        after = bisect_left(self.stamps, stamp_ns)
        if after == len(self.stamps) or (after == 0 and self.stamps[0] != stamp_ns):
            return None
        later = self.stamps[after]
        if later == stamp_ns:
            return self.poses[later]
        earlier = self.stamps[after - 1]
        return _between(self.poses[earlier], self.poses[later], (stamp_ns - earlier) / (later - earlier))

    def add(self, stamp_ns: int, pose: Float64) -> bool:
        """Whether it was believed. One wrong stamp must not push out all that is right, nor block all that comes."""
        if self.stamps and abs(stamp_ns - self.stamps[-1]) > _MEMORY_NS:
            before, self.doubted = self.doubted, (stamp_ns, pose)
            if before is None or abs(stamp_ns - before[0]) > _MEMORY_NS:
                return False
            self.stamps.clear()
            self.poses.clear()
            self._keep(*before)
        self.doubted = None
        self._keep(stamp_ns, pose)
        return True

    def _keep(self, stamp_ns: int, pose: Float64) -> None:
        if stamp_ns not in self.poses:
            insort(self.stamps, stamp_ns)
        self.poses[stamp_ns] = pose
        newest = self.stamps[-1]
        while len(self.stamps) > _MOST_SAMPLES or self.stamps[0] < newest - _MEMORY_NS:
            del self.poses[self.stamps.pop(0)]


class FrameTree:
    """Every frame has one parent. Poses between two stamps are interpolated, beyond the newest there is none.

    Memory is bounded: ten seconds and 4096 poses a frame, 1024 frames.
    """

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}

    def add(self, parent: str, child: str, stamp_ns: int | None, parent_from_child: Float64) -> str | None:
        """Learn one pose.

        Args:
            parent: a frame's name; a leading slash is ignored, as tf2 does.
            child: another's.
            stamp_ns: when it was so; None where it always is.
            parent_from_child: [4, 4] rigid, metres.

        Returns:
            Why it does not count, or None where it does. What is constant stays so. A stamp more than ten seconds from
            the frame's newest one waits for the next one to agree: then time has jumped, and what was known goes.

        Raises:
            DpmError: the pose is not finite, a name is empty or both are one, or there are too many frames.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if not parent or not child or parent == child:
            raise DpmError(f"transform from '{child}' to '{parent}' joins no two frames; name both")
        if not np.isfinite(parent_from_child).all():
            raise DpmError(f"transform from '{child}' to '{parent}' is not finite; it is left out")
        edge = self._edges.get(child)
        if edge is None and len(self._edges) >= _MOST_FRAMES:
            raise DpmError(f"there are more than {_MOST_FRAMES} frames; '{child}' is left out")
        if stamp_ns is None:
            self._edges[child] = _Edge(parent, constant=parent_from_child)
            return None
        if edge is not None and edge.constant is not None:
            return f"transform from '{child}' to '{parent}' is left out: '{child}' is fixed in '{edge.parent}'"
        if edge is None or edge.parent != parent:
            edge = self._edges[child] = _Edge(parent)
        if edge.add(stamp_ns, parent_from_child):
            return None
        return (
            f"transform from '{child}' to '{parent}' has the stamp {stamp_ns} ns, more than 10 s from those before; "
            f"it is left out until another one agrees"
        )

    def lookup(self, target: str, source: str, stamp_ns: int) -> Float64 | None:
        """target_from_source at a stamp, [4, 4]; None where the two are not joined, or not at that time."""
        to_target, to_source = (dict(self._upwards(name.lstrip("/"), stamp_ns)) for name in (target, source))
        for ancestor, ancestor_from_source in to_source.items():
            if ancestor in to_target:
                return np.asarray(np.linalg.inv(to_target[ancestor]) @ ancestor_from_source, np.float64)
        return None

    def joined(self, target: str, source: str) -> bool:
        """Whether the two have a common ancestor, at whatever time."""
        return bool(set(self._ancestors(target.lstrip("/"))) & set(self._ancestors(source.lstrip("/"))))

    def parent(self, child: str) -> str | None:
        """The name of a frame's parent; None where it has none."""
        edge = self._edges.get(child.lstrip("/"))
        return None if edge is None else edge.parent

    def forget_moving(self) -> None:
        """Time went back: only what is constant stays."""
        self._edges = {child: edge for child, edge in self._edges.items() if edge.constant is not None}

    def _ancestors(self, name: str) -> list[str]:
        """The frame itself, its parent, and so on."""
        names = [name]
        while (edge := self._edges.get(names[-1])) is not None and edge.parent not in names:
            names.append(edge.parent)
        return names

    def _upwards(self, name: str, stamp_ns: int) -> Iterator[tuple[str, Float64]]:
        """(ancestor, ancestor_from_name), beginning with the frame itself."""
        pose, met = np.eye(4), {name}
        yield name, pose
        while (edge := self._edges.get(name)) is not None and edge.parent not in met:
            step = edge.at(stamp_ns)
            if step is None:
                return
            name, pose = edge.parent, step @ pose
            met.add(name)
            yield name, pose


def _between(earlier: Float64, later: Float64, part: float) -> Float64:
    """Straight way and even turn from one pose to another; part in [0, 1]."""
    turn, _ = cv2.Rodrigues(earlier[:3, :3].T @ later[:3, :3])
    pose = np.eye(4)
    pose[:3, :3] = earlier[:3, :3] @ cv2.Rodrigues(part * turn)[0]
    pose[:3, 3] = (1 - part) * earlier[:3, 3] + part * later[:3, 3]
    return pose


def pose_from(translation: tuple[float, float, float], xyzw: tuple[float, float, float, float]) -> Float64:
    """[4, 4] of a translation and a quaternion of any length but 0; NaN where it is 0, which `FrameTree` refuses."""
    x, y, z, w = np.array(xyzw, np.float64) / (np.linalg.norm(xyzw) or np.nan)
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = translation
    return pose
