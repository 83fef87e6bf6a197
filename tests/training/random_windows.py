# SPDX-License-Identifier: Apache-2.0
"""A source of windows for tests of training: textured walls whose right half moves, each a function of its seed."""

import sys
from dataclasses import replace

import torch

from dpm_core.models import (
    AdaptiveDecoderConfig,
    AggregatorConfig,
    CameraHeadConfig,
    DptConfig,
    EncoderConfig,
    VDPMConfig,
)
from training.batches import Batch
from training.config import DataConfig, OptimiserConfig, RunConfig
from training.records import Window, collate
from training.sampling import MIXTURES, Mixture, Part

MIXTURES["walls"] = Mixture((Part("walls", 1000),), ((2, 2), (3, 1)), (1, 1), "first", "one", "")

NETWORK = VDPMConfig(
    aggregator=AggregatorConfig(
        encoder=EncoderConfig(image_size=28, dim=16, depth=1, heads=2, registers=1),
        dim=16,
        depth=4,
        heads=2,
        registers=1,
        taps=(0, 1, 2, 3),
    ),
    camera=CameraHeadConfig(depth=1, heads=2, iterations=1),
    dpt=DptConfig(features=8, channels=(8, 8, 8, 8), hidden=4),
    decoder=AdaptiveDecoderConfig(depth=1, heads=2),
)


def tiny_run(out, **changes):
    """A run of seconds."""
    config = RunConfig(
        model="vdpm-mini",
        network=NETWORK,
        frozen=("aggregator.patch_embed.mask_token",),
        data=DataConfig(mixture="walls", validation="walls", height=28, width=28),
        optimiser=OptimiserConfig(lr=1e-3, ema=0.9),
        examples=14,
        precision="fp32",
        device="cpu",
        out=str(out),
        log_every=5,
        validate_every=0,
        save_every=3,
        validation_batches=1,
    )
    return replace(config, **changes)


class WallSource:
    """Made on the spot; `poison` names steps whose windows hold a NaN."""

    def __init__(self, size=(28, 28), poison=()):
        self.size, self.poison = size, set(poison)

    def batch(self, request, device):
        window = collate([wall(example.seed, request, self.size) for example in request.examples])
        if request.after.step - 1 in self.poison:
            window = replace(window, images=window.images * torch.nan)
        return Batch(window.to(device), request)

    def stream(self, requests, device):
        return (self.batch(request, device) for request in requests)


def wall(seed, request, size):
    random = torch.Generator().manual_seed(seed % 2**31)
    S, T, (H, W) = request.length, len(request.times), size
    K = torch.tensor([[30.0, 0, 13.5], [0, 30, 13.5], [0, 0, 1]]).expand(1, S, 3, 3)
    pose = torch.eye(4).repeat(1, S, 1, 1)
    pose[0, :, :3, 3] = 0.1 * torch.randn(S, 3, generator=random).cumsum(0)
    depth = (1 + 2 * torch.rand(1, 1, 1, 1, generator=random)).expand(1, S, H, W).clone()
    depth[:, :, :3] = 0
    images = torch.rand(1, 1, 3, H, W, generator=random).expand(1, S, 3, H, W)
    blank = torch.zeros(1, T, S, H, W, 3)
    window = Window(images, K, pose, depth, blank, torch.zeros(1, T, S, H, W, dtype=torch.bool), request.times)
    own, valid = window.own_points()
    points = own[:, None].repeat(1, T, 1, 1, 1, 1)
    gaps = torch.tensor(request.times)[:, None] - torch.arange(S)[None]
    points[0, :, :, :, W // 2 :, 0] += 0.05 * gaps[..., None, None]
    valid = valid[:, None].expand(1, T, S, H, W)
    return replace(window, points=points * valid[..., None], valid=valid)


if __name__ == "__main__":  # a run of its own process, to be killed
    from training.distributed import world
    from training.trainer import Trainer

    out = sys.argv[1]
    torch.set_num_threads(1)
    with world("cpu") as here:
        Trainer(tiny_run(out), here, WallSource()).run()
