# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise
from pathlib import Path

import pytest
from recordings import camera_info, compressed, image, index_of, write_bag, write_folder, write_video

from dpm_core.errors import DpmError
from dpm_core.io import open_source

FRAMES = 7
WALKING = Path(__file__).parents[2] / "demo" / "walking"


@pytest.fixture(params=["video", "folder", "bag"])
def recording(request, tmp_path):
    """The same seven frames three times."""
    if request.param == "video":
        return write_video(tmp_path / "film.mp4", FRAMES)
    if request.param == "folder":
        return write_folder(tmp_path / "images", [f"{index}.png" for index in range(FRAMES)])
    topics = {"/cam/image": [image(index) for index in range(FRAMES)], "/cam/camera_info": [camera_info()]}
    return write_bag(tmp_path / "bag", topics)


def test_gives_every_frame_in_order_and_again(recording):
    with open_source(recording) as source:
        assert source.length == FRAMES
        assert [index_of(frame) for frame in source] == list(range(FRAMES))
        assert [index_of(frame) for frame in source] == list(range(FRAMES))


@pytest.mark.parametrize(
    ("every", "limit", "indices"),
    [(1, 3, [0, 1, 2]), (3, None, [0, 3, 6]), (2, 2, [0, 2]), (2, 99, [0, 2, 4, 6]), (10, 1, [0])],
)
def test_thins(recording, every, limit, indices):
    with open_source(recording, every=every, limit=limit) as source:
        assert source.length == len(indices)
        assert [index_of(frame) for frame in source] == indices


def test_stamps_are_one_period_apart(recording):
    with open_source(recording, fps=10) as source:
        stamps = [frame.stamp_ns for frame in source]
    assert {after - before for before, after in pairwise(stamps)} == {100_000_000}


@pytest.mark.parametrize(
    ("options", "message"),
    [(dict(every=0), "--every is 0; it must be 1 or more"), (dict(limit=0), "--limit is 0; it must be 1 or more")],
)
def test_refuses_senseless_thinning(recording, options, message):
    with pytest.raises(DpmError, match=message):
        open_source(recording, **options)


def test_names_what_is_not_there(tmp_path):
    with pytest.raises(DpmError, match=r"nothing.mp4 is not there; give a video file, a folder of images or a rosbag2"):
        open_source(tmp_path / "nothing.mp4")


def test_topics_are_for_bags(tmp_path):
    with pytest.raises(DpmError, match=r"is not a bag and has no topics; leave --topic out"):
        open_source(write_video(tmp_path / "film.mp4", 1), topic="/cam")


def test_the_bundled_recording():
    with open_source(WALKING) as source:
        assert source.length == 22
        first = next(iter(source))
    assert first.stamp_ns == 1341846434710184000
    assert first.image.shape == (480, 640, 3)
    assert first.frame_id == "camera_color_optical_frame"
    assert first.intrinsics[0].tolist() == [535.4, 0, 320.1]


def test_closing_lets_a_bag_go(tmp_path):
    with open_source(write_bag(tmp_path / "bag", {"/cam": [compressed(0)]})) as source:
        pass
    with pytest.raises(DpmError, match="not open"):
        list(source)
