# SPDX-License-Identifier: Apache-2.0
from collections import Counter
from itertools import islice

import pytest

from dpm_core.errors import DpmError
from training.sampling import MIXTURES, Mixture, Part, Position, Sampler, mixture


def examples_of_epoch(name, seed=0):
    sampler = Sampler(mixture(name), seed)
    drawn = (example for request in sampler for example in request.examples)
    return list(islice(drawn, sampler.mixture.epoch))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (
            "vdpm",
            dict(kubric_g=5000, kubric_f=5000, pointodyssey=15000, waymo=2500, scannetpp=2500, blendedmvs=2500),
        ),
        (
            "d2ust3r",
            dict(blinkvision_outdoor=7750, blinkvision_indoor=4750, pointodyssey=2500, tartanair=2500, spring=2500),
        ),
        ("monst3r", dict(pointodyssey=10000, tartanair=5000, spring=1000, waymo=4000)),
    ],
)
def test_an_epoch_has_exactly_the_papers_counts(name, counts):
    found = Counter(example.dataset for example in examples_of_epoch(name))
    assert found == {dataset.replace("_", "-"): count for dataset, count in counts.items()}


@pytest.mark.parametrize("name", ["pomato-pairs", "pomato-temporal"])
def test_pomato_has_exactly_the_papers_shares(name):
    found = Counter(example.dataset for example in examples_of_epoch(name))
    shares = {dataset: round(100 * count / found.total(), 1) for dataset, count in found.items()}
    assert shares == {
        "pointodyssey": 57.1,
        "tartanair": 14.3,
        "dynamicreplica": 14.3,
        "paralleldomain4d": 8.6,
        "carla": 5.7,
    }


def test_d2ust3r_shares_are_those_of_its_table():
    parts = MIXTURES["d2ust3r"].parts
    assert [100 * part.examples / MIXTURES["d2ust3r"].epoch for part in parts] == [38.75, 23.75, 12.5, 12.5, 12.5]
    assert MIXTURES["d2ust3r"].strides == (1, 9)


def test_vdpm_windows():
    """5, 9, 13 and 19 frames, batch 4 at 5 and 1 at 19, never over 20 frames; the central frame is the reference."""
    requests = list(islice(Sampler(mixture("vdpm"), 3), 400))
    assert {(request.length, len(request.examples)) for request in requests} == {(5, 4), (9, 2), (13, 1), (19, 1)}
    assert all(request.reference == request.length // 2 for request in requests)
    lengths = Counter(request.length for request in requests)
    assert all(70 < count < 130 for count in lengths.values())
    assert all(len(request.times) == 1 and 0 <= request.times[0] < request.length for request in requests)


def test_pomato_clips_have_12_frames_and_all_times():
    request = next(iter(Sampler(mixture("pomato-temporal"), 0)))
    assert (request.length, request.times, request.reference) == (12, tuple(range(12)), 0)


def test_goes_on_from_where_a_batch_ended():
    sampler = Sampler(mixture("vdpm"), 5)
    requests = list(islice(sampler, 30))
    resumed = Sampler(mixture("vdpm"), 5, start=requests[11].after)
    assert list(islice(resumed, 18)) == requests[12:]


def test_devices_share_the_examples_in_step():
    alone = Sampler(Mixture((Part("a", 7), Part("b", 5)), ((2, 4),), (1, 1), "first", "all", ""), 1)
    one, two = (
        Sampler(Mixture((Part("a", 7), Part("b", 5)), ((2, 2),), (1, 1), "first", "all", ""), 1, rank, 2)
        for rank in range(2)
    )
    for whole, first, second in islice(zip(alone, one, two, strict=True), 20):
        assert whole.examples == first.examples + second.examples
        assert whole.after == first.after == second.after


def test_every_epoch_has_the_counts_in_another_order():
    small = Mixture((Part("a", 7), Part("b", 5)), ((2, 5),), (1, 1), "first", "all", "")
    drawn = [example.dataset for request in islice(Sampler(small, 1), 12) for example in request.examples]
    epochs = [drawn[start : start + 12] for start in range(0, 60, 12)]
    assert all(Counter(epoch) == {"a": 7, "b": 5} for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_seeds_differ():
    seeds = [example.seed for example in examples_of_epoch("d2ust3r")]
    assert len(set(seeds)) == len(seeds)
    assert Sampler(mixture("vdpm"), 1).at(Position()) != Sampler(mixture("vdpm"), 2).at(Position())


def test_names_the_nearest_mixture():
    with pytest.raises(DpmError, match=r"no mixture is called 'd2uster'; did you mean 'd2ust3r'\?"):
        mixture("d2uster")
