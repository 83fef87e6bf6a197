# SPDX-License-Identifier: Apache-2.0
"""Kernels, torch's own loops and Python's threads use the processor in turns without harm."""

from concurrent.futures import ThreadPoolExecutor

import torch

from dpm_core.kernels import fuse_points, pointmap_dynamic_mask, scene_flow


def test_kernels_and_torch_share_the_processor():
    points = torch.rand(2, 120, 200, 3)
    moved = points + 0.1
    expected = moved - points
    for _ in range(20):
        weights = torch.rand(200, 200) @ torch.rand(200, 200)
        torch.testing.assert_close(scene_flow(points, moved), expected, rtol=0, atol=0)
        assert weights.isfinite().all()


def test_calls_of_several_python_threads_do_not_disturb_each_other():
    random = torch.Generator().manual_seed(0)
    points = torch.rand(30_000, 3, generator=random)
    colors = torch.zeros(30_000, 3, dtype=torch.uint8)
    dynamic = torch.zeros(30_000, dtype=torch.bool)
    maps = points[:24_000].view(1, 120, 200, 3)

    def work(_):
        fused = fuse_points(points, colors, points[:, 0].contiguous() + 1, points, dynamic, voxel=0.05)
        mask = pointmap_dynamic_mask(maps * 1.1, maps, factor=1.0)
        return fused.points.numpy().tobytes(), mask.numpy().tobytes()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(12)))
    assert set(results) == {work(0)}
