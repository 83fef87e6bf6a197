# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from estimates import pose
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import DpmError
from dpm_core.io.trajectory import nanoseconds, read_trajectory, seconds_text, write_trajectory


@given(st.integers(-(2**63), 2**63 - 1))
def test_stamps_survive_as_text(stamp_ns):
    assert nanoseconds(seconds_text(stamp_ns)) == stamp_ns


@pytest.mark.parametrize(
    ("text", "stamp_ns"),
    [("1341846434.710184", 1341846434_710184000), ("5", 5_000_000_000), ("1.5e-3", 1_500_000), (".25", 250_000_000)],
)
def test_reads_the_stamps_of_others(text, stamp_ns):
    assert nanoseconds(text) == stamp_ns


def test_a_line_is_as_in_the_benchmark(tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    matrix[:3, 3] = [1, -2, 0.5]
    write_trajectory(tmp_path / "t.txt", [(1_500_000_000, matrix)])
    stamp, *numbers = (tmp_path / "t.txt").read_text().splitlines()[1].split()
    assert stamp == "1.500000000"
    np.testing.assert_allclose([float(n) for n in numbers], [1, -2, 0.5, 0, 0, np.sqrt(0.5), np.sqrt(0.5)], atol=1e-8)


def test_round_trip(tmp_path):
    poses = [(index * 10**9, pose(index)) for index in range(6)]
    write_trajectory(tmp_path / "t.txt", poses)
    for (stamp, matrix), (read_stamp, read_matrix) in zip(poses, read_trajectory(tmp_path / "t.txt"), strict=True):
        assert read_stamp == stamp
        np.testing.assert_allclose(read_matrix, matrix, atol=1e-8)


def test_evo_reads_it(tmp_path):
    from evo.tools import file_interface

    write_trajectory(tmp_path / "t.txt", [(index * 10**9, pose(index)) for index in range(6)])
    path = file_interface.read_tum_trajectory_file(tmp_path / "t.txt")
    np.testing.assert_allclose(path.poses_se3, [pose(index) for index in range(6)], atol=1e-7)


@pytest.mark.parametrize("line", ["1 2 3", "a b c d e f g h", "1 2 3 4 5 6 7 8 9"])
def test_names_the_wrong_line(tmp_path, line):
    (tmp_path / "t.txt").write_text(f"# fine\n0 0 0 0 0 0 0 1\n{line}\n")
    with pytest.raises(DpmError, match=r"t.txt, line 3 is not 'stamp tx ty tz qx qy qz qw'"):
        read_trajectory(tmp_path / "t.txt")


def test_names_a_missing_file(tmp_path):
    with pytest.raises(DpmError, match="is not a trajectory that can be read"):
        read_trajectory(tmp_path / "t.txt")
