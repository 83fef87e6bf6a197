# SPDX-License-Identifier: Apache-2.0
"""A network of the real classes, small enough to be written in every test."""

import pytest
import torch

from dpm_core import models
from dpm_core.checkpoints import registry
from dpm_core.checkpoints.registry import NetworkSpec

TINY = models.VDPMConfig(
    aggregator=models.AggregatorConfig(
        encoder=models.EncoderConfig(image_size=28, dim=16, depth=1, heads=2, registers=1),
        dim=16,
        depth=4,
        heads=2,
        registers=1,
        taps=(0, 1, 2, 3),
    ),
    camera=models.CameraHeadConfig(depth=1, heads=2, iterations=1),
    dpt=models.DptConfig(features=8, channels=(4, 4, 8, 8), hidden=4),
    decoder=models.AdaptiveDecoderConfig(depth=1, heads=2, mlp_ratio=1.0),
)

SPEC = NetworkSpec(
    name="tiny",
    family="V-DPM",
    config=TINY,
    layout="flat",
    published=None,
    licence="Apache-2.0",
    purpose="tests",
    unused=("depth_head.", "track_head."),
)


def network(seed=0, config=TINY):
    made = models.VDPMNetwork(config)
    models.initialise(made, seed)
    return made


def tensors(seed=0):
    return network(seed).state_dict()


@pytest.fixture
def tiny(monkeypatch):
    """`tiny` is a name of the registry."""
    monkeypatch.setitem(registry.REGISTRY, "tiny", SPEC)
    return SPEC


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
