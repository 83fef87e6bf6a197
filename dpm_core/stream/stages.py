# SPDX-License-Identifier: Apache-2.0
"""How long each stage took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """`with stages("encode"): …` adds the wall time of the block to `seconds["encode"]`.

    On a GPU the time is that of the calls; the work shows in the first stage that reads a result back.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time one stage."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
