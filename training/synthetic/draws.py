# SPDX-License-Identifier: Apache-2.0
"""Random numbers by name: scene i draws the same "camera.speed" whatever batch it is in, and on every device."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15, as the signed number that torch holds
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): int64 -> int64, every bit of the input in every output."""
    x = x + _GOLDEN
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def scene_seeds(seed: int, indices: Tensor) -> Tensor:
    """One seed a scene. seed: of the whole stream; indices: [B] int64, which scenes of it -> [B] int64."""
    return mix(mix(torch.tensor(seed, dtype=torch.int64, device=indices.device)) ^ indices.long())


class Draws:
    """Independent draws for B scenes. Each name may be used once; its numbers depend on the name and the seed alone.

    Args:
        seeds: [B] int64.
    """

    def __init__(self, seeds: Tensor) -> None:
        self.seeds = seeds
        self._used: set[str] = set()

    def uniform(self, name: str, low: float, high: float, *shape: int) -> Tensor:
        """[B, *shape] float64 in [low, high)."""
        return low + (high - low) * self._unit(name, shape)

    def between(self, name: str, low: Tensor, high: Tensor, *shape: int) -> Tensor:
        """[B, *shape] float64 between two tensors that broadcast to it."""
        return (low + (high - low) * self._unit(name, shape)).double()

    def log_uniform(self, name: str, low: float, high: float, *shape: int) -> Tensor:
        """[B, *shape] float64 in [low, high), uniform in the logarithm."""
        return low * (high / low) ** self._unit(name, shape)

    def chance(self, name: str, probability: float | Tensor, *shape: int) -> Tensor:
        """[B, *shape] bool."""
        return self._unit(name, shape) < probability

    def normal(self, name: str, *shape: int) -> Tensor:
        """[B, *shape] float64, mean 0, variance 1 (Box and Muller)."""
        first, second = self._unit(f"{name}/1", shape), self._unit(f"{name}/2", shape)
        return (-2 * torch.log1p(-first)).sqrt() * (2 * torch.pi * second).cos()

    def choice(self, name: str, weights: Tensor, *shape: int) -> Tensor:
        """[B, *shape] int64 categories. weights: [..., C] >= 0, whose first axes broadcast to [B, *shape]."""
        edges = weights.double().cumsum(-1)
        edges = edges / edges[..., -1:]
        return (self._unit(name, shape)[..., None] >= edges[..., :-1]).sum(-1)

    def direction(self, name: str, *shape: int) -> Tensor:
        """[B, *shape, 3] float64, unit vectors, all directions alike."""
        return torch.nn.functional.normalize(self.normal(name, *shape, 3), dim=-1)

    def _unit(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name in self._used:
            raise ValueError(f"'{name}' was drawn before; its numbers would be the same again")
        self._used.add(name)
        stream = zlib.crc32(name.encode())
        count = int(torch.Size(shape).numel())
        index = torch.arange(count, dtype=torch.int64, device=self.seeds.device)
        bits = mix(mix(self.seeds ^ (stream << 20))[:, None] + index * _GOLDEN)
        return ((_shift(bits, 11)).double() * 2.0**-53).view(len(self.seeds), *shape)


def pixel_noise(key: Tensor, count: int) -> Tensor:
    """Cheap, nearly Gaussian sensor noise. key: [F] int64, one a picture -> [F, count] float32, mean 0, variance 1.

    The sum of the four bytes of a 32-bit hash: symmetric, within ±3.46.
    """
    index = torch.arange(count, dtype=torch.int32, device=key.device)
    x = index * -1640531535 + key.to(torch.int32)[:, None]
    x = (x ^ ((x >> 16) & 0xFFFF)) * 2146121005
    x = (x ^ ((x >> 15) & 0x1FFFF)) * -2073254261
    x = x ^ ((x >> 16) & 0xFFFF)
    total = (x & 0xFF) + ((x >> 8) & 0xFF) + ((x >> 16) & 0xFF) + ((x >> 24) & 0xFF)
    return (total.float() - 510.0) / 147.8  # four bytes: mean 4 · 127.5, deviation √4 · 73.9
