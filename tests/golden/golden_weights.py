# SPDX-License-Identifier: Apache-2.0
"""Deterministic weights for the golden model fixtures in this folder.

A fixture stores no weights: each tensor is a pure function of its name and shape, so that a
state dict of any size can be made again anywhere, bit for bit, from `keys.json` alone.
The names are those of the published checkpoints, so loading them also tests the key mapping.
"""

import hashlib
import math

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in [-1, 1), shape `shape`: SplitMix64 in counter mode, seeded by SHA-256 of `name`."""
    seed = np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
    out = np.empty(math.prod(shape), np.float32)
    for start in range(0, out.size, 1 << 22):
        stop = min(start + (1 << 22), out.size)
        z = seed + np.arange(start + 1, stop + 1, dtype=np.uint64) * _GAMMA
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        out[start:stop] = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - 1
    return out.reshape(shape)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 tensor called `name`: unit-gain matrices, norms near 1, everything else small and non-zero."""
    u = uniform(name, shape)
    if "token" in name or name.endswith("pos_embed"):
        return 0.5 * u
    if len(shape) >= 2:
        return u * np.float32(math.sqrt(3 / math.prod(shape[1:])))
    if name.endswith("gamma"):
        return 0.2 + 0.1 * u
    if name.endswith("weight"):
        return 1 + 0.1 * u
    return 0.1 * u


def images(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth float32 test images in [0, 1], shape (..., 3, H, W): a few sine waves per channel, seeded by `name`."""
    *lead, channels, height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64) / max(height, width)
    waves = uniform(name, (math.prod(lead) * channels, 4, 4)).astype(np.float64)
    out = np.zeros((len(waves), height, width))
    for amplitude, fx, fy, phase in np.moveaxis(waves, 2, 0)[..., None, None].transpose(2, 0, 1, 3, 4):
        out += (amplitude + 1.5) * np.sin(12 * (fx * x + fy * y) + 3 * phase)
    out -= out.min(axis=(1, 2), keepdims=True)
    out /= out.max(axis=(1, 2), keepdims=True)
    return out.reshape(*lead, channels, height, width).astype(np.float32)
