# SPDX-License-Identifier: Apache-2.0
"""Pair networks: what they refuse, what does not depend on how they are run, and that they can be trained."""

import pytest
import small_pairs
import torch
from small import images

from dpm_core.errors import DpmError
from dpm_core.geometry.pairs import complete_edges, symmetrised
from dpm_core.models import D2UST3R, DUST3R, D2USt3RNetwork, DUSt3RNetwork, Mode, initialise
from dpm_core.models.pomato import dynamic_mask

SIZE = small_pairs.SIZE
NETWORKS = {
    "dust3r": small_pairs.dust3r,
    "linear": lambda **changes: small_pairs.dust3r(head=None, **changes),
    "d2ust3r": small_pairs.d2ust3r,
    "pomato": small_pairs.pomato,
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


def tokens(network, frames=3):
    with torch.no_grad():
        return network.encode(images(frames, SIZE))


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_window_is_a_prediction(network):
    prediction = network.predict(tokens(network), SIZE, (2, 0))
    assert prediction.own_points.shape == (3, *SIZE, 3)
    assert prediction.points.shape == (2, 3, *SIZE, 3)
    assert prediction.conf.shape == (2, 3, *SIZE)
    assert prediction.world_from_camera.shape == (3, 4, 4)
    assert prediction.intrinsics.shape == (3, 3, 3)
    torch.testing.assert_close(prediction.points[1, 0], prediction.own_points[0])
    assert prediction.own_conf.min() >= 1


def test_tokens_may_come_one_by_one(network):
    window = tokens(network)
    assert_same(*(_fields(network.predict(given, SIZE, (2,))) for given in (window, list(window))))


def _fields(prediction):
    return prediction.own_points, prediction.points, prediction.conf, prediction.world_from_camera


def test_one_frame_gives_a_prediction(network):
    prediction = network.predict(tokens(network, 1), SIZE, (0,))
    assert prediction.own_points.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_pairs_do_not_depend_on_how_many_are_run_at_once(name):
    one, many = (NETWORKS[name](pairs_at_once=count) for count in (1, 5))
    edges = symmetrised(complete_edges(3))
    assert_same(*(network.relate_frames(tokens(network), edges, SIZE) for network in (one, many)))


@torch.no_grad()
def test_windows_do_not_depend_on_how_many_maps_are_made_at_once():
    one, many = (small_pairs.pomato(frames=3, maps_at_once=count) for count in (1, 5))
    window = images(3, SIZE)[None]
    assert_same(*(network.window(window, Mode.TRACKING) for network in (one, many)))


@torch.no_grad()
def test_autocast_keeps_heads_in_full_precision_and_numbers_near(network):
    initialise(network)
    first, second = images(1, SIZE), images(1, SIZE, seed=2)
    exact = network(first, second)
    with torch.autocast("cpu", torch.bfloat16):
        near = network(first, second)
    assert all(field.dtype == torch.float32 for field in near if field is not None)
    torch.testing.assert_close(near.points_1, exact.points_1, rtol=0, atol=0.05 * float(exact.points_1.abs().max()))


@torch.no_grad()
def test_images_of_two_sizes_make_a_pair(network):
    first, second = images(2, (32, 48)), images(2, (48, 32), seed=2)
    out = network(first, second)
    assert out.points_1.shape == (2, 32, 48, 3)
    assert out.points_2.shape == (2, 48, 32, 3)


@torch.no_grad()
def test_a_pair_is_exported(network):
    first, second = images(1, SIZE), images(1, SIZE, seed=2)
    program = torch.export.export(network, (first, second))
    assert_same(program.module()(second, first), network(second, first))


@torch.no_grad()
def test_a_pair_is_compiled_whole(network):
    first, second = images(1, SIZE), images(1, SIZE, seed=2)
    # The tracer, without a code generator behind it: no break in the graph, the same numbers.
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    assert_same(compiled(first, second), network(first, second))


def test_what_cannot_be_is_named(network):
    window = tokens(network)
    with pytest.raises(DpmError, match="50x32 is no multiple of the network's patch of 16"):
        network.encode(images(1, (32, 50)))
    with pytest.raises(DpmError, match="target time 3 is outside the window of 3"):
        network.predict(window, SIZE, (3,))
    with pytest.raises(DpmError, match="reference frame 5"):
        network.predict(window, SIZE, (0,), reference=5)
    with pytest.raises(DpmError, match="window is empty"):
        network.predict([], SIZE, ())
    with pytest.raises(DpmError, match="6 tokens a frame"):
        network.predict(window, (48, 48), (0,))
    with pytest.raises(DpmError, match="at least two frames"):
        network.pair_maps(window[:1], complete_edges(1), SIZE)


def test_initial_weights_are_the_same_from_the_same_seed_and_sane(network):
    initialise(network, 3)
    once = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    initialise(network, 3)
    assert all(torch.equal(tensor, once[name]) for name, tensor in network.state_dict().items())
    out = network.eval()(images(1, SIZE), images(1, SIZE, seed=2))
    assert (out.points_1[..., 2] > 0).float().mean() > 0.9
    assert out.points_2.isfinite().all()


# D²USt3R


def test_the_published_file_has_no_heads_and_is_dust3rs():
    with torch.device("meta"):
        ours, base = D2USt3RNetwork(D2UST3R).state_dict(), DUSt3RNetwork(DUST3R).state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in base.items()}


def test_heads_leave_the_base_alone():
    base, whole = small_pairs.d2ust3r(mask=None, flow=None), small_pairs.d2ust3r()
    lacking = whole.load_state_dict(base.state_dict(), strict=False)
    assert {key.split(".")[0] for key in lacking.missing_keys} == {"mask_head1", "mask_head2", "flow_head"}
    assert not lacking.unexpected_keys
    first, second = images(1, SIZE), images(1, SIZE, seed=2)
    with torch.no_grad():
        assert_same(whole(first, second)[:4], base(first, second)[:4])


def test_mask_and_flow_are_of_every_pixel_of_both_images():
    out = small_pairs.d2ust3r()(images(2, (32, 48)), images(2, (48, 32), seed=2))
    assert out.dynamic_1.shape == (2, 32, 48)
    assert out.dynamic_2.shape == (2, 48, 32)
    assert out.flow_12.shape == (2, 32, 48, 2)
    assert out.flow_21.shape == (2, 48, 32, 2)


def test_the_window_carries_masks_and_flows():
    network = small_pairs.d2ust3r()
    prediction = network.predict(tokens(network), SIZE, (2, 0))
    assert prediction.dynamic_logit.shape == (3, *SIZE)
    assert prediction.flow.shape == (2, 3, *SIZE, 2)
    assert prediction.flow[0, 2].abs().max() == prediction.flow[1, 0].abs().max() == 0


def test_every_weight_of_the_heads_learns():
    network = small_pairs.d2ust3r().train()
    tokens_1, tokens_2 = network.encode(images(1, SIZE)), network.encode(images(1, SIZE, seed=2))
    out, forward, backward = network.relate_and_refine(tokens_1, tokens_2, (SIZE, SIZE))
    assert len(forward.flows) == len(forward.mixtures) == small_pairs.FLOW.iterations
    total = out.dynamic_1.sum() + out.dynamic_2.square().sum()
    total = total + sum(x.square().sum() for way in (forward, backward) for part in way for x in part)
    total.backward()
    heads = {name: p for name, p in network.named_parameters() if name.startswith(("mask_head", "flow_head"))}
    # The coarsest block's unit for a finer level exists in the files, but nothing enters it.
    silent = {name for name, p in heads.items() if p.grad is None or not p.grad.any()}
    assert {name for name in silent if "refinenet4.resConfUnit1" not in name} == set()


# POMATO


def test_a_key_frame_can_be_chosen():
    network = small_pairs.pomato(frames=3)
    window = images(3, SIZE)[None]
    last, chosen = network.window(window, Mode.FAST_RECON), network.window(window, Mode.FAST_RECON, key=2)
    assert_same(last, chosen)
    with pytest.raises(DpmError, match="key frame 3"):
        network.window(window, Mode.FAST_RECON, key=3)


def test_windows_of_a_batch_do_not_see_each_other():
    network = small_pairs.pomato(frames=3)
    both = torch.stack([images(3, SIZE), images(3, SIZE, seed=2)])
    with torch.no_grad():
        together, alone = network.window(both, Mode.TRACKING), network.window(both[1:], Mode.TRACKING)
    assert_same([field[3:] for field in together if field is not None], [field for field in alone if field is not None])


def test_the_window_must_have_the_weights_length():
    network = small_pairs.pomato(frames=3)
    with pytest.raises(DpmError, match="2 frames; this network's weights are for windows of 3"):
        network.window(images(2, SIZE)[None], Mode.TRACKING)
    with pytest.raises(DpmError, match="takes at most 3"):
        network.predict(tokens(network, 4), SIZE, (0,))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_window_that_is_still_filling_gives_a_prediction(frames):
    network = small_pairs.pomato(frames=3)
    prediction = network.predict(tokens(network, frames), SIZE, (frames - 1,))
    assert prediction.points.shape == (1, frames, *SIZE, 3)
    torch.testing.assert_close(prediction.points[0, -1], prediction.own_points[-1])


def test_what_moves_is_where_the_matched_points_differ_from_the_second_map():
    network = small_pairs.pomato()
    with torch.no_grad():
        out = network(images(2, SIZE), images(2, SIZE, seed=2))
    difference = (out.matched_2 - out.points_2).norm(dim=-1)
    middle = difference.flatten(1).quantile(0.5, dim=1)[:, None, None]
    assert (dynamic_mask(out) != (difference > 3 * middle)).float().mean() < 1e-3
    with pytest.raises(DpmError, match="no matched points"):
        dynamic_mask(out._replace(matched_2=None))
