# SPDX-License-Identifier: Apache-2.0
"""Eager torch: the plain engine that runs everywhere and that the others are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..geometry.fit import Fit
from ..models import VDPMNetwork
from ..types import Prediction, Request

if TYPE_CHECKING:
    from ..checkpoints import LoadedNetwork


class TorchEngine:
    """Runs a loaded network in float32 on one device. See `Engine` for the methods."""

    def __init__(self, loaded: LoadedNetwork, device: torch.device) -> None:
        self._network = loaded.network.to(device).eval()
        self._spec = loaded.spec
        self.name = f"{loaded.spec.name} (torch {torch.__version__.split('+')[0]}, {device})"
        self.notice = loaded.notice
        self.device = device

    def fit(self, height: int, width: int) -> Fit:
        """By the rule of the network's family."""
        return self._spec.fit(height, width)

    def encode(self, image: Tensor) -> Tensor:
        """[3, H, W] in [0, 1] -> [P, C]."""
        tokens: Tensor = self._network.encode(image[None])
        return tokens[0]

    def predict(self, tokens: Sequence[Tensor], size: tuple[int, int], times: Sequence[int]) -> Prediction:
        """The window's point maps at the asked times."""
        prediction: Prediction = self._network.predict(torch.stack(list(tokens)), size, times)
        return prediction

    def answer(self, tokens: Sequence[Tensor], size: tuple[int, int], request: Request) -> Prediction:
        """What is asked of the window; networks that see it whole answer whole."""
        if isinstance(self._network, VDPMNetwork):
            return self._network.answer(torch.stack(list(tokens)), size, request)
        return self.predict(tokens, size, request.times)
