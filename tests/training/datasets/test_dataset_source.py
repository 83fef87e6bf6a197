# SPDX-License-Identifier: Apache-2.0
"""Windows of data sets as training asks for them."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
import writers

from dpm_core.errors import DpmError
from dpm_core.geometry.fit import Fit
from training import batches
from training.batches import Batches
from training.config import DataConfig
from training.datasets import DatasetSource
from training.datasets.assemble import cover
from training.sampling import Mixture, Part, Sampler

CPU = torch.device("cpu")
PAIRS = Mixture((Part("scannet", 3), Part("sintel", 2)), ((2, 2), (3, 1)), (1, 2), "first", "all", "")


@pytest.fixture
def folder(tmp_path):
    writers.scannet(tmp_path / "scannet")
    writers.sintel(tmp_path / "sintel")
    return tmp_path


def source(folder, **changes):
    config = DataConfig(folder=str(folder), height=20, width=28)
    return DatasetSource(replace(config, **changes), ["scannet", "sintel"])


def drawn(found, count=4):
    return list(islice(found.stream(Sampler(PAIRS, 0), CPU), count))


def test_batches_are_as_asked(folder):
    for batch in drawn(source(folder)):
        request = batch.request
        assert batch.window.images.shape == (len(request.examples), request.length, 3, 20, 28)
        assert batch.window.times == request.times
        for name in batch.window.names:
            frames = [int(number) for number in name.split("/")[-1].split("-")]
            assert set(np.diff(frames)) <= {1, 2}
            assert len(set(np.diff(frames))) == 1


def test_workers_give_what_is_read_here(folder):
    here, there = drawn(source(folder)), drawn(source(folder, workers=1))
    for one, other in zip(here, there, strict=True):
        assert one.request == other.request
        assert torch.equal(one.window.points, other.window.points)
        assert one.window.names == other.window.names


def test_more_workers_than_cores_are_refused(folder):
    with pytest.raises(DpmError, match=r"data.workers=999 is more than this machine's \d+ cores; take"):
        source(folder, workers=999)


def test_frames_that_cannot_be_decoded_are_replaced_and_counted(folder):
    path = folder / "scannet/scans/scene0000_00/color/4.jpg"
    path.write_bytes(path.read_bytes()[:100])
    found = drawn(source(folder), 12)
    assert sum(batch.undecodable for batch in found) > 0
    used = [name for batch in found for name in batch.window.names if name.startswith("scene")]
    assert used
    assert not any("4" in name.split("/")[-1].split("-") for name in used)


def test_stops_past_the_stated_share(folder, monkeypatch):
    path = folder / "scannet/scans/scene0000_00/depth/4.png"
    path.unlink()
    monkeypatch.setattr(batches, "ENOUGH_TO_JUDGE", 10)
    config = DataConfig(folder=str(folder), height=20, width=28, bad_share=0.05)
    stream = Batches(source(folder), Sampler(PAIRS, 0), CPU, config)
    with pytest.raises(DpmError, match=r"windows could not be decoded, more than data.bad_share=0.05"):
        list(islice(stream, 50))


def test_a_data_set_of_which_nothing_can_be_read_says_why(folder):
    for path in (folder / "scannet/scans/scene0000_00/depth").glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DpmError, match=r"scannet: 20 windows in a row cannot be read, the last because .*png"):
        drawn(source(folder), 12)


def test_clips_that_are_too_short_say_so(folder):
    long = replace(PAIRS, batches=((19, 1),))
    with pytest.raises(DpmError, match="no clip is long enough for 19 frames at stride 1"):
        next(source(folder).stream(Sampler(long, 0), CPU))


def test_sets_of_views_are_chosen_by_overlap(tmp_path):
    writers.blendedmvs(tmp_path)
    from training.datasets import find_dataset

    (clip,) = find_dataset("blendedmvs").open(tmp_path)
    for seed in range(20):
        chosen = clip.choose(np.random.default_rng(seed), 3, (1, 1))
        assert len(set(chosen)) == 3
        for place, view in enumerate(chosen[1:], 1):
            assert any((view - other) % 5 in (1, 4) for other in chosen[:place])
    assert clip.choose(np.random.default_rng(0), 6, (1, 1)) is None


def test_images_cover_the_size_and_are_cut_in_the_middle():
    assert cover((24, 32), (20, 20)) == Fit((24, 32), (20, 27), (0, 3), (20, 20))
    assert cover((10, 10), (20, 28)) == Fit((10, 10), (28, 28), (4, 0), (20, 28))
