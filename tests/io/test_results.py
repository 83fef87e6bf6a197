# SPDX-License-Identifier: Apache-2.0
import json
import sys

import cv2
import numpy as np
import pytest
from estimates import HEIGHT, PERIOD, STAMP, WIDTH, estimate, pose

from dpm_core.errors import DpmError
from dpm_core.io import recording, results
from dpm_core.io.ply import read_ply
from dpm_core.io.results import Outputs, Results
from dpm_core.io.trajectory import read_trajectory
from dpm_core.stream import Wanted

FRAMES = 3
ABOUT = {"source": "film.mp4", "model": "oracle"}


def write(path, outputs=None, overwrite=False):
    with Results(path, ABOUT, outputs or Outputs(recording=False), overwrite) as written:
        for index in range(FRAMES):
            written.add(estimate(index))
    return path


def numbered(suffix):
    return [f"{index:06d}{suffix}" for index in range(FRAMES)]


def test_every_output_is_there(tmp_path):
    out = write(tmp_path / "out", Outputs(pictures=True))
    files = ["trajectory.txt", "intrinsics.json", "map.ply", "tracks.csv", "recording.rrd", "summary.json"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*files, "depth", "mask", "cloud", "pictures"])
    for folder, suffix in (("depth", ".tiff"), ("mask", ".png"), ("cloud", ".ply"), ("pictures", ".png")):
        assert sorted(path.name for path in (out / folder).iterdir()) == numbered(suffix)


def test_only_what_is_asked(tmp_path):
    out = write(tmp_path / "out", Outputs(*[False] * 6))
    assert sorted(path.name for path in out.iterdir()) == ["intrinsics.json", "summary.json", "trajectory.txt"]


def test_numbers_come_back_exactly(tmp_path):
    out = write(tmp_path / "out")
    cameras = json.loads((out / "intrinsics.json").read_text())
    for index, (stamp, world_from_camera) in enumerate(read_trajectory(out / "trajectory.txt")):
        written = estimate(index)
        assert stamp == cameras[index]["stamp_ns"] == STAMP + index * PERIOD
        np.testing.assert_allclose(world_from_camera, pose(index), atol=1e-8)
        np.testing.assert_array_equal(cameras[index]["matrix"], written.intrinsics)
        assert (cameras[index]["width"], cameras[index]["height"]) == (WIDTH, HEIGHT)

        depth = cv2.imread(str(out / "depth" / f"{index:06d}.tiff"), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.float32
        np.testing.assert_array_equal(depth, written.depth)
        mask = cv2.imread(str(out / "mask" / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, np.where(written.dynamic, 255, 0))
        cloud = read_ply(out / "cloud" / f"{index:06d}.ply")
        for name in ("points", "colors", "confidence", "velocity", "dynamic"):
            np.testing.assert_array_equal(getattr(cloud, name), getattr(written.cloud, name))


def test_the_map_is_the_last_one(tmp_path):
    out = write(tmp_path / "out")
    np.testing.assert_array_equal(read_ply(out / "map.ply").points, estimate(FRAMES - 1).static_map().points)


def test_a_row_of_the_tracks_is_a_point_at_a_frame(tmp_path):
    head, *rows = (write(tmp_path / "out") / "tracks.csv").read_text().splitlines()
    assert head == "stamp,track,x,y,z"
    assert rows == [
        "1700000000.223456789,0,1,0,0.100000001",
        "1700000000.323456789,0,2,0,0.100000001",
        "1700000000.323456789,1,2,1,0.100000001",
    ]


def test_the_summary(tmp_path):
    with Results(tmp_path / "out", ABOUT, Outputs(recording=False)) as written:
        written.add(estimate(0))
        written.drop("repeated stamp")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["source"] == "film.mp4"
    assert summary["unit"] == "network"
    assert (summary["frames"], summary["estimates"], summary["dropped"]) == (2, 1, {"repeated stamp": 1})
    assert summary["latency_s"]["predict"] == {"p50": 0.03, "p95": 0.03, "max": 0.03}
    assert summary["latency_s"]["total"]["max"] == pytest.approx(0.04)


def test_no_frame_at_all_is_a_result_too(tmp_path):
    with Results(tmp_path / "out", ABOUT, Outputs(recording=False)):
        pass
    assert read_trajectory(tmp_path / "out" / "trajectory.txt") == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, DpmError])
@pytest.mark.parametrize("outputs", [Outputs(recording=False), Outputs(pictures=True)])
def test_an_error_leaves_nothing_behind(tmp_path, error, outputs):
    def interrupted():
        with Results(tmp_path / "out", ABOUT, outputs) as written:
            written.add(estimate(0))
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(path, image):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "_write_image", full)
    with pytest.raises(DpmError, match="No space left on device"):
        write(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_in_the_end_too(tmp_path, monkeypatch):
    def full(path, poses):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "write_trajectory", full)
    with pytest.raises(DpmError, match="No space left on device"):
        write(tmp_path / "out")
    with pytest.raises(RuntimeError, match="the first cause"), Results(tmp_path / "out", ABOUT):
        raise RuntimeError("the first cause")
    assert list(tmp_path.iterdir()) == []


def test_what_is_told_after_the_end_is_what_was_written(tmp_path):
    with Results(tmp_path / "out", ABOUT, Outputs(recording=False)) as written:
        written.add(estimate(0))
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == written.summary()


def test_refuses_what_is_there(tmp_path):
    out = write(tmp_path / "out")
    before = (out / "summary.json").read_bytes()
    with pytest.raises(DpmError, match=r"out is there already; choose another --out, or give --overwrite"):
        write(out)
    assert (out / "summary.json").read_bytes() == before


def test_overwrites_its_own_only(tmp_path):
    out = write(tmp_path / "out")
    (out / "old.txt").write_text("old")
    write(out, overwrite=True)
    assert not (out / "old.txt").exists()
    assert list(tmp_path.iterdir()) == [out]

    (tmp_path / "precious").mkdir()
    with pytest.raises(DpmError, match=r"precious has no summary.json, so it is not a result of ours"):
        write(tmp_path / "precious", overwrite=True)


def test_a_failed_overwrite_keeps_the_old(tmp_path):
    out = write(tmp_path / "out")
    before = (out / "summary.json").read_bytes()
    with pytest.raises(RuntimeError), Results(out, ABOUT, Outputs(recording=False), overwrite=True):
        raise RuntimeError
    assert (out / "summary.json").read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_says_where_it_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DpmError, match=r"cannot be written \(.*\); choose another --out"):
        write(tmp_path / "file" / "out")


def test_says_that_rerun_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "recording_possible", lambda: False)
    with Results(tmp_path / "out", ABOUT) as written:
        written.add(estimate(0))
    assert written.notices == [results.NO_RERUN]
    assert not (tmp_path / "out" / "recording.rrd").exists()


def test_rerun_is_looked_for_without_importing_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert recording.recording_possible() in (True, False)


def test_the_session_is_asked_for_no_more_than_is_written():
    assert Outputs().wanted() == Wanted()
    assert Outputs(cloud=False, recording=False).wanted() == Wanted(cloud=False, motion="newest")
    assert Outputs(cloud=False, recording=False, pictures=True).wanted() == Wanted()
