# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from estimates import cloud
from plyfile import PlyData

from dpm_core.errors import DpmError
from dpm_core.io.ply import read_ply, write_ply


@pytest.mark.parametrize("points", [0, 1, 1000])
def test_round_trip(tmp_path, points):
    given = cloud(0, points)
    write_ply(tmp_path / "a.ply", given)
    read = read_ply(tmp_path / "a.ply")
    for name in ("points", "colors", "confidence", "velocity", "dynamic"):
        np.testing.assert_array_equal(getattr(read, name), getattr(given, name))
        assert getattr(read, name).dtype == getattr(given, name).dtype


def test_is_what_viewers_expect(tmp_path):
    write_ply(tmp_path / "a.ply", cloud(0), ("unit m",))
    file = PlyData.read(str(tmp_path / "a.ply"))
    assert (file.byte_order, file.text, file.comments) == ("<", False, ["unit m"])
    assert [each.name for each in file["vertex"].properties][:6] == ["x", "y", "z", "red", "green", "blue"]


@pytest.mark.parametrize(
    "content", ["words", "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nend_header\n"]
)
def test_not_a_cloud_of_ours(tmp_path, content):
    (tmp_path / "a.ply").write_text(content)
    with pytest.raises(DpmError, match=r"a.ply is not a cloud of ours"):
        read_ply(tmp_path / "a.ply")
