# SPDX-License-Identifier: Apache-2.0
"""From light to a video frame: exposure, motion blur, lens, noise, gamma, compression."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .draws import mix, pixel_noise
from .scene import Sensor

_TAPS = 7
_GRAY = 0.2


def expose(light: Tensor, sensor: Sensor, seconds: Tensor) -> Tensor:
    """Brightness as an automatic exposure sets it for the first frame, with the lamp's flicker and white balance.

    Args:
        light: [B, S, 3, H, W] linear.
        sensor: of B scenes.
        seconds: [B, S].
    """
    level = (light[:, 0].mean(1) + 1e-3).log().flatten(1).mean(1).exp()
    strength, rate = sensor.flicker[:, :1], sensor.flicker[:, 1:]
    flicker = 1 + strength * (rate * seconds).sin()
    gain = (_GRAY * sensor.exposure / level)[:, None] * flicker
    return light * (gain[..., None] * sensor.white[:, None]).float()[..., None, None]


def motion_blur(light: Tensor, motion: Tensor) -> Tensor:
    """Each pixel's light averaged along its own motion while the shutter is open.

    Args:
        light: [F, 3, H, W].
        motion: [F, H, W, 2] pixels (u, v).
    """
    # Below half a pixel there is nothing to see.
    blurred = (motion.abs().amax((1, 2, 3)) > 0.5).nonzero()[:, 0]
    if len(blurred) == 0:
        return light
    return light.index_copy(0, blurred, _smear(light[blurred], motion[blurred]))


def _smear(light: Tensor, motion: Tensor) -> Tensor:
    H, W = light.shape[-2:]
    v, u = torch.meshgrid(
        torch.arange(H, device=light.device, dtype=light.dtype),
        torch.arange(W, device=light.device, dtype=light.dtype),
        indexing="ij",
    )
    limit = motion.clamp(-0.1 * W, 0.1 * W)
    total = torch.zeros_like(light)
    for tap in range(_TAPS):
        share = tap / (_TAPS - 1) - 0.5
        x = (u + share * limit[..., 0]) * (2 / (W - 1)) - 1
        y = (v + share * limit[..., 1]) * (2 / (H - 1)) - 1
        total = total + F.grid_sample(light, torch.stack([x, y], -1), padding_mode="border", align_corners=True)
    return total / _TAPS


def lens(light: Tensor, sensor: Sensor) -> Tensor:
    """Blur of the lens and darker corners. light: [B, S, 3, H, W]."""
    B, S, _, H, W = light.shape
    reach = torch.arange(-2, 3, device=light.device, dtype=torch.float32)
    kernel = (-0.5 * (reach / sensor.blur.float()[:, None].clamp_min(0.05)).square()).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)
    wide = F.pad(light.flatten(1, 2), (2, 2, 2, 2), mode="replicate")
    taps = kernel.T[:, :, None, None, None]
    none = torch.zeros_like(taps[0])
    wide = sum((taps[i] * wide[..., i : i + W] for i in range(5)), none)
    pictures = sum((taps[i] * wide[..., i : i + H, :] for i in range(5)), none)
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, H, device=light.device), torch.linspace(-1, 1, W, device=light.device), indexing="ij"
    )
    fall = 1 - sensor.vignette.float()[:, None, None] * (x.square() + y.square()) / 2
    return pictures.view(B, S, 3, H, W) * fall[:, None, None]


def noise(light: Tensor, sensor: Sensor, seconds: Tensor) -> Tensor:
    """Shot and read noise, and whole rows that are lighter or darker, in bands that roll down from frame to frame."""
    B, S, _, H, W = light.shape
    frame = torch.arange(S, device=light.device)
    key = mix(sensor.key[:, None] ^ mix(frame + 17)).flatten()
    grain = pixel_noise(key, 3 * H * W).view(B, S, 3, H, W)
    row = pixel_noise(mix(key), H).view(B, S, 1, H, 1)
    line = torch.arange(H, device=light.device) / H
    roll = (2 * math.pi * (3 * line + 1.7 * (sensor.flicker[:, 1:] * seconds)[..., None])).sin().float()
    shot, read, rows = (x.float().view(-1, 1, 1, 1, 1) for x in (sensor.shot, sensor.read, sensor.rows))
    spread = (shot.square() * light.clamp_min(0) + read.square()).sqrt()
    return light + spread * grain + rows * (row + 0.5 * roll[:, :, None, :, None])


def develop(light: Tensor) -> Tensor:
    """Linear light to sRGB in [0, 1], the brightest parts compressed softly."""
    light = light.clamp_min(0)
    light = torch.where(light > 0.8, 0.8 + 0.2 * torch.tanh((light - 0.8) / 0.4), light)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-6) ** (1 / 2.4) - 0.055)


def compress(images: Tensor, quality: Tensor) -> Tensor:
    """What JPEG leaves: 8 × 8 cosine blocks of luminance and colour, rounded to steps that grow with frequency.

    Args:
        images: [B, S, 3, H, W] in [0, 1].
        quality: [B] the steps' size, 1 is about JPEG quality 75; 0 leaves the image as it is.
    """
    B, S, _, H, W = images.shape
    device = images.device
    to_yuv = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], device=device)
    basis = _cosines(device)
    frequency = torch.arange(8, device=device)
    steps = (4 + 3.0 * (frequency[:, None] + frequency)) / 255
    step = torch.stack([steps, 1.8 * steps, 1.8 * steps]) * quality.float().view(B, 1, 1, 1)
    step = step[:, None, :, None, None].clamp_min(1e-6)
    padded = F.pad(images.flatten(0, 1), (0, -W % 8, 0, -H % 8), mode="replicate").unflatten(0, (B, S))
    blocks = padded.unflatten(-2, (-1, 8)).unflatten(-1, (-1, 8)).movedim(-3, -2)
    yuv = torch.einsum("ij,bsjhwyx->bsihwyx", to_yuv, blocks)
    spectrum = torch.einsum("ky,bschwyx,lx->bschwkl", basis, yuv, basis)
    rounded = (spectrum / step).round() * step
    yuv = torch.einsum("ky,bschwkl,lx->bschwyx", basis, rounded, basis)
    back = torch.einsum("ij,bsjhwyx->bsihwyx", torch.linalg.inv(to_yuv), yuv)
    whole = back.movedim(-2, -3).flatten(-2).flatten(-3, -2)[..., :H, :W]
    return torch.where(quality.view(B, 1, 1, 1, 1) > 0, whole, images).clamp(0, 1)


def _cosines(device: torch.device) -> Tensor:
    """[8, 8] orthonormal DCT-II."""
    k = torch.arange(8, device=device)[:, None]
    n = torch.arange(8, device=device)
    basis = ((2 * n + 1) * k * math.pi / 16).cos() * math.sqrt(2 / 8)
    basis[0] = math.sqrt(1 / 8)
    return basis
