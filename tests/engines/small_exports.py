# SPDX-License-Identifier: Apache-2.0
"""Small networks of every family as the registry would give them, and what an engine is asked about them."""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

import small
import small_pairs
import torch

from dpm_core.checkpoints import REGISTRY, LoadedNetwork
from dpm_core.engines.export import Export, export_network
from dpm_core.engines.torch_engine import TorchEngine
from dpm_core.models import (
    AdaptiveDecoderConfig,
    AdditiveDecoderConfig,
    AggregatorConfig,
    CameraHeadConfig,
    D2USt3RConfig,
    D2USt3RNetwork,
    DptDecoderConfig,
    DUSt3RConfig,
    DUSt3RNetwork,
    EncoderConfig,
    POMATOConfig,
    POMATONetwork,
    TemporalConfig,
    VDPMConfig,
    VDPMNetwork,
    VGGTConfig,
    VGGTNetwork,
)

CPU = torch.device("cpu")
WINDOW = 3

# Tracing costs by the operator, whatever its size: every kind of layer once is enough.
AGGREGATOR = AggregatorConfig(
    encoder=EncoderConfig(image_size=56, dim=24, depth=1, heads=2), dim=24, depth=4, heads=2, taps=(0, 1, 2, 3)
)
CAMERA = CameraHeadConfig(depth=1, heads=2, iterations=2)
CROCO = replace(small_pairs.CROCO, depth=1)
HEAD = replace(small_pairs.HEAD, taps=(0, 2, 3, 4))
FLOW = replace(small_pairs.FLOW, maps=1, levels=2, iterations=1)


def vdpm(decoder=None):
    decoder = decoder or AdaptiveDecoderConfig(depth=1, heads=2)
    return small.random_weights(VDPMNetwork(VDPMConfig(AGGREGATOR, CAMERA, small.DPT, decoder)))


def vggt():
    return small.random_weights(VGGTNetwork(VGGTConfig(AGGREGATOR, CAMERA, small.DPT, None)))


def dust3r(head=HEAD):
    return small.random_weights(DUSt3RNetwork(DUSt3RConfig(CROCO, head)))


def d2ust3r(mask=HEAD, flow=FLOW):
    return small.random_weights(D2USt3RNetwork(D2USt3RConfig(CROCO, HEAD, mask, flow)))


def pomato(frames=None):
    temporal = None if frames is None else TemporalConfig(frames, heads=2, blocks=1, groups=4)
    return small.random_weights(POMATONetwork(POMATOConfig(CROCO, replace(HEAD, temporal=temporal))))


# Name: line of the registry, network, size, window of the graphs.
NETWORKS = {
    "vdpm": ("vdpm-mini", vdpm, small.SIZE, WINDOW),
    "vdpm addition": ("vdpm", lambda: vdpm(AdditiveDecoderConfig(depth=1, heads=2)), small.SIZE, WINDOW),
    "vdpm dpt": ("vdpm", lambda: vdpm(DptDecoderConfig()), small.SIZE, WINDOW),
    "vggt": ("vggt", vggt, small.SIZE, WINDOW),
    "dust3r": ("dust3r", dust3r, small_pairs.SIZE, None),
    "dust3r linear": ("dust3r-512-linear", lambda: dust3r(head=None), small_pairs.SIZE, None),
    "d2ust3r": ("d2ust3r", lambda: d2ust3r(None, None), small_pairs.SIZE, None),
    "d2ust3r heads": ("d2ust3r", d2ust3r, small_pairs.SIZE, None),
    "pomato": ("pomato", pomato, small_pairs.SIZE, None),
    "pomato temporal": ("pomato-12", lambda: pomato(WINDOW), small_pairs.SIZE, WINDOW),
}


def loaded(name):
    """A fresh network, its line of the registry with the small configuration, as `load_network` gives them."""
    model, make, _, _ = NETWORKS[name]
    network = make()
    return LoadedNetwork(network, replace(REGISTRY[model], config=network.config), trained=True, notice=None)


def size_of(name):
    return NETWORKS[name][2]


def frames(count, size, seed=1):
    """[3, H, W] in [0, 1] each."""
    return list(small.images(count, size, seed=seed))


def cameras_frames(count, size):
    """[H, W, 3] uint8, as a camera gives them."""
    return [(image.movedim(0, -1) * 255).byte().contiguous().numpy() for image in frames(count, size)]


def export(name, out, precision="fp32", on_step=lambda step: None, overwrite=False):
    """A small network into a folder, checked on noise."""
    asked = Export(size_of(name), NETWORKS[name][3], precision, overwrite)
    return export_network(loaded(name), asked, cameras_frames(2, size_of(name)), "two noisy frames", out, on_step)


def assert_as_eager(engine, name, images, times, tolerance=1e-4):
    """The engine says of these frames what eager torch says."""
    eager = TorchEngine(loaded(name), CPU)
    size = size_of(name)
    with torch.inference_mode():
        assert_close("tokens", *(each.encode(images[0]) for each in (engine, eager)), tolerance)
        ours, theirs = [each.predict([each.encode(i) for i in images], size, times) for each in (engine, eager)]
    assert ours.times == theirs.times == tuple(times)
    for field, value in vars(theirs).items():
        if isinstance(value, torch.Tensor):
            assert_close(field, getattr(ours, field), value, tolerance)
        else:
            assert getattr(ours, field) == value


def assert_close(what, ours, theirs, tolerance):
    """Random pair networks put points at tens of units: differences are measured by the size of what is compared."""
    assert ours.shape == theirs.shape
    if theirs.numel():
        atol = tolerance * max(1.0, float(theirs.square().mean().sqrt()))
        torch.testing.assert_close(
            ours, theirs, rtol=tolerance, atol=atol, equal_nan=True, msg=lambda told: f"{what}: {told}"
        )
