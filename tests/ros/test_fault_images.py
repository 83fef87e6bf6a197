# SPDX-License-Identifier: Apache-2.0
"""Images of every kind, and of no kind, over real DDS: docs/faults.md, "What an image holds"."""

import zlib

import cv2
import numpy as np
import oracle
import pytest
from dpm_ros import conversions, interface
from faulty_stream import FaultyStream
from sensor_msgs.msg import CompressedImage
from test_conversions import read_back

COLOUR = np.array([110, 80, 50], np.uint8)  # its mean is the grey that the oracle reads
GREY = np.full(3, 80, np.uint8)
PICTURE = np.full((oracle.HEIGHT, oracle.WIDTH, 3), COLOUR, np.uint8)
UNREADABLE = "unreadable image"


@pytest.fixture(scope="module")
def stream(graph):
    return FaultyStream(graph, "pixels")


def bayer(pattern):
    channel = {"r": 0, "g": 1, "b": 2}
    tile = COLOUR[[channel[letter] for letter in pattern]].reshape(2, 2)
    return np.tile(tile, (oracle.HEIGHT // 2, oracle.WIDTH // 2))


def yuv(order):
    """Brightness and colour in this order: the studio range of BT.601, as sensor_msgs says."""
    ycrcb = cv2.cvtColor(PICTURE[:1, :1], cv2.COLOR_RGB2YCrCb)[0, 0].astype(float)
    y, cr, cb = 16 + ycrcb[0] * 219 / 255, *(128 + (ycrcb[1:] - 128) * 224 / 255)
    return np.array([{"y": y, "u": cb, "v": cr}[letter] for letter in order]).round().astype(np.uint8)


def yuv422(order):
    """Colour beside brightness: two pixels share one."""
    return np.tile(yuv(order), (oracle.HEIGHT, oracle.WIDTH // 2))


def yuv420(order):
    """Colour after brightness: two by two pixels share one."""
    luma = np.tile(yuv("y"), (oracle.HEIGHT, oracle.WIDTH))
    return np.concatenate([luma, np.tile(yuv(order), (oracle.HEIGHT // 2, oracle.WIDTH // 2))])


PIXELS = {
    "rgb8": PICTURE,
    "bgr8": PICTURE[..., ::-1],
    "rgba8": PICTURE[..., [0, 1, 2, 0]],
    "bgra8": PICTURE[..., [2, 1, 0, 0]],
    "8UC3": PICTURE[..., ::-1],
    "mono8": np.full(PICTURE.shape[:2], 80, np.uint8),
    "mono16": np.full(PICTURE.shape[:2], 80 * 257, "<u2"),
    "yuv422": yuv422("uyvy"),
    "yuv422_yuy2": yuv422("yuyv"),
    "nv12": yuv420("uv"),
    "nv21": yuv420("vu"),
    **{f"bayer_{pattern}8": bayer(pattern) for pattern in ("rggb", "bggr", "gbrg", "grbg")},
}


def encoded(stream, encoding, pixels, padding=0, **changes):
    """The message of these pixels, [rows, W, ...]."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    return stream.message(encoding=encoding, step=rows.shape[1], data=rows.tobytes(), **changes)


def seen_colour(cloud):
    """The median colour of a cloud's points."""
    packed = np.ascontiguousarray(read_back(cloud)["rgb"]).view(np.uint32)
    return np.median(np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], -1), axis=0)


def assert_is_seen(stream, message, colour):
    """The window is forgotten first, so that the cloud is this image's alone."""
    message.header.frame_id = f"camera of {message.encoding}, {message.step}, {message.is_bigendian}"
    cloud = stream.exchange(message, interface.POINTS)
    np.testing.assert_allclose(seen_colour(cloud), colour, atol=3)


@pytest.mark.parametrize("encoding", PIXELS)
def test_every_encoding_is_seen_in_its_own_colours(stream, encoding):
    colour = GREY if "mono" in encoding else COLOUR
    assert_is_seen(stream, encoded(stream, encoding, PIXELS[encoding]), colour)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono16", "nv12"])
def test_padding_of_rows_is_not_seen(stream, encoding):
    colour = GREY if "mono" in encoding else COLOUR
    assert_is_seen(stream, encoded(stream, encoding, PIXELS[encoding], padding=7), colour)


def test_bytes_in_big_endian_order_are_read_so(stream):
    assert_is_seen(stream, encoded(stream, "mono16", PIXELS["mono16"].astype(">u2"), is_bigendian=1), GREY)
    assert_is_seen(stream, encoded(stream, "rgb8", PICTURE, is_bigendian=1), COLOUR)


@pytest.mark.parametrize("encoding", ["nv24", "garbage", "", "x" * 100_000])
def test_an_encoding_that_is_not_known_is_named_with_those_that_are(stream, encoding):
    stream.survives(stream.message(encoding=encoding), reason=UNREADABLE, words=f"image encoding '{encoding[:50]}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": 0}, "it must have at least one pixel"),
        ({"width": 0}, "it must have at least one pixel"),
        ({"height": 0, "width": 0, "step": 0, "data": b""}, "image is 0 x 0"),
        ({"height": 2**32 - 1, "width": 2**31, "step": 2**32 - 1}, "image step is 4294967295 bytes"),
    ],
)
def test_a_size_that_cannot_be_is_named(stream, changes, words):
    stream.survives(stream.message(**changes), reason=UNREADABLE, words=words)


@pytest.mark.parametrize("data", [b"", b"123", bytes(3 * oracle.HEIGHT * oracle.WIDTH - 1)])
def test_data_shorter_than_declared_is_named_with_what_is_missing(stream, data):
    stream.survives(stream.message(data=data), reason=UNREADABLE, words=f"image data is {len(data)} bytes")


def test_another_resolution_starts_the_window_anew_and_goes_on(stream):
    stream.good()
    small = oracle.frame(7).image[::2, ::2]
    height, width = small.shape[:2]
    changes = {"height": height, "width": width, "step": 3 * width, "data": small.tobytes()}
    stream.exchange(stream.message(**changes))
    stream.good()
    stream.accounted()
    assert "another image size; the window starts anew" in stream.values["fault: resolution"]
    assert "resolution: another image size" in stream.node.said()


def test_the_node_that_saw_all_this_ends_well(stream):
    """Last of those that share the node."""
    stream.accounted()
    stream.ends_well()


def file_of(frame, extension="png", cut=None):
    """The message of a whole or cut image file."""
    bgr = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(f".{extension}", bgr)[1].tobytes()[:cut]
    header = conversions.header(frame.stamp_ns, f"{extension} camera")
    return CompressedImage(header=header, format=extension, data=data)


@pytest.fixture(scope="module")
def files(graph):
    return FaultyStream(graph, "files", "-p", "image_transport:=compressed", make=file_of, topic=interface.COMPRESSED)


@pytest.mark.parametrize("extension", ["jpeg", "png"])
def test_compressed_images_are_seen_in_their_own_colours(files, extension):
    cloud = files.exchange(files.message(extension=extension), interface.POINTS)
    np.testing.assert_allclose(seen_colour(cloud), COLOUR, atol=3)


@pytest.mark.parametrize(("extension", "cut"), [("jpeg", -20), ("jpeg", 10), ("png", 30), ("png", 0)])
def test_a_compressed_image_that_is_cut_is_named(files, extension, cut):
    files.survives(files.message(extension=extension, cut=cut), reason=UNREADABLE, words="compressed image of format")


def test_a_small_file_that_declares_a_huge_image_is_refused_before_it_is_unpacked(files):
    message = files.message()
    declared = bytearray(message.data)
    declared[16:24] = (30_000).to_bytes(4, "big") * 2  # of a PNG's header
    declared[29:33] = zlib.crc32(declared[12:29]).to_bytes(4, "big")
    message.data = bytes(declared)
    files.survives(message, reason=UNREADABLE, words="30000 x 30000")


def test_the_node_that_saw_these_files_ends_well(files):
    """Last of those that share the node."""
    files.accounted()
    files.ends_well()
