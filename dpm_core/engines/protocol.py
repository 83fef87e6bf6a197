# SPDX-License-Identifier: Apache-2.0
"""What an engine is: the network as the stream sees it, wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, device

    from ..geometry.fit import Fit
    from ..types import Prediction, Request


class Engine(Protocol):
    """A network ready to run. The encoder runs once a frame; its tokens are cached by the window."""

    @property
    def name(self) -> str:
        """Model, backend and device in a few words, for logs and diagnostics."""

    @property
    def notice(self) -> str | None:
        """What a user must know of the weights ("untrained"), or None."""

    @property
    def device(self) -> device:
        """Where images are expected and predictions come."""

    def fit(self, height: int, width: int) -> Fit:
        """How an image of this size is brought to a size that the network takes."""

    def encode(self, image: Tensor) -> Tensor:
        """Tokens of one frame. image: [3, H, W] float32 in [0, 1], RGB, at the fitted size -> [P, C]."""

    def predict(self, tokens: Sequence[Tensor], size: tuple[int, int], times: Sequence[int]) -> Prediction:
        """The window's point maps. tokens: of S frames, oldest first; size: (H, W); times: asked window positions."""


@runtime_checkable
class SelectiveEngine(Engine, Protocol):
    """An engine that can leave out the maps of views that nobody asked for; graphs of a fixed shape cannot."""

    def answer(self, tokens: Sequence[Tensor], size: tuple[int, int], request: Request) -> Prediction:
        """What is asked of the window, with the numbers that `predict` has for it. Arguments as there."""


@runtime_checkable
class BoundedEngine(Engine, Protocol):
    """An engine that cannot see windows of any length."""

    @property
    def longest_window(self) -> int | None:
        """The most frames that it sees at once; None where there is no such bound."""


def longest_window(engine: Engine) -> int | None:
    """The most frames that an engine sees at once; None where it does not say."""
    return engine.longest_window if isinstance(engine, BoundedEngine) else None


def answer(engine: Engine, tokens: Sequence[Tensor], size: tuple[int, int], request: Request) -> Prediction:
    """What is asked of the window, and no more where the engine can leave things out."""
    if isinstance(engine, SelectiveEngine):
        return engine.answer(tokens, size, request)
    return engine.predict(tokens, size, request.times)
