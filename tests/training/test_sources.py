# SPDX-License-Identifier: Apache-2.0
"""Made scenes as training asks for them."""

from dataclasses import fields, replace
from itertools import islice

import pytest
import torch

from dpm_core.errors import DpmError
from training.config import DataConfig
from training.records import Window
from training.sampling import Sampler, mixture
from training.sources import SyntheticSource, source_of

CPU = torch.device("cpu")
SMALL = DataConfig("synthetic-tiny", "synthetic-tiny", height=24, width=32)


def drawn(config, count=2):
    return list(islice(source_of(config, CPU).stream(Sampler(mixture(config.mixture), 3), CPU), count))


def test_scenes_made_by_workers_are_those_made_here():
    for one, other in zip(drawn(SMALL), drawn(replace(SMALL, workers=1)), strict=True):
        assert one.request == other.request
        assert one.window.names == other.window.names
        for field in fields(Window):
            here, there = getattr(one.window, field.name), getattr(other.window, field.name)
            if isinstance(here, torch.Tensor) and here.is_floating_point():
                # Sums of one thread and of several round differently.
                assert torch.isclose(here.double(), there.double(), rtol=1e-4, atol=1e-4).double().mean() > 0.999


def test_visibility_is_found_where_pairs_ask_for_it():
    assert all(batch.window.visible is None for batch in drawn(SMALL, 1))
    pairs = replace(SMALL, mixture="synthetic-pairs", validation="synthetic-pairs")
    assert all(batch.window.visible is not None for batch in drawn(pairs, 1))


@pytest.mark.parametrize(("workers", "told"), [(999, r"more than this machine's \d+ cores; take"), (-1, "0 or more")])
def test_workers_that_cannot_be_are_refused(workers, told):
    with pytest.raises(DpmError, match=rf"data\.workers={workers} is .*{told}"):
        SyntheticSource(replace(SMALL, workers=workers), CPU)


def test_made_and_recorded_data_do_not_mix():
    with pytest.raises(DpmError, match="both be synthetic or both of data sets"):
        source_of(replace(SMALL, validation="d2ust3r"), CPU)
