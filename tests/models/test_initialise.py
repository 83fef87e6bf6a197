# SPDX-License-Identifier: Apache-2.0
"""Untrained networks are the same everywhere and say something sane."""

import math

import pytest
import small
import torch

from dpm_core.models import VDPM_MINI, AdditiveDecoderConfig, DptDecoderConfig, VDPMNetwork, VGGTNetwork, initialise

SIZE = (168, 224)


@pytest.fixture(scope="module")
def mini():
    network = VDPMNetwork(VDPM_MINI).eval()
    initialise(network, seed=3)
    return network


@pytest.fixture(scope="module")
def prediction(mini):
    with torch.inference_mode():
        return mini.predict(mini.encode(small.images(3, SIZE)), SIZE, (0, 2))


def test_the_seed_decides_every_weight(mini):
    again, other = VDPMNetwork(VDPM_MINI), VDPMNetwork(VDPM_MINI)
    initialise(again, seed=3)
    initialise(other, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(mini.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(mini.aggregator.patch_embed.pos_embed, other.aggregator.patch_embed.pos_embed)


def test_global_randomness_is_left_alone(mini):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    initialise(mini, seed=3)
    assert torch.equal(torch.rand(3), expected)


def test_untrained_cameras_stand_at_the_origin_and_look_ahead(prediction):
    assert (prediction.world_from_camera - torch.eye(4)).abs().max() < 0.1
    field_of_view = 2 * torch.atan(SIZE[0] / 2 / prediction.intrinsics[:, 1, 1])
    assert (field_of_view - math.radians(60)).abs().max() < 0.2


def test_untrained_points_are_about_one_unit_ahead(prediction):
    for points in (prediction.own_points, prediction.points):
        assert points.isfinite().all()
        assert (points[..., 2] > 0.3).all()
        assert (points[..., 2] < 3).all()


@pytest.mark.parametrize("decoder", [None, AdditiveDecoderConfig(1, 2), DptDecoderConfig()])
def test_every_variant_is_filled_with_finite_weights(decoder):
    network = small.vdpm(decoder)
    initialise(network)
    assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_vggt_and_its_tracker_are_filled():
    network = small.vggt(small.TRACK)
    initialise(network)
    assert isinstance(network, VGGTNetwork)
    assert network.track_head.tracker.updateformer.virual_tracks.std() > 0.5


def test_a_parameter_without_a_rule_is_an_error():
    layer = torch.nn.Module()
    layer.unknown = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="no rule to initialise 'unknown'"):
        initialise(layer)
