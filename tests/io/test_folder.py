# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest
from PIL import Image
from recordings import index_of, write_folder

from dpm_core.errors import DpmError
from dpm_core.io import open_source
from dpm_core.io.folder import read_image


def test_natural_order(tmp_path):
    folder = write_folder(tmp_path / "images", [f"frame{index}.png" for index in range(12)])
    with open_source(folder) as source:
        assert [index_of(frame) for frame in source] == list(range(12))


@pytest.mark.parametrize(
    ("names", "stamps"),
    [
        (["1341846434.71018.png", "1341846434.746225.png"], [1341846434_710180000, 1341846434_746225000]),
        (["1403636579763555584.png", "1403636579813555456.png"], [1403636579763555584, 1403636579813555456]),
        (["000007.png", "000009.png"], [0, 40_000_000]),
        (["1341846434.71018.png", "last.png"], [0, 40_000_000]),
    ],
    ids=["seconds as in TUM", "nanoseconds as in EuRoC", "numbers", "mixed"],
)
def test_stamps(tmp_path, names, stamps):
    with open_source(write_folder(tmp_path / "images", names), fps=25) as source:
        assert [frame.stamp_ns for frame in source] == stamps


def test_two_sizes_are_named(tmp_path):
    folder = write_folder(tmp_path / "images", ["a.png"])
    cv2.imwrite(str(folder / "b.png"), np.zeros((7, 9, 3), np.uint8))
    with pytest.raises(DpmError, match=r"two sizes: a.png is 32 x 24, b.png is 9 x 7; keep the images"):
        open_source(folder)


def test_depth_images_are_left_out(tmp_path):
    folder = write_folder(tmp_path / "images", ["a.png"])
    cv2.imwrite(str(folder / "a.depth.png"), np.ones((7, 9), np.uint16))
    with open_source(folder) as source:
        assert source.length == len(list(source)) == 1


def test_other_files_do_not_matter(tmp_path):
    folder = write_folder(tmp_path / "images", ["a.png"])
    (folder / "poses.txt").write_text("0 0 0")
    with open_source(folder) as source:
        assert source.length == 1


def test_a_folder_without_images(tmp_path):
    with pytest.raises(DpmError, match=r"holds no images; put files there of: .png, .jpg"):
        open_source(tmp_path)


def test_a_file_that_is_no_image(tmp_path):
    folder = write_folder(tmp_path / "images", ["a.png"])
    (folder / "b.png").write_text("words")
    with pytest.raises(DpmError, match=r"b.png is not an image that can be read"):
        open_source(folder)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_image_cut_short(tmp_path, suffix):
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    content = cv2.imencode(suffix, noise)[1].tobytes()
    (folder / f"a{suffix}").write_bytes(content[: len(content) // 2])
    with open_source(folder) as source, pytest.raises(DpmError, match=f"a{suffix} is damaged"):
        list(source)


def test_fps_must_be_a_rate(tmp_path):
    with pytest.raises(DpmError, match="--fps is 0; it must be more than 0"):
        open_source(write_folder(tmp_path / "images", ["a.png"]), fps=0)


def test_reads_the_colours_of_a_lossless_image_exactly(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 6, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def test_transparency_lies_on_white(tmp_path):
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]


def test_grey_has_three_equal_channels(tmp_path):
    Image.fromarray(np.array([[7, 9]], np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[7, 7, 7], [9, 9, 9]]]


def test_is_turned_upright_by_its_tag(tmp_path):
    lying = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    tag = lying.getexif()
    tag[0x0112] = 6
    (tmp_path / "images").mkdir()
    lying.save(tmp_path / "images" / "a.jpg", exif=tag)
    Image.fromarray(np.zeros((6, 4, 3), np.uint8)).save(tmp_path / "images" / "b.jpg")
    with open_source(tmp_path / "images") as source:
        assert {frame.image.shape for frame in source} == {(6, 4, 3)}
