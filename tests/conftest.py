# SPDX-License-Identifier: Apache-2.0
"""What every test shares."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import settings

import dpm_core  # noqa: F401  # before any test imports torch: it says how OpenMP waits

GOLDEN = Path(__file__).parent / "golden"

# The machines that run the tests are shared and slow: what counts is the result, and the same one every time.
settings.register_profile("dpm", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("dpm")


def pytest_addoption(parser):
    parser.addoption("--golden", type=Path, default=GOLDEN, help="folder of golden cases (default: tests/golden)")


@pytest.fixture(scope="session")
def golden_weights(pytestconfig):
    """The module that makes a case's weights and images from their names."""
    path = pytestconfig.getoption("golden") / "golden_weights.py"
    spec = importlib.util.spec_from_file_location("golden_weights", path if path.exists() else GOLDEN / path.name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
