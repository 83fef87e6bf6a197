# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from dpm_core.cli import main

SMALL = ["--device", "cpu", "--views", "2", "--height", "8", "--width", "12", "--repeats", "1"]


def test_every_kernel_is_told_with_its_figures(tmp_path, capsys):
    assert main(["bench", "kernels", *SMALL, "--json", str(tmp_path / "figures.json")]) == 0
    told = json.loads((tmp_path / "figures.json").read_text())
    names = [figure["name"] for figure in told["kernels"]]
    for kernel in ("prepare_images", "pointmap_dynamic_mask median", "pack_cloud 16 bytes", "project_zbuffer"):
        assert kernel in names
    for figure in told["kernels"]:
        assert figure["seconds"] > 0
        assert figure["bytes_per_second"] == pytest.approx(figure["bytes"] / figure["seconds"])
        assert set(figure["ratios"]) == set(figure["rivals"])
    assert told["machine"]["copy_bytes_per_second"] > 0
    assert "occlusion_mask" in capsys.readouterr().out


@pytest.mark.parametrize("change", [["--views", "0"], ["--voxel", "-1"], ["--device", "tpu"]])
def test_says_what_is_wrong(change, capsys):
    assert main(["bench", "kernels", *SMALL, *change]) == 2
    assert capsys.readouterr().err.startswith("dpm: ")
