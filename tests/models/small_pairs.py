# SPDX-License-Identifier: Apache-2.0
"""Pair networks small enough for tests, with weights that leave no path silent."""

from dataclasses import replace

from small import random_weights

from dpm_core.models import (
    CrocoConfig,
    D2USt3RConfig,
    D2USt3RNetwork,
    DUSt3RConfig,
    DUSt3RNetwork,
    FlowHeadConfig,
    PairDptConfig,
    POMATOConfig,
    POMATONetwork,
    TemporalConfig,
)

SIZE = (32, 48)
"""(H, W): 2 x 3 patches."""

CROCO = CrocoConfig(dim=24, depth=2, heads=2, decoder_dim=16, decoder_depth=4, decoder_heads=2)
HEAD = PairDptConfig(taps=(0, 2, 3, 4), channels=(8, 8, 8, 8), features=8, last=8)
FLOW = FlowHeadConfig(maps=2, levels=2, radius=1, hidden=8, iterations=3)


def dust3r(head=HEAD, **changes):
    return random_weights(DUSt3RNetwork(DUSt3RConfig(CROCO, head, **changes)))


def d2ust3r(mask=HEAD, flow=FLOW, **changes):
    return random_weights(D2USt3RNetwork(D2USt3RConfig(CROCO, HEAD, mask, flow, **changes)))


def pomato(frames=None, maps_at_once=4, **changes):
    temporal = None if frames is None else TemporalConfig(frames, heads=2, blocks=1, groups=4)
    head = replace(HEAD, temporal=temporal, maps_at_once=maps_at_once)
    return random_weights(POMATONetwork(POMATOConfig(CROCO, head, **changes)))
