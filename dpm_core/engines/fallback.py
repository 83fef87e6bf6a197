# SPDX-License-Identifier: Apache-2.0
"""Engines in an order of preference: the first that opens runs, and when it fails, the next goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import DpmError
from ..geometry.fit import Fit
from ..types import Prediction, Request
from .plan_memory import OutOfDeviceMemoryError
from .protocol import Engine, answer, longest_window

T = TypeVar("T")
_LOG = logging.getLogger("dpm.engines")


class EngineChangedError(RuntimeError):
    """An engine failed and another has taken its place. What the failed one encoded is of no use to it."""


@dataclass(frozen=True)
class Candidate:
    """An engine that could run here.

    Attributes:
        name: backend and device, in words.
        open: makes it; DpmError says why not.
    """

    name: str
    open: Callable[[], Engine]


def open_first(candidates: Sequence[Candidate]) -> Engine:
    """The first candidate that opens; it is followed by the others when it fails at its work.

    Raises:
        DpmError: none opens. One that stands alone says why itself.
    """
    if len(candidates) == 1:
        return candidates[0].open()
    return FallbackEngine(candidates)


class FallbackEngine:
    """Whichever of several engines works. See `Engine` for the methods; `notice` tells what was passed over and why.

    A call that fails opens the next engine and raises EngineChangedError. A session that hears of it begins its window
    anew, as after every failure, and is then served by the new engine.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        """Open the first that opens.

        Raises:
            DpmError: none does.
        """
        self._left = list(candidates)
        self._passed_over: list[str] = []
        self._engine = self._next()

    @property
    def name(self) -> str:
        """Of the engine that runs now."""
        return self._engine.name

    @property
    def notice(self) -> str | None:
        """What was passed over and why, and what the engine itself has to say."""
        told = [*self._passed_over, *([self._engine.notice] if self._engine.notice else [])]
        return "; ".join(told) or None

    @property
    def device(self) -> torch.device:
        """Of the engine that runs now."""
        return self._engine.device

    @property
    def longest_window(self) -> int | None:
        """See BoundedEngine."""
        return longest_window(self._engine)

    def fit(self, height: int, width: int) -> Fit:
        """See Engine."""
        return self._engine.fit(height, width)

    def encode(self, image: Tensor) -> Tensor:
        """See Engine.

        Raises:
            EngineChangedError: the engine failed; the next one is open.
        """
        return self._guarded(lambda: self._engine.encode(image))

    def predict(self, tokens: Sequence[Tensor], size: tuple[int, int], times: Sequence[int]) -> Prediction:
        """See Engine. Raises: as `encode`."""
        return self._guarded(lambda: self._engine.predict(tokens, size, times))

    def answer(self, tokens: Sequence[Tensor], size: tuple[int, int], request: Request) -> Prediction:
        """See SelectiveEngine. Raises: as `encode`."""
        return self._guarded(lambda: answer(self._engine, tokens, size, request))

    def _guarded(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except (RuntimeError, MemoryError, OutOfDeviceMemoryError) as error:
            if not self._left:
                raise
            failed = self._engine.name
            self._passed_over.append(f"{failed} failed ({_one_line(error)})")
            self._engine = self._next()
            raise EngineChangedError(f"{self._passed_over[-1]}; {self._engine.name} goes on") from error

    def _next(self) -> Engine:
        while self._left:
            candidate = self._left.pop(0)
            try:
                engine = candidate.open()
            except DpmError as error:
                if not self._left:
                    raise
                self._passed_over.append(f"{candidate.name} is passed over: {error}")
                _LOG.info("%s", self._passed_over[-1])
            else:
                _LOG.info("runs %s", engine.name)
                return engine
        raise DpmError("; ".join(self._passed_over))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
