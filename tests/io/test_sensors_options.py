# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from dpm_core.errors import DpmError
from dpm_core.io.sensors import Sensors, pose_of_words

BODY_FROM_OPTICAL = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]


def test_a_pose_in_words_is_that_pose():
    pose = pose_of_words("0.1, -0.2 0.3  -0.5 0.5 -0.5 0.5")
    np.testing.assert_allclose(pose[:3, :3], BODY_FROM_OPTICAL, atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], [0.1, -0.2, 0.3])
    assert pose_of_words(" ") is None


@pytest.mark.parametrize("words", ["1 2 3", "a b c d e f g", "0 0 0 0 0 0 0", "nan 0 0 0 0 0 1"])
def test_words_that_are_no_pose_are_named(words):
    with pytest.raises(DpmError, match=r"is no pose; write seven numbers"):
        pose_of_words(words)


@pytest.mark.parametrize(
    ("wrong", "words"), [(dict(depth_unit=0.0), "--depth-unit is 0.0"), (dict(base_from_camera="1 2"), "is no pose")]
)
def test_what_cannot_be_meant_is_named(wrong, words):
    with pytest.raises(DpmError, match=words):
        Sensors(**wrong)
