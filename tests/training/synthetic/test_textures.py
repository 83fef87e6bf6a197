# SPDX-License-Identifier: Apache-2.0
"""Noise, looked up fast and plainly."""

import torch
import torch.nn.functional as F

from training.synthetic.textures import fractal, noise_at, noise_volume

VOLUME = noise_volume(torch.device("cpu"))


def places(count=5000):
    return torch.rand(3, count, generator=torch.Generator().manual_seed(4))


def test_two_lookups_in_slices_are_one_in_the_volume():
    p = places()
    plain = F.grid_sample(VOLUME, (2 * p.T - 1).view(1, 1, 1, -1, 3), align_corners=True).view(4, -1)
    # Single precision places a point in 1089 rows to 3e-5 of a row.
    torch.testing.assert_close(noise_at(VOLUME, p), plain, rtol=0, atol=2e-4)


def test_noise_goes_on_across_the_ends_of_its_period():
    begin, end = places(100), places(100)
    for axis in range(3):
        begin[axis], end[axis] = 0, 1 - 1e-7
        others = [i for i in range(3) if i != axis]
        end[others] = begin[others]
        torch.testing.assert_close(noise_at(VOLUME, begin), noise_at(VOLUME, end), rtol=0, atol=2e-4)


def test_detail_that_is_finer_than_a_pixel_is_gone():
    p = 30 * places()
    sharp, coarse = (fractal(VOLUME, p, torch.full((p.shape[1],), width)) for width in (0.0, 10.0))
    assert sharp.std() > 0.3
    assert coarse.abs().max() == 0
