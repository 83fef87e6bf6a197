# SPDX-License-Identifier: Apache-2.0
"""Windows of synthetic 4-D scenes with exact truth, made where they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from training.records import Window, collate

from .atlas import build_atlas
from .compose import compose
from .config import SyntheticConfig
from .draws import scene_seeds
from .render import look_at, render
from .textures import Paint, noise_volume
from .truth import visibility, window_of

_RAYS_AT_ONCE = {"cpu": 400_000, "cuda": 8_000_000}


class SyntheticScenes:
    """An endless, seeded stream of scenes. Scene i is the same in every batch, on every call.

    Args:
        config: the mixture and the image size.
        seed: of the stream; streams of different seeds share nothing.
        device: where scenes are made.
        photos: a folder of photographs to paint with; None for none. The scenes depend on it.
        dtype: of the geometry; images are float32.
    """

    def __init__(
        self,
        config: SyntheticConfig,
        seed: int,
        device: torch.device | str = "cpu",
        photos: Path | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.seed = seed
        self.device = torch.device(device)
        self.dtype = dtype
        self._material = Paint(noise_volume(self.device), build_atlas(photos, self.device))

    @torch.no_grad()
    def window(
        self, indices: Sequence[int], times: Sequence[int] | None = None, visible: bool = False, **changes: Any
    ) -> Window:
        """One window a scene.

        Args:
            indices: which scenes of the stream, B of them.
            times: window positions t of P[v, t]; None for all.
            visible: also find `Window.visible`, one more ray for every pixel and time.
            changes: other `SyntheticConfig` fields for this call, such as frames=9; they make other scenes.

        Raises:
            DpmError: a change is out of range.
        """
        config = replace(self.config, **changes)
        asked = tuple(range(config.frames) if times is None else times)
        rays = config.frames * config.height * config.width
        at_once = max(1, _RAYS_AT_ONCE[self.device.type] // rays)
        # Mixed precision is for networks: half the digits would move points by pixels.
        chunks = [indices[first : first + at_once] for first in range(0, len(indices), at_once)]
        with torch.autocast(self.device.type, enabled=False):
            return collate([self._chunk(config, chunk, asked, visible) for chunk in chunks])

    def _chunk(self, config: SyntheticConfig, indices: Sequence[int], times: tuple[int, ...], visible: bool) -> Window:
        seeds = scene_seeds(self.seed, torch.tensor(list(indices), dtype=torch.int64, device=self.device))
        view = look_at(compose(seeds, config).to(dtype=self.dtype), config.height, config.width)
        images, seen = render(view, self._material, config.samples)
        names = tuple(f"synthetic/{self.seed}/{index}" for index in indices)
        window = window_of(view, images, seen, times, names)
        return replace(window, visible=visibility(view, seen, times)) if visible else window
