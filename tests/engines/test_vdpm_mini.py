# SPDX-License-Identifier: Apache-2.0
"""The bundled network as it comes in the package, with weights or without."""

import numpy as np
import pytest

from dpm_core.checkpoints import find_spec, load_network
from dpm_core.checkpoints.download import sha256
from dpm_core.checkpoints.loading import installed
from dpm_core.engines import open_engine
from dpm_core.stream import Session
from dpm_core.types import Frame


def picture(height, width, seed=0):
    """Soft blobs; nothing in particular."""
    coarse = np.random.default_rng(seed).random((6, 8, 3))
    rows, columns = np.linspace(0, 5, height), np.linspace(0, 7, width)
    blobs = coarse[rows.astype(int)][:, columns.astype(int)]
    return np.ascontiguousarray(blobs * 255, dtype=np.uint8)


@pytest.fixture(scope="module")
def engine():
    return open_engine("vdpm-mini", device="cpu")


def test_what_the_package_holds_of_it_is_told():
    """Weights that are small, the registry's and told the worth of; or none, and that what it says means nothing."""
    spec, loaded = find_spec("vdpm-mini"), load_network("vdpm-mini")
    path = installed(spec)
    assert loaded.trained == (path is not None)
    assert loaded.spec == spec
    assert sum(parameter.numel() for parameter in loaded.network.parameters()) <= 20_000_000
    if path is None:
        assert loaded.notice.startswith("untrained weights")
    else:
        assert path.stat().st_size <= 40e6
        assert sha256(path) == spec.shipped_sha256
        assert loaded.notice == spec.quality


def test_one_frame_gives_depth_and_says_that_motion_is_unknown(engine):
    estimate = Session(engine).process(Frame(1, picture(480, 640)))
    assert estimate.depth.shape == (168, 224)
    assert np.isfinite(estimate.depth).mean() > 0.9
    assert not estimate.motion_known
    assert np.isnan(estimate.scene_flow).all()
    assert not estimate.dynamic.any()


@pytest.mark.parametrize(("height", "width"), [(360, 640), (640, 480), (480, 480)])
def test_images_of_other_aspects_are_fitted_by_the_rule(engine, height, width):
    fit = engine.fit(height, width)
    estimate = Session(engine).process(Frame(1, picture(height, width)))
    assert estimate.depth.shape == fit.size
    assert max(fit.size) <= 224
    assert all(side % 14 == 0 for side in fit.size)
