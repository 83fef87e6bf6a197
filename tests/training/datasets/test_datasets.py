# SPDX-License-Identifier: Apache-2.0
"""Every reader on a miniature in the data set's own layout: what it says is what is true."""

from functools import partial

import numpy as np
import pytest
import writers
import writers_waymo
from miniature import check

from dpm_core.errors import DpmError
from training.datasets import DATASETS, find_dataset
from training.datasets.assemble import window
from training.datasets.rgbd_benchmark import BONN_CAMERA, TUM_CAMERAS
from training.sampling import MIXTURES

# name -> how it is written, what it knows of other times, how exact it is
CASES = {
    "kubric-f": (writers.kubric, "everywhere", 1e-3),
    "kubric-g": (writers.kubric, "everywhere", 1e-3),
    "pointodyssey": (writers.pointodyssey, "somewhere on both", 0.02),
    "tartanair": (writers.tartanair, "everywhere", 1e-3),
    "spring": (writers.spring, "somewhere on both", 0.02),
    "blinkvision-indoor": (partial(writers.blinkvision, part="indoor"), "somewhere on both", 0.02),
    "blinkvision-outdoor": (partial(writers.blinkvision, part="outdoor"), "somewhere on both", 0.02),
    "dynamicreplica": (writers.dynamicreplica, "somewhere on both", 4e-3),
    "paralleldomain4d": (writers.paralleldomain4d, "own time", 1e-3),
    "carla": (writers.carla, "standing", 1e-3),
    "waymo": (writers_waymo.waymo, "everywhere", 0.1),
    "scannetpp": (writers.scannetpp, "everywhere", 1e-3),
    "blendedmvs": (writers.blendedmvs, "everywhere", 1e-3),
    "sintel": (writers.sintel, "somewhere on both", 0.02),
    "tum-dynamics": (
        partial(writers.rgbd, folder="rgbd_dataset_freiburg3_walking_xyz", K=TUM_CAMERAS["freiburg3"]),
        "own time",
        1e-3,
    ),
    "bonn": (partial(writers.rgbd, folder="rgbd_bonn_dataset/rgbd_bonn_crowd2", K=BONN_CAMERA), "own time", 1e-3),
    "kitti": (writers.kitti, "own time", 4e-3),
    "scannet": (writers.scannet, "everywhere", 1e-3),
}


def test_every_data_set_of_the_papers_has_a_reader_and_a_miniature():
    named = {name for mixture in MIXTURES.values() for name in mixture.datasets()}
    made = {"synthetic", "walls", "stored", "stored-held-out"}
    assert named - made <= set(DATASETS)
    assert set(DATASETS) == {*CASES, "nyuv2"}


@pytest.mark.parametrize("name", CASES)
def test_says_what_is_true(name, tmp_path):
    write, known, tolerance = CASES[name]
    world = write(tmp_path)
    clips = find_dataset(name).open(tmp_path)
    assert [len(clip) for clip in clips] == [world.frames]
    size = (24, 32) if world.size == (24, 32) else (48, 64)
    check(window(clips[0], [1, 2, 3], (0, 2), size), world, [1, 2, 3], known, tolerance)


def test_nyuv2_gives_single_frames_of_its_test_split(tmp_path):
    world = writers.nyuv2(tmp_path)
    clips = find_dataset("nyuv2").open(tmp_path)
    assert [len(clip) for clip in clips] == [1, 1]
    view = clips[1].view(0)
    assert np.array_equal(view.image, world.image(1))
    assert np.array_equal(view.depth, world.depth(1))


def test_waymo_is_seen_as_without_its_lens(tmp_path):
    world = writers_waymo.waymo(tmp_path)
    view = find_dataset("waymo").open(tmp_path)[0].view(1)
    bent, straight = writers_waymo.seen_bent(world, 1), world.image(1)

    def unlike(image):
        return np.abs(image.astype(int) - straight)[view.image.any(-1)].mean()

    # What is left is the resampling of stripes.
    assert unlike(view.image) < 0.5 * unlike(bent)
    known = view.depth > 0
    assert known.mean() > 0.1
    assert (np.abs(view.depth - world.depth(1)) < 0.1)[known].mean() > 0.97


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_folder_is_told_what_it_lacks_and_where_it_comes_from(name, tmp_path):
    with pytest.raises(DpmError) as caught:
        find_dataset(name).open(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert "get the data set: " in text
    assert "\n" not in text
    with pytest.raises(DpmError, match="is not a folder; get the data set"):
        find_dataset(name).open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("tartanair", "office/office/Easy/P000/pose_left.txt"),
        ("spring", "train/0001/cam_data/extrinsics.txt"),
        ("kubric-f", "scene_0/metadata.json"),
        ("waymo", "training/lidar_box/10017090168044687777_6380_000_6400_000.parquet"),
        ("kitti", "2011_09_26/calib_cam_to_cam.txt"),
        ("sintel", "training/camdata_left/alley_1/frame_0001.cam"),
    ],
)
def test_names_a_file_that_is_missing(name, lost, tmp_path):
    CASES[name][0](tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(DpmError, match=f"{name}: .*{lost} is missing; get the data set"):
        find_dataset(name).open(tmp_path)


def test_names_the_nearest_data_set():
    with pytest.raises(DpmError, match="no data set is called 'tartan-air'; did you mean 'tartanair'"):
        find_dataset("tartan-air")


def test_exclusions_are_those_of_the_supplement():
    from training.datasets import blinkvision, pointodyssey

    assert len(pointodyssey.EXCLUDED) == 35
    assert {"animal_s", "kg", "seminar_h52_ego1", "character0_f2"} <= pointodyssey.EXCLUDED
    assert len(blinkvision.EXCLUDED) == 4
