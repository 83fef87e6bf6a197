# SPDX-License-Identifier: Apache-2.0
import pytest

from dpm_core.checkpoints.registry import FAMILIES, REGISTRY


@pytest.mark.parametrize("spec", REGISTRY.values(), ids=REGISTRY)
def test_every_line_is_whole(spec):
    assert REGISTRY[spec.name] is spec
    assert isinstance(spec.config, FAMILIES[spec.family].config)
    for words in (spec.layout, spec.licence, spec.purpose):
        assert words.strip()
    if spec.published is not None:
        assert spec.published.file
        assert spec.published.url.startswith("https://")
        assert spec.published.repository in spec.published.url


@pytest.mark.parametrize("spec", REGISTRY.values(), ids=REGISTRY)
def test_images_are_fitted_to_sizes_that_the_network_takes(spec):
    fit = spec.fit(480, 640)
    patch = 14 if spec.family in ("V-DPM", "VGGT") else 16
    assert [side % patch for side in fit.size] == [0, 0]
    assert fit.size[0] <= fit.size[1]
