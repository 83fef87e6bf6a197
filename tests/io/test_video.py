# SPDX-License-Identifier: Apache-2.0
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from recordings import HEIGHT, WIDTH, index_of, picture, write_folder, write_video

from dpm_core.errors import DpmError
from dpm_core.io import open_source


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.webm", "libvpx")])
def test_reads_common_containers(tmp_path, name, codec):
    with open_source(write_video(tmp_path / name, 6, codec)) as source:
        frames = list(source)
    assert [index_of(frame) for frame in frames] == list(range(6))
    assert [frame.stamp_ns for frame in frames] == [index * 100_000_000 for index in range(6)]
    assert frames[0].image.shape == (HEIGHT, WIDTH, 3)
    assert frames[0].intrinsics is None


def test_stamps_are_the_films_own_even_if_uneven(tmp_path):
    ticks = [0, 3, 4, 90]
    with av.open(str(tmp_path / "uneven.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=100)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with open_source(tmp_path / "uneven.mkv") as source:
        assert [frame.stamp_ns for frame in source] == [tick * 10_000_000 for tick in ticks]


def test_is_turned_upright_as_it_was_held(tmp_path):
    left_is_bright = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    left_is_bright[:, : WIDTH // 2] = 255
    with av.open(str(tmp_path / "plain.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(left_is_bright, format="rgb24")))
        container.mux(stream.encode())
    held = tmp_path / "held.mp4"
    held.write_bytes(quarter_turned((tmp_path / "plain.mp4").read_bytes()))
    with av.open(str(held)) as container:
        rotation = next(container.decode(video=0)).rotation
    with open_source(held) as source:
        (frame,) = source
    assert abs(rotation) == 90
    assert frame.image.shape == (WIDTH, HEIGHT, 3)
    # The display matrix below turns clockwise: what was left is now on top.
    assert frame.image[: WIDTH // 4].mean() > 200
    assert frame.image[-WIDTH // 4 :].mean() < 50


def quarter_turned(film):
    """The film with another display matrix in its track header (ISO 14496-12): 90 degrees clockwise."""

    def matrix(a, b, c, d):
        return struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)

    start = film.index(matrix(1, 0, 0, 1), film.index(b"tkhd"))
    return film[:start] + matrix(0, 1, -1, 0) + film[start + 36 :]


@pytest.mark.parametrize("content", [b"", b"words, many words, and no film\n" * 40, bytes(5000)])
def test_not_a_video(tmp_path, content):
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(DpmError, match=r"film.mp4 is (empty|not a video).*give a video such as .mp4"):
        open_source(tmp_path / "film.mp4")


def test_one_image_is_not_a_video(tmp_path):
    folder = write_folder(tmp_path / "images", ["0.png"])
    with pytest.raises(DpmError, match=r"0.png is not a video"):
        open_source(folder / "0.png")


def test_sound_is_not_a_video(tmp_path):
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame(format="s16", layout="mono", samples=800)
        silence.sample_rate = 8000
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(silence))
    with pytest.raises(DpmError, match=r"sound.wav is not a video"):
        open_source(tmp_path / "sound.wav")


def test_a_film_cut_short(tmp_path):
    film = write_video(tmp_path / "film.mp4", 9)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 3])
    with pytest.raises(DpmError, match=r"film.mp4 is not a video, or is cut short"):
        open_source(film)
