# SPDX-License-Identifier: Apache-2.0
"""The map goes into one folder, whole or not at all."""

import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from ball import BallWorld
from dpm_ros.saving import save_map
from oracle import OracleEngine, frame

from dpm_core.errors import DpmError
from dpm_core.io.ply import read_ply
from dpm_core.stream import Session


@pytest.fixture(scope="module")
def estimate():
    session = Session(OracleEngine(BallWorld(lambda index: np.array([0, 0, 2.5]))))
    for index in range(8):
        estimate = session.process(frame(index))
    return estimate


def test_the_file_holds_the_map_and_says_its_frame_and_unit(estimate, tmp_path):
    said = save_map(tmp_path / "maps", estimate, "odom")
    (path,) = (tmp_path / "maps").iterdir()
    assert said == f"{len(estimate.static_map().points)} points in {path}"
    assert path.name == "map-1.700000000.ply"
    np.testing.assert_array_equal(read_ply(path).points, estimate.static_map().points)
    assert b"comment frame odom, unit network" in path.read_bytes()[:300]


def test_the_home_folder_may_be_meant(estimate, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_map(Path("~", ".ros"), estimate, "map")
    assert list((tmp_path / ".ros").glob("map-*.ply"))


def test_an_empty_map_is_told_and_not_written(tmp_path):
    first = Session(OracleEngine()).process(frame(0))
    with pytest.raises(DpmError, match="the map is empty"):
        save_map(tmp_path, first, "map")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_none_is_told(estimate, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DpmError, match=r"cannot be written .*map_folder"):
        save_map(tmp_path / "file", estimate, "map")


@contextmanager
def little_room():
    """A disk that takes 2000 bytes a file, as far as this process can tell, pytest too: no longer than needed."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_leaves_nothing_behind(estimate, tmp_path):
    with little_room(), pytest.raises(DpmError, match=r"cannot be written .*make room"):
        save_map(tmp_path, estimate, "map")
    assert list(tmp_path.iterdir()) == []


def test_a_map_that_was_saved_before_outlives_a_full_disk(estimate, tmp_path):
    save_map(tmp_path, estimate, "map")
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    with little_room(), pytest.raises(DpmError):
        save_map(tmp_path, estimate, "map")
    assert path.read_bytes() == before
