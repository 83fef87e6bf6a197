# SPDX-License-Identifier: Apache-2.0
"""D²USt3R's flow head reads attention where the guess points, and learns."""

import small_pairs
import torch
from small import images

from dpm_core.models.flow_head import AttentionVolume, FlowHead
from training.losses.flow import flow_sequence_loss

GRID, OTHER = (3, 4), (5, 6)


def one_hot_attention(places):
    """[1, P, Q] every patch looks at one patch (x, y) of the other image."""
    rows, columns = OTHER
    attention = torch.zeros(1, GRID[0] * GRID[1], rows * columns)
    for patch, (x, y) in enumerate(places):
        attention[0, patch, y * columns + x] = 1
    return attention


def test_the_window_is_read_around_the_guess():
    places = [(patch % OTHER[1], patch % OTHER[0]) for patch in range(GRID[0] * GRID[1])]
    volume = AttentionVolume([one_hot_attention(places)], GRID, OTHER, levels=1)
    guess = torch.tensor(places, dtype=torch.float32).T.unflatten(1, GRID)[None]
    read = volume.read(guess, radius=1)
    assert read.shape == (1, 9, *GRID)
    assert (read.argmax(1) == 4).all()
    left = volume.read(guess - torch.tensor([1.0, 0])[None, :, None, None], radius=1)
    assert (left.argmax(1) == 5).all()


def test_uniform_attention_reads_the_same_everywhere_inside():
    rows, columns = OTHER
    uniform = torch.full((1, GRID[0] * GRID[1], rows * columns), 1 / (rows * columns))
    volume = AttentionVolume([uniform, uniform], GRID, OTHER, levels=2)
    middle = torch.tensor([2.5, 2.0])[None, :, None, None].expand(1, 2, *GRID)
    read = volume.read(middle, radius=1)
    assert read.shape == (1, 2 * 2 * 9, *GRID)
    torch.testing.assert_close(read[:, :18], torch.full_like(read[:, :18], 2.0).log())
    outside = volume.read(middle + 100, radius=1)
    assert not outside.any()


def test_one_flow_for_all_patches_is_one_flow_for_all_pixels():
    head = FlowHead(small_pairs.FLOW, small_pairs.CROCO)
    coarse = torch.tensor([3.0, -2.0])[None, :, None, None].expand(1, 2, *GRID)
    weights = torch.randn(1, 9 * head.patch**2, *GRID, generator=torch.Generator().manual_seed(0))
    fine = head._to_pixels(coarse, weights)
    assert fine.shape == (1, GRID[0] * 16, GRID[1] * 16, 2)
    torch.testing.assert_close(fine, torch.tensor([3.0, -2.0]).expand_as(fine))


def test_pixels_stay_in_their_patch():
    head = FlowHead(small_pairs.FLOW, small_pairs.CROCO)
    coarse = torch.arange(12.0).reshape(1, 1, *GRID)
    weights = torch.zeros(1, 9, head.patch**2, *GRID)
    weights[:, 4] = 50  # all weight on the pixel's own patch
    fine = head._to_pixels(coarse, weights.flatten(1, 2))[0, ..., 0]
    torch.testing.assert_close(fine, coarse[0, 0].repeat_interleave(16, 0).repeat_interleave(16, 1))


def test_the_heads_learn_with_the_papers_loss_and_the_base_stays():
    torch.manual_seed(0)
    network = small_pairs.d2ust3r(mask=None)
    first, second = (network.encode(images(1, small_pairs.SIZE, seed=seed)) for seed in (1, 2))
    sizes = (small_pairs.SIZE, small_pairs.SIZE)
    truth = torch.tensor([6.0, -3.0]).expand(1, *small_pairs.SIZE, 2)
    valid = torch.ones(1, *small_pairs.SIZE, dtype=torch.bool)
    adam = torch.optim.Adam(network.flow_head.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        _, forward, _ = network.relate_and_refine(first.detach(), second.detach(), sizes)
        loss = flow_sequence_loss(forward.flows, forward.mixtures, truth, valid)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert float((forward.flows[-1] - truth).detach().norm(dim=-1).mean()) < 3
