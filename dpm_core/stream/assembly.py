# SPDX-License-Identifier: Apache-2.0
"""Each image with what other sensors say at its stamp: the same for live topics and for bags."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..geometry.frame_tree import FrameTree
from ..types import Float64

Image = TypeVar("Image")
Depth = TypeVar("Depth")

_MOST_WAITING = 16  # images; beyond, the oldest goes on with what is there
_KEPT_DEPTHS = 32


@dataclass(frozen=True)
class Patience:
    """What an image waits for, and how long.

    Attributes:
        seconds: that an image waits at most.
        tolerance_ns: between the stamps of an image and its depth.
        odom_frame: in which the camera is looked for.
    """

    seconds: float = 0.1
    tolerance_ns: int = 20_000_000
    odom_frame: str = "odom"


@dataclass(frozen=True)
class Together(Generic[Image, Depth]):
    """An image and its companions.

    Attributes:
        stamp_ns: the image's own.
        frame_id: of its camera.
        image: as it was put in.
        depth: of that instant, as it was put in; None where there is none.
        odom_from_camera: [4, 4] at that instant; None where it is not known.
        missing: of the expected "calibration", "depth", "odometry", those that did not come in time.
    """

    stamp_ns: int
    frame_id: str
    image: Image
    depth: Depth | None
    odom_from_camera: Float64 | None
    missing: tuple[str, ...]


@dataclass(frozen=True)
class _Waiting(Generic[Image]):
    stamp_ns: int
    frame_id: str
    image: Image
    until: float


class Assembly(Generic[Image, Depth]):
    """Images leave in the order they came, as soon as all that is expected is there, or their patience ends.

    Attributes:
        tree: where the camera's place in the odometry is looked up.
        expected: what images wait for: of "calibration", "depth", "odometry".
        has_calibration: whether the camera's calibration is there.
    """

    def __init__(self, patience: Patience) -> None:
        self.tree = FrameTree()
        self.expected: frozenset[str] = frozenset()
        self.has_calibration = False
        self._patience = patience
        self._waiting: deque[_Waiting[Image]] = deque()
        self._depths: deque[tuple[int, Depth]] = deque(maxlen=_KEPT_DEPTHS)

    def put_image(self, stamp_ns: int, frame_id: str, image: Image, now: float) -> None:
        """An image came. now: seconds of any steady clock, always the same."""
        self._waiting.append(_Waiting(stamp_ns, frame_id, image, now + self._patience.seconds))

    def put_depth(self, stamp_ns: int, depth: Depth) -> None:
        """A depth image came."""
        self._depths.append((stamp_ns, depth))

    def ready(self, now: float) -> Iterator[Together[Image, Depth]]:
        """The images that need not wait any longer, oldest first."""
        while self._waiting:
            oldest = self._waiting[0]
            together = self._together(oldest)
            if together.missing and now < oldest.until and len(self._waiting) <= _MOST_WAITING:
                return
            self._waiting.popleft()
            yield together

    @property
    def waits_until(self) -> float | None:
        """When the patience of the oldest image ends; None where none waits."""
        return self._waiting[0].until if self._waiting else None

    def forget(self) -> None:
        """Time went back: nothing of before belongs to what comes."""
        self._waiting.clear()
        self._depths.clear()
        self.tree.forget_moving()

    def _together(self, waiting: _Waiting[Image]) -> Together[Image, Depth]:
        depth = self._depth_at(waiting.stamp_ns)
        pose = self.tree.lookup(self._patience.odom_frame, waiting.frame_id, waiting.stamp_ns)
        there = {"calibration": self.has_calibration, "depth": depth is not None, "odometry": pose is not None}
        missing = tuple(name for name, is_there in there.items() if name in self.expected and not is_there)
        return Together(waiting.stamp_ns, waiting.frame_id, waiting.image, depth, pose, missing)

    def _depth_at(self, stamp_ns: int) -> Depth | None:
        """The nearest within tolerance."""
        apart, depth = min(
            ((abs(stamp - stamp_ns), index) for index, (stamp, _) in enumerate(self._depths)), default=(0, -1)
        )
        return self._depths[depth][1] if depth >= 0 and apart <= self._patience.tolerance_ns else None
