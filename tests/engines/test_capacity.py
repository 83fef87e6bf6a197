# SPDX-License-Identifier: Apache-2.0
"""What is counted without running is what runs."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dpm_core.checkpoints import find_spec
from dpm_core.engines.capacity import Device, Need, Operation, need
from dpm_core.errors import DpmError
from dpm_core.models import AdaptiveDecoderConfig, VDPMConfig
from dpm_core.types import Request

sys.path.append(str(Path(__file__).parents[1] / "models"))
import small

CONFIG = VDPMConfig(small.AGGREGATOR, small.CAMERA, small.DPT, AdaptiveDecoderConfig(depth=1, heads=2))
SPEC = replace(find_spec("vdpm-mini"), config=CONFIG)
EVERYTHING = Request.whole(3, (2, 0))


@pytest.fixture(scope="module")
def whole():
    return need(SPEC, small.SIZE, EVERYTHING)


def test_operations_are_those_that_torch_counts_when_it_runs(whole):
    network = SPEC.build().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        tokens = network.encode(torch.rand(1, 3, *small.SIZE))
        network.answer(tokens.expand(3, -1, -1), small.SIZE, EVERYTHING)
    # torch 2.13 counts the attention of GPUs only
    assert whole.flops - counter.get_total_flops() in (0, _attention())
    assert whole.parameters == sum(parameter.numel() for parameter in network.parameters())


def _attention():
    """4 N² d of every layer that is run: query times key, and weights times value. d: channels."""
    frame, window, frames = 6 + 6, 3 * (6 + 6), 3
    encoder = small.AGGREGATOR.encoder
    total = encoder.depth * 4 * (1 + encoder.registers + 6) ** 2 * encoder.dim
    total += small.AGGREGATOR.depth * 4 * (frames * frame**2 + window**2) * small.AGGREGATOR.dim
    times, levels, wide = 2, 4, 2 * small.AGGREGATOR.dim
    total += times * levels * 4 * (frames * frame**2 + window**2) * wide
    return total + 4 * small.CAMERA.depth * 4 * frames**2 * wide


def test_less_is_needed_for_less(whole):
    newest = need(SPEC, small.SIZE, replace(EVERYTHING, views=((0, 1, 2), (2,))))
    once = need(SPEC, small.SIZE, Request.whole(3, (2,)))
    assert once.flops < newest.flops < whole.flops
    assert once.parameters == whole.parameters


def test_working_memory_is_what_a_tensor_s_life_takes(whole):
    larger = need(SPEC, (56, 84), EVERYTHING)
    maps = 4 * 3 * 56 * 84 * 4  # float32: three coordinates and a confidence, of three views
    assert larger.working_bytes > 3 * maps  # own time and two asked times
    assert whole.working_bytes < larger.working_bytes < 100 * maps


def test_every_operation_takes_the_longer_of_computing_and_moving():
    device = Device("made up", 1e9, bytes_per_second=100.0, fp32=10.0, bf16=40.0, achieved=0.5)
    computes, moves = Operation(flops=80, bytes=1, head=False), Operation(flops=0, bytes=600, head=False)
    assert Need(0, (computes, moves), 0).seconds(device, "fp32") == pytest.approx((8 + 6) / 0.5)
    assert Need(0, (computes, moves), 0).seconds(device, "bf16") == pytest.approx((2 + 3) / 0.5)
    assert Need(0, (replace(computes, head=True),), 0).seconds(device, "bf16") == pytest.approx(8 / 0.5)


def test_weights_are_halved_by_bf16():
    assert Need(10, (), 7).memory_bytes("fp32") == 47
    assert Need(10, (), 7).memory_bytes("bf16") == 27


def test_a_size_that_the_network_does_not_take_is_told():
    with pytest.raises(DpmError, match="no multiple of the network's patch"):
        need(SPEC, (30, 42), EVERYTHING)
