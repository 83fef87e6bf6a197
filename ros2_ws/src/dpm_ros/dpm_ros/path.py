# SPDX-License-Identifier: Apache-2.0
"""The camera's path as bytes that grow by one pose a frame: a thousand poses are not written anew for each message."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from .cdr import CdrWriter

if TYPE_CHECKING:
    from geometry_msgs.msg import PoseStamped
    from std_msgs.msg import Header

    from dpm_core.types import UInt8


class PathMessage:
    """The newest poses, in their order. length: poses kept."""

    def __init__(self, length: int) -> None:
        self._poses: deque[tuple[PoseStamped, UInt8]] = deque(maxlen=length)

    def __len__(self) -> int:
        return len(self._poses)

    def add(self, pose: PoseStamped) -> None:
        """The newest."""
        written = CdrWriter()
        written.message(pose)
        self._poses.append((pose, np.frombuffer(written.bytes(), np.uint8)))

    def clear(self) -> None:
        """Forget all poses."""
        self._poses.clear()

    def bytes(self, header: Header) -> bytes:
        """A nav_msgs/Path as CDR bytes. header: names the frame of the poses."""
        path = CdrWriter()
        path.message(header)
        path.number("I", len(self._poses))
        for oldest, _ in islice(self._poses, 1):
            path.message(oldest)
        # A pose ends with a double, so those that follow begin where CDR aligns as at the beginning.
        path.piece(b"".join(written for _, written in islice(self._poses, 1, None)))
        return path.whole()
