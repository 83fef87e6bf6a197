# SPDX-License-Identifier: Apache-2.0
"""VGGT as the stream and the trainer see it. Its numbers are held by the golden cases."""

import pytest
import small
import torch

from dpm_core.errors import DpmError

TRACKABLE = (28, 42)
"""Large enough for a pyramid of `small.TRACK`'s levels."""


@pytest.fixture
def network():
    return small.vggt(small.TRACK)


@torch.inference_mode()
def predict(network, images, times, **options):
    return network.predict(network.encode(images), tuple(images.shape[-2:]), times, **options)


@torch.inference_mode()
def track(network, images, queries):
    size = tuple(images.shape[-2:])
    return network.track(network.aggregate(network.encode(images)[None], size), size, queries)


def test_a_static_model_says_the_same_of_every_time(network):
    got = predict(network, small.images(3), (0, 2))
    assert got.points.shape == (2, 3, *small.SIZE, 3)
    for points, conf in zip(got.points, got.conf, strict=True):
        assert torch.equal(points, got.own_points)
        assert torch.equal(conf, got.own_conf)


def test_depth_is_positive_and_confidence_at_least_one(network):
    images = small.images(2)
    with torch.inference_mode():
        levels = network.aggregate(network.encode(images)[None], small.SIZE)
        maps = network.depth_maps(levels, small.SIZE)
        second = network.depth_maps(levels, small.SIZE, views=(1,))
    assert maps.depth.shape == maps.conf.shape == (1, 2, *small.SIZE)
    assert (maps.depth > 0).all()
    assert (maps.conf >= 1).all()
    torch.testing.assert_close(second.depth, maps.depth[:, 1:], rtol=1e-5, atol=1e-5)


def test_training_sees_what_inference_sees(network):
    images = small.images(3)
    with torch.inference_mode():
        seen = network(images[None])
    torch.testing.assert_close(seen.own.points[0], predict(network, images, ()).own_points, rtol=1e-5, atol=1e-5)


def test_tracks_start_where_they_were_asked(network):
    queries = torch.tensor([[[3.0, 5.0], [20.5, 11.25], [41.0, 27.0]]])
    tracks = track(network, small.images(4, TRACKABLE), queries)
    assert tracks.pixels.shape == (1, 4, 3, 2)
    assert tracks.visibility.shape == tracks.conf.shape == (1, 4, 3)
    torch.testing.assert_close(tracks.pixels[:, 0], queries)
    assert tracks.pixels.isfinite().all()
    assert ((tracks.visibility >= 0) & (tracks.visibility <= 1)).all()


def test_tracks_of_other_images_are_others(network):
    queries = torch.tensor([[[10.0, 10.0]]])
    first, second = (track(network, small.images(2, TRACKABLE, seed), queries).pixels for seed in (1, 2))
    assert (first - second).abs().max() > 1e-3


def test_tracking_learns(network):
    images = small.images(2, TRACKABLE)
    levels = network.aggregate(network.encode(images)[None], TRACKABLE)
    tracks = network.track(levels, TRACKABLE, torch.tensor([[[10.0, 10.0]]]))
    (tracks.pixels.sum() + tracks.visibility.sum() + tracks.conf.sum()).backward()
    assert not [name for name, parameter in network.track_head.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda n: predict(n, small.images(3), (3,)), "target time 3 is outside the window of 3 frames"),
        (lambda n: n.predict([], small.SIZE, ()), "the window is empty"),
        (lambda n: track(n, small.images(2, (14, 42)), torch.zeros(1, 1, 2)), "image size 42x14 is too small to track"),
        (lambda n: track(small.vggt(), small.images(2), torch.zeros(1, 1, 2)), "built without its track head"),
    ],
    ids=["time", "empty", "too small", "no head"],
)
def test_bad_input_is_named_in_one_line(network, ask, message):
    with pytest.raises(DpmError, match=message):
        ask(network)
