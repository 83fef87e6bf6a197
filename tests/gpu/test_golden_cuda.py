# SPDX-License-Identifier: Apache-2.0
"""The published networks' numbers on a GPU, where the kernels are others: the tolerances of tests/golden/README.md."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from test_golden import errors_of, pytest_generate_tests  # noqa: F401 (pytest calls the second)

TOLERANCE = {"vggt": 1e-4, "vdpm": 1e-4}
EXPONENTIAL = 1e-3  # DUSt3R's and POMATO's outputs span many orders of magnitude


@pytest.fixture(autouse=True)
def full_precision():
    """TF32 keeps ten bits; what is compared here has twenty-three."""
    settings = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [setting.allow_tf32 for setting in settings]
    for setting in settings:
        setting.allow_tf32 = False
    yield
    for setting, allowed in zip(settings, before, strict=True):
        setting.allow_tf32 = allowed


def test_network_gives_the_same_numbers_on_a_gpu(case, golden_weights):
    config, errors = errors_of(case, golden_weights, "cuda")
    allowed = TOLERANCE.get(config["model"], EXPONENTIAL)
    assert {name: error for name, error in errors.items() if not error <= allowed} == {}
