# SPDX-License-Identifier: Apache-2.0
"""Networks small enough for tests, with weights that leave no path silent."""

import torch

from dpm_core.models import (
    AdaptiveDecoderConfig,
    AggregatorConfig,
    CameraHeadConfig,
    DptConfig,
    EncoderConfig,
    TrackConfig,
    VDPMConfig,
    VDPMNetwork,
    VGGTConfig,
    VGGTNetwork,
)

SIZE = (28, 42)
"""(H, W): 2 x 3 patches."""

AGGREGATOR = AggregatorConfig(
    encoder=EncoderConfig(image_size=56, dim=24, depth=2, heads=2), dim=24, depth=4, heads=2, taps=(0, 1, 2, 3)
)
CAMERA = CameraHeadConfig(depth=1, heads=2)
DPT = DptConfig(features=8, channels=(8, 8, 8, 8), hidden=8)
TRACK = TrackConfig(
    dpt=DptConfig(features=16, channels=(8, 8, 8, 8)),
    levels=4,
    latent=16,
    hidden=32,
    depth=1,
    heads=2,
    virtual_tracks=4,
)


def random_weights(network, seed=0):
    """Unlike `initialise`, no gate is closed and no branch small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1 and "token" not in name:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            elif name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "gamma")):
                parameter.copy_(1 + 0.1 * noise)
            else:
                parameter.copy_(0.3 * noise)
    return network.eval()


def vdpm(decoder=None, **changes):
    config = VDPMConfig(AGGREGATOR, CAMERA, DPT, decoder or AdaptiveDecoderConfig(depth=1, heads=2), **changes)
    return random_weights(VDPMNetwork(config))


def vggt(track=None):
    return random_weights(VGGTNetwork(VGGTConfig(AGGREGATOR, CAMERA, DPT, track)))


def images(frames, size=SIZE, seed=1):
    """[S, 3, H, W] in [0, 1]."""
    return torch.rand(frames, 3, *size, generator=torch.Generator().manual_seed(seed))
