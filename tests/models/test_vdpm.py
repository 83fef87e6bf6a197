# SPDX-License-Identifier: Apache-2.0
"""V-DPM as the stream and the trainer see it."""

import pytest
import small
import torch

from dpm_core.errors import DpmError
from dpm_core.models import VDPM_MINI, AdditiveDecoderConfig, DptDecoderConfig, VDPMNetwork
from dpm_core.types import Request

SIZE = small.SIZE
VARIANTS = [None, AdditiveDecoderConfig(depth=1, heads=2), DptDecoderConfig()]


def close(ours, theirs, tolerance=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.fixture(params=VARIANTS, ids=lambda decoder: type(decoder).__name__ if decoder else "published")
def network(request):
    return small.vdpm(request.param)


@pytest.fixture
def published():
    return small.vdpm()


@torch.inference_mode()
def predict(network, images, times, **options):
    return network.predict(network.encode(images), tuple(images.shape[-2:]), times, **options)


def test_a_prediction_has_the_shapes_of_the_types(network):
    got = predict(network, small.images(3), (2, 0))
    assert got.own_points.shape == (3, *SIZE, 3)
    assert got.own_conf.shape == (3, *SIZE)
    assert got.points.shape == (2, 3, *SIZE, 3)
    assert got.conf.shape == (2, 3, *SIZE)
    assert got.times == (2, 0)
    assert got.world_from_camera.shape == (3, 4, 4)
    assert got.intrinsics.shape == (3, 3, 3)
    assert (got.own_conf >= 1).all()
    assert (got.conf >= 1).all()


def test_each_asked_time_gives_what_asking_for_all_gives(network):
    images = small.images(4)
    everything = predict(network, images, range(4))
    some = predict(network, images, (3, 1))
    close(some.points, everything.points[[3, 1]])
    close(some.conf, everything.conf[[3, 1]])


def test_times_differ(network):
    got = predict(network, small.images(3), range(3))
    assert (got.points[0] - got.points[1]).abs().max() > 1e-3
    assert (got.points[1] - got.points[2]).abs().max() > 1e-3


def test_chunks_of_times_and_views_change_no_number():
    images = small.images(3)
    together = predict(small.vdpm(), images, range(3))
    apart = predict(small.vdpm(views_at_once=2, times_at_once=1), images, range(3))
    close(apart.points, together.points)
    close(apart.own_points, together.own_points)


def test_no_time_may_be_asked(published):
    got = predict(published, small.images(2), ())
    assert got.points.shape == (0, 2, *SIZE, 3)
    assert got.conf.shape == (0, 2, *SIZE)


def test_one_frame_is_enough(network):
    got = predict(network, small.images(1), (0,))
    assert got.points.isfinite().all()
    assert got.world_from_camera.isfinite().all()


def test_tokens_may_come_frame_by_frame(published):
    images = small.images(3)
    with torch.inference_mode():
        one_by_one = [published.encode(image[None])[0] for image in images]
        listed = published.predict(one_by_one, SIZE, (2,))
    close(listed.points, predict(published, images, (2,)).points)


def test_a_reference_is_the_first_frame_of_the_permuted_window(network):
    images = small.images(4)
    order = [2, 0, 1, 3]
    referred = predict(network, images, (1, 2), reference=2)
    permuted = predict(network, images[order], (2, 0))
    close(referred.own_points[order], permuted.own_points)
    close(referred.points[:, order], permuted.points)
    close(referred.world_from_camera[order], permuted.world_from_camera)


def test_targets_of_each_view_agree_with_times_of_all(network):
    images = small.images(3)[None]
    with torch.inference_mode():
        by_view = network(images, torch.tensor([[[1, 1, 1], [0, 2, 1]]])).at_targets.points[0]
        by_time = network(images, torch.tensor([[[1]]])).at_targets.points[0]
    close(by_view[0], by_time[0])
    assert (by_view[1] - by_time[0]).abs().max() > 1e-3


def test_heads_run_on_a_subset_of_views(network):
    images = small.images(4)
    with torch.inference_mode():
        levels = network.aggregate(network.encode(images)[None], SIZE)
        conditions = network.conditions_at(levels, (3,))
        some = network.maps_at(levels, conditions, SIZE, views=(2, 0))
        everything = network.maps_at(levels, conditions, SIZE)
        own = network.own_maps(levels, SIZE, views=(1,))
        all_own = network.own_maps(levels, SIZE)
    close(some.points, everything.points[:, :, [2, 0]])
    close(own.points, all_own.points[:, [1]])


def test_batch_entries_do_not_see_each_other(published):
    first, second = small.images(3, seed=1), small.images(3, seed=2)
    targets = torch.tensor([[[0, 1, 2]]])
    with torch.inference_mode():
        together = published(torch.stack([first, second]), targets.expand(2, -1, -1))
        alone = published(second[None], targets)
    close(together.at_targets.points[1], alone.at_targets.points[0])
    close(together.pose_encodings[:, 1], alone.pose_encodings[:, 0])


def test_every_weight_learns(network):
    maps = network(small.images(2)[None], torch.tensor([[[1], [0]]]))
    (maps.own.points.sum() + maps.at_targets.points.square().sum() + maps.pose_encodings.sum()).backward()
    unused = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert unused == {"aggregator.patch_embed.mask_token"}


def test_cameras_stay_finite_where_the_head_says_nonsense(published):
    encoding = torch.tensor([[0.0, 0, 0, 0, 0, 0, 1, 0, 100]])
    world_from_camera, intrinsics = published.cameras(encoding, SIZE)
    assert intrinsics.isfinite().all()
    assert (intrinsics[0, [0, 1], [0, 1]] > 0).all()
    close(world_from_camera[0], torch.eye(4))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda n: n.encode(small.images(1, (28, 43))), "image size 43x28 is no multiple .* patch of 14"),
        (lambda n: n.encode(small.images(1, (13, 42))), "image size 42x13 is no multiple"),
        (lambda n: predict(n, small.images(3), (3,)), "target time 3 is outside the window of 3 frames"),
        (lambda n: predict(n, small.images(3), (-1,)), "target time -1 is outside the window of 3 frames"),
        (lambda n: predict(n, small.images(3), (0,), reference=5), "reference frame 5 is outside the window"),
        (lambda n: n.predict([], SIZE, (0,)), "the window is empty"),
        (lambda n: n.predict(n.encode(small.images(2)), (42, 42), (0,)), "holds 6 tokens .* 42x42 has 9"),
    ],
    ids=["width", "height", "late", "early", "reference", "empty", "size"],
)
def test_bad_input_is_named_in_one_line(published, ask, message):
    with pytest.raises(DpmError, match=message) as caught:
        ask(published)
    assert "\n" not in str(caught.value)


def test_heads_keep_full_precision_under_autocast(published):
    images = small.images(2)
    with torch.autocast("cpu", torch.bfloat16):
        got = predict(published, images, (1,))
    assert got.points.dtype == got.own_conf.dtype == got.world_from_camera.dtype == torch.float32
    exact = predict(published, images, (1,))
    relative = (got.own_points - exact.own_points).norm() / exact.own_points.norm()
    assert relative < 0.05


def test_mini_takes_its_native_size():
    network = VDPMNetwork(VDPM_MINI).eval()
    got = predict(network, small.images(2, (168, 224)), (1,))
    assert got.points.shape == (1, 2, 168, 224, 3)


def test_epsilons_are_those_of_each_part(published):
    # Some leave no trace above the golden cases' noise.
    eps = {name: module.eps for name, module in published.named_modules() if isinstance(module, torch.nn.LayerNorm)}
    small_ones = {name for name, value in eps.items() if value == 1e-6}
    assert small_ones == {name for name in eps if name.startswith("aggregator.patch_embed")} | {
        "camera_head.adaln_norm"
    }
    assert {eps[name] for name in eps.keys() - small_ones} == {1e-5}


def test_what_is_asked_is_what_asking_for_everything_gives(network):
    tokens = network.encode(small.images(4))
    request = Request(own_views=(1, 3), times=(3, 0, 1), views=((0, 1, 2, 3), (3,), (3,)))
    with torch.inference_mode():
        everything = network.predict(tokens, SIZE, request.times)
        got = network.answer(tokens, SIZE, request)
    close(got.own_points[[1, 3]], everything.own_points[[1, 3]])
    assert got.own_points[[0, 2]].isnan().all()
    assert got.own_conf[[0, 2]].isnan().all()
    for row, views in enumerate(request.views):
        others = [view for view in range(4) if view not in views]
        close(got.points[row, list(views)], everything.points[row, list(views)])
        close(got.conf[row, list(views)], everything.conf[row, list(views)])
        assert got.points[row, others].isnan().all()
    close(got.world_from_camera, everything.world_from_camera)
    close(got.intrinsics, everything.intrinsics)


def test_a_view_outside_the_window_cannot_be_asked(published):
    tokens = published.encode(small.images(2))
    with torch.inference_mode(), pytest.raises(DpmError, match="view 2 is outside the window of 2 frames"):
        published.answer(tokens, SIZE, Request((0,), (1,), ((2,),)))
