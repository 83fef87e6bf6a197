# SPDX-License-Identifier: Apache-2.0
"""Camera images to network inputs, on the network's device."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..kernels import prepare_images
from ..types import Frame, UInt8
from .calibration import straightened
from .lanes import SideQueue
from .stages import Stages

if TYPE_CHECKING:
    from ..engines.protocol import Engine
    from ..geometry.fit import Fit


@dataclass(frozen=True)
class Prepared:
    """A frame as the network takes it.

    Attributes:
        frame: as it came.
        straight: what a pinhole camera would have seen.
        fit: how the image was brought to the network's size.
        image: [3, H, W] float32 in [0, 1], of that size, on the engine's device.
        colors: [H, W, 3] uint8, the same in bytes.
        engine: name of the one it was made for.
        stages: how long it took.
    """

    frame: Frame
    straight: Frame
    fit: Fit
    image: Tensor
    colors: Tensor
    engine: str
    stages: Stages


class Intake:
    """Prepares frames; on a GPU beside what the network does there.

    The camera's image crosses to a GPU once, through memory that is allocated once a size: page-locked on this side, so
    that the crossing needs no processor. What is made of it there has memory of its own, since windows keep it.
    """

    def __init__(self) -> None:
        self._queue = SideQueue()
        self._lock = threading.Lock()
        self._crossing: tuple[Tensor, Tensor] | None = None

    @torch.inference_mode()
    def prepare(self, frame: Frame, engine: Engine) -> Prepared:
        """The frame as the engine takes it.

        Raises:
            DpmError: the lens cannot be meant, or the engine takes no images of this size.
        """
        stages, name, device = Stages(), engine.name, engine.device
        with stages("prepare"), self._lock, self._queue.on(device):
            fit = engine.fit(*frame.image.shape[:2])
            straight = straightened(frame)
            camera_image = self._across(straight.image, device)
            image = prepare_images(camera_image[None], fit.resized, fit.origin, fit.size, filter=fit.filter)[0]
            colors = _bytes(image)
        return Prepared(frame, straight, fit, image, colors, name, stages)

    def _across(self, image: UInt8, device: torch.device) -> Tensor:
        """[H, W, 3] uint8 on the device, good until the next image crosses."""
        here = torch.from_numpy(image)
        if device.type == "cpu":
            return here
        if self._crossing is None or self._crossing[0].shape != here.shape or self._crossing[1].device != device:
            self._crossing = torch.empty(here.shape, dtype=here.dtype, pin_memory=True), here.to(device)
        locked, there = self._crossing
        locked.copy_(here)
        return there.copy_(locked, non_blocking=True)


def _bytes(image: Tensor) -> Tensor:
    """[3, H, W] in [0, 1] -> [H, W, 3] uint8."""
    return (image * 255).round_().to(torch.uint8).movedim(0, -1).contiguous()
