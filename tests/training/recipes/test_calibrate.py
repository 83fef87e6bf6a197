# SPDX-License-Identifier: Apache-2.0
"""Calibration of a network that knows the truth, and of one that is wrong where it says so."""

from dataclasses import replace

import pytest
import torch
from random_windows import NETWORK

from dpm_core.checkpoints import LoadedNetwork, find_spec
from dpm_core.engines.torch_engine import TorchEngine
from dpm_core.models import VDPMNetwork, initialise
from dpm_core.types import Prediction
from training.recipes import calibrate as calibration
from training.synthetic import SyntheticConfig, SyntheticScenes


@pytest.fixture(scope="module")
def window():
    return SyntheticScenes(SyntheticConfig(28, 42, 3), 11).window([0], times=(0, 2))


def knowing(window, wrong):
    """A prediction of twice the true points, `wrong` [S, H, W] of the distance beside them, sure where it is right."""
    local = window.in_camera(0)
    own, _ = local.own_points()
    return Prediction(
        own_points=2 * own[0] * (1 + wrong[..., None]),
        own_conf=1 + 1 / (0.1 + wrong),
        points=2 * local.points[0],
        conf=torch.ones(2, *wrong.shape),
        times=(0, 2),
        world_from_camera=local.world_from_camera[0],
        intrinsics=local.intrinsics[0],
    )


def test_the_error_is_relative_and_knows_no_unit(window):
    conf, error = calibration.pixel_errors(knowing(window, torch.zeros(3, 28, 42)), window)
    assert len(conf) == len(error) > 100
    assert error.max() < 1e-4


def test_a_network_that_says_where_it_is_wrong_ranks_its_errors(window):
    wrong = (torch.rand(3, 28, 42, generator=torch.Generator().manual_seed(0)) - 0.6).clamp_min(0)  # most are right
    conf, error = calibration.pixel_errors(knowing(window, wrong), window)
    assert calibration.rank_correlation(conf, error) < -0.3


def test_ranks_of_equal_and_of_opposite_order():
    values = torch.tensor([3.0, 1.0, 2.0, 9.0])
    assert calibration.rank_correlation(values, values**3) == pytest.approx(1)
    assert calibration.rank_correlation(values, -values) == pytest.approx(-1)


@pytest.fixture
def engine():
    network = VDPMNetwork(NETWORK)
    initialise(network, 0)
    spec = replace(find_spec("vdpm-mini"), config=NETWORK)
    return TorchEngine(LoadedNetwork(network, spec, trained=False, notice=None), torch.device("cpu"))


def test_a_floor_is_chosen_only_where_it_is_quiet_on_still_worlds(engine):
    figures = calibration.calibrate(engine, 2, 1, lambda done: None)
    assert len(figures["confidence"]["tenths"]) == 10
    assert set(figures["masks"]) == {str(floor) for floor in calibration.FLOORS}
    floor = figures["chosen"]["dynamic_floor"]
    assert floor is None or figures["masks"][str(floor)]["false_motion"] < calibration.QUIET
    assert figures["scale_step"]["median"] >= 0


def test_too_few_scenes_are_refused(capsys):
    assert calibration.main(["vdpm-mini", "--scenes", "1"]) == 2
    assert capsys.readouterr().err.startswith("dpm: --scenes is 1; it must be 2 or more")
