# SPDX-License-Identifier: Apache-2.0
"""A contact sheet of scenes: `python -m training.synthetic.preview --seed 1 --out sheet.png`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from training.records import Window

from .config import SyntheticConfig
from .generator import SyntheticScenes


def contact_sheet(window: Window) -> Tensor:
    """[rows, columns, 3] uint8, a scene a row: first, middle, last image; depth, what moves, flow to the last frame."""
    assert window.dynamic is not None
    assert window.flow is not None
    last = window.images.shape[1] - 1
    rows = []
    for b in range(len(window.images)):
        pictures = [window.images[b, index].movedim(0, -1) for index in (0, (last + 1) // 2, last)]
        pictures += [_depth(window.depth[b, 0]), _mask(window.images[b, 0], window.dynamic[b, 0])]
        pictures.append(_flow(window.flow[b, window.times.index(last), 0]))
        rows.append(torch.cat(pictures, 1))
    return (torch.cat(rows) * 255).round().to(torch.uint8)


def _depth(depth: Tensor) -> Tensor:
    """Near is light, nothing is blue."""
    known = depth > 0
    inverse = 1 / depth.clamp_min(1e-3)
    low, high = inverse[known].aminmax() if known.any() else (inverse.min(), inverse.max())
    gray = ((inverse - low) / (high - low).clamp_min(1e-6)).sqrt()[..., None].expand(-1, -1, 3)
    return torch.where(known[..., None], gray, torch.tensor([0.2, 0.3, 0.6])).float()


def _mask(image: Tensor, dynamic: Tensor) -> Tensor:
    gray = image.mean(0)[..., None].expand(-1, -1, 3) * 0.6
    return torch.where(dynamic[..., None], gray + torch.tensor([0.4, 0.0, 0.0]), gray)


def _flow(flow: Tensor) -> Tensor:
    """Direction as hue, size as strength, up to the largest tenth."""
    size = flow.norm(dim=-1)
    turn = torch.atan2(flow[..., 1], flow[..., 0])
    shades = torch.stack([0.5 + 0.5 * (turn + shift).cos() for shift in (0.0, 2.094, 4.189)], -1)
    strength = (size / size.flatten().quantile(0.9).clamp_min(0.5)).clamp(0, 1)[..., None]
    color: Tensor = 1 - strength + strength * shades
    return color.float()


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description="Draw a contact sheet of synthetic scenes.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first scene")
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    import cv2

    scenes = SyntheticScenes(SyntheticConfig(frames=asked.frames), asked.seed, photos=asked.photos)
    sheet = contact_sheet(scenes.window(range(asked.first, asked.first + asked.scenes)))
    cv2.imwrite(str(asked.out), sheet.numpy()[..., ::-1])


if __name__ == "__main__":
    main()
