# SPDX-License-Identifier: Apache-2.0
"""Nothing that a message holds passes the inputs as anything but a frame or a named fault: no DDS, so that many do."""

from collections import Counter

import cv2
import numpy as np
import oracle
import pytest
from dpm_ros import conversions, interface
from dpm_ros.inputs import Inputs
from harness import image_message
from hypothesis import given
from hypothesis import strategies as st
from noise import random_message
from sensor_msgs.msg import CompressedImage, Image
from test_inputs import DEFAULTS, PlayedNode

from dpm_core.errors import DpmError
from dpm_core.io.images import ENCODINGS

SIZES = st.integers(0, 40) | st.integers(0, 2**32 - 1)
WORDS = st.sampled_from([*ENCODINGS, "16UC1", "32FC1", ""]) | st.text(max_size=20)
IMAGES = st.builds(
    Image,
    height=SIZES,
    width=SIZES,
    step=SIZES,
    encoding=WORDS,
    is_bigendian=st.integers(0, 255),
    data=st.binary(max_size=4000),
)


def array_of(read, message):
    """What is read of a message; None where it is refused with a user's error. Nothing else is raised."""
    try:
        return read(message)
    except DpmError:
        return None


@given(IMAGES)
def test_an_image_is_pixels_of_its_size_or_a_users_error(message):
    pixels = array_of(conversions.rgb_from_image, message)
    assert pixels is None or (pixels.shape, pixels.dtype) == ((message.height, message.width, 3), np.uint8)


@given(st.sampled_from(ENCODINGS), st.integers(1, 5), st.integers(1, 5))
def test_an_image_of_few_pixels_is_pixels_or_a_users_error(encoding, height, width):
    message = Image(height=height, width=width, encoding=encoding, step=width * 4, data=bytes(height * width * 4))
    pixels = array_of(conversions.rgb_from_image, message)
    assert pixels is None or pixels.shape == (height, width, 3)


@given(IMAGES)
def test_depth_is_metres_of_its_size_or_a_users_error(message):
    depth = array_of(conversions.depth_from_image, message)
    assert depth is None or (depth.shape, depth.dtype) == ((message.height, message.width), np.float32)


@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]), st.binary(max_size=200), WORDS)
def test_a_file_of_noise_is_pixels_or_a_users_error(begin, rest, words):
    pixels = array_of(conversions.rgb_from_compressed, CompressedImage(format=words, data=begin + rest))
    assert pixels is None or pixels.dtype == np.uint8


class Listener:
    """Inputs on a played node with every sensor offered; what became of each message."""

    def __init__(self, **values):
        self.node, self.frames, self.told = PlayedNode(), [], Counter()
        tell = lambda cause, why: self.told.update([cause])  # noqa: E731
        self.inputs = Inputs(self.node, DEFAULTS | {"sync_wait": 0.0} | values, self.frames.append, tell, tell)
        self.node.publishers |= set(self.node.callbacks)


def picture(frame):
    """The compressed message of a frame."""
    data = cv2.imencode(".png", frame.image)[1].tobytes()
    return CompressedImage(header=conversions.header(frame.stamp_ns, frame.frame_id), format="png", data=data)


SENSORS = (interface.CAMERA_INFO, interface.DEPTH_IN, interface.STATIC_TF)


@pytest.mark.parametrize(
    ("values", "topics", "good"),
    [
        ({}, (interface.IMAGE, interface.ODOM, *SENSORS), image_message),
        ({"odom_from": "tf", "image_transport": "compressed"}, (interface.COMPRESSED, interface.TF, *SENSORS), picture),
    ],
)
@given(seed=st.integers(0, 2**32 - 1))
def test_after_noise_on_every_topic_a_good_image_is_a_frame(values, topics, good, seed):
    random, listener = np.random.default_rng(seed), Listener(**values)
    for _ in range(40):
        topic = topics[random.integers(len(topics))]
        listener.node.callbacks[topic.name](random_message(random, topic.type))
    frame = oracle.frame(7, frame_id="a camera that was not heard of")
    listener.node.callbacks[topics[0].name](good(frame))
    listener.node.wake()
    assert listener.frames[-1].frame_id == frame.frame_id
    np.testing.assert_array_equal(listener.frames[-1].image, frame.image)
