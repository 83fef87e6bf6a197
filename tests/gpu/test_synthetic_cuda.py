# SPDX-License-Identifier: Apache-2.0
"""The same scenes on the GPU, and the same truth."""

from dataclasses import replace

import torch

from training.synthetic import SyntheticConfig, SyntheticScenes

CONFIG = SyntheticConfig(height=84, width=112, frames=3)


def test_scenes_on_the_gpu_are_those_on_the_cpu():
    here = SyntheticScenes(CONFIG, 7, "cpu").window(range(6), visible=True)
    there = SyntheticScenes(CONFIG, 7, "cuda").window(range(6), visible=True)
    assert there.images.device.type == "cuda"
    there = there.to("cpu")
    torch.testing.assert_close(here.world_from_camera, there.world_from_camera, rtol=0, atol=1e-5)
    for name in ("depth", "points", "images"):
        one, other = getattr(here, name), getattr(there, name)
        # On silhouettes a rounding decides which of two surfaces a pixel shows.
        close = torch.isclose(one, other, rtol=1e-3, atol=1e-2)
        assert close.float().mean() > 0.995, name
    for name in ("object_id", "visible", "dynamic", "valid"):
        assert (getattr(here, name) == getattr(there, name)).float().mean() > 0.995, name


def test_mixed_precision_around_the_generator_changes_nothing():
    scenes = SyntheticScenes(replace(CONFIG, still_world=0.0), 7, "cuda")
    plain = scenes.window([0, 1])
    with torch.autocast("cuda", torch.bfloat16):
        mixed = scenes.window([0, 1])
    assert mixed.points.dtype == torch.float32
    assert torch.equal(plain.points, mixed.points)
