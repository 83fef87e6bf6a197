# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from dpm_core.errors import DpmError
from dpm_core.geometry.frame_tree import FrameTree, pose_from

SECOND = 1_000_000_000


def pose(x=0.0, y=0.0, z=0.0, turn=0.0):
    """A translation, and a turn about z."""
    return pose_from((x, y, z), (0, 0, np.sin(turn / 2), np.cos(turn / 2)))


def robot():
    """odom → base moves a metre a second along x; base → mount → camera are fixed."""
    tree = FrameTree()
    for second in range(5):
        tree.add("odom", "base", second * SECOND, pose(x=second, turn=0.2 * second))
    tree.add("base", "mount", None, pose(z=1.0))
    tree.add("mount", "camera", None, pose(y=0.5, turn=np.pi / 2))
    return tree


def test_poses_are_chained_upwards():
    expected = pose(x=2, turn=0.4) @ pose(z=1.0) @ pose(y=0.5, turn=np.pi / 2)
    np.testing.assert_allclose(robot().lookup("odom", "camera", 2 * SECOND), expected, atol=1e-12)


def test_downwards_and_across_is_the_inverse():
    tree = robot()
    tree.add("base", "lidar", None, pose(x=0.3))
    back = tree.lookup("camera", "odom", SECOND)
    np.testing.assert_allclose(back, np.linalg.inv(tree.lookup("odom", "camera", SECOND)), atol=1e-12)
    np.testing.assert_allclose(tree.lookup("lidar", "mount", 7), pose(x=-0.3, z=1.0), atol=1e-12)
    np.testing.assert_allclose(tree.lookup("base", "base", 7), np.eye(4))


@pytest.mark.parametrize("part", [0.0, 0.25, 0.9, 1.0])
def test_between_two_stamps_the_way_is_straight_and_the_turn_even(part):
    between = robot().lookup("odom", "base", round((1 + part) * SECOND))
    np.testing.assert_allclose(between, pose(x=1 + part, turn=0.2 * (1 + part)), atol=1e-9)


def test_a_turn_goes_the_short_way():
    tree = FrameTree()
    tree.add("a", "b", 0, pose(turn=3.0))
    tree.add("a", "b", 10, pose(turn=-3.0))
    np.testing.assert_allclose(tree.lookup("a", "b", 5), pose(turn=np.pi), atol=1e-9)


@pytest.mark.parametrize("stamp", [-1, 4 * SECOND + 1])
def test_there_is_no_pose_before_the_oldest_and_after_the_newest(stamp):
    assert robot().lookup("odom", "camera", stamp) is None
    assert robot().lookup("mount", "camera", stamp) is not None


def test_frames_that_are_not_joined_have_none():
    tree = robot()
    tree.add("somewhere", "else", None, pose())
    assert tree.lookup("odom", "else", SECOND) is None
    assert tree.lookup("odom", "never heard of", SECOND) is None


def test_joined_is_at_whatever_time():
    tree = robot()
    tree.add("somewhere", "else", None, pose())
    assert tree.joined("odom", "camera")
    assert tree.joined("camera", "odom")
    assert not tree.joined("camera", "else")


def test_poses_may_come_late_and_twice():
    tree = FrameTree()
    for second in (0, 3, 1, 2, 2):
        tree.add("odom", "base", second * SECOND, pose(x=second))
    assert tree.lookup("odom", "base", round(1.5 * SECOND))[0, 3] == pytest.approx(1.5)


def test_a_leading_slash_is_no_part_of_a_name():
    tree = FrameTree()
    tree.add("/odom", "/base", None, pose(x=1))
    assert tree.lookup("odom", "/base", 0)[0, 3] == 1
    assert (tree.parent("base"), tree.parent("odom")) == ("odom", None)


def test_a_circle_ends():
    tree = FrameTree()
    for parent, child in ("ab", "bc", "ca"):
        tree.add(parent, child, None, pose())
    assert tree.lookup("a", "nowhere", 0) is None
    assert tree.lookup("a", "b", 0) is not None


def test_only_ten_seconds_are_kept():
    tree = FrameTree()
    for second in range(100):
        tree.add("odom", "base", second * SECOND, pose(x=second))
    assert tree.lookup("odom", "base", 88 * SECOND) is None
    assert tree.lookup("odom", "base", 90 * SECOND) is not None


@pytest.mark.parametrize("wrong", [2**31 * SECOND, -(2**31) * SECOND, 20 * SECOND])
def test_one_wrong_stamp_neither_pushes_out_nor_blocks_what_is_right(wrong):
    tree = robot()
    assert "more than 10 s" in tree.add("odom", "base", wrong, pose(x=99))
    assert tree.lookup("odom", "base", 3 * SECOND)[0, 3] == pytest.approx(3)
    assert tree.lookup("odom", "base", 4 * SECOND + 1) is None, "nothing leads to the wrong one"
    assert tree.add("odom", "base", 5 * SECOND, pose(x=5)) is None
    assert tree.lookup("odom", "base", round(4.5 * SECOND))[0, 3] == pytest.approx(4.5)
    assert tree.add("odom", "base", wrong + SECOND, pose(x=99)), "what agrees must follow at once"


@pytest.mark.parametrize("begin", [1000 * SECOND, -1000 * SECOND])
def test_time_that_jumped_is_believed_once_a_second_stamp_agrees(begin):
    tree = robot()
    assert tree.add("odom", "base", begin, pose(x=0))
    assert tree.add("odom", "base", begin + SECOND, pose(x=1)) is None
    assert tree.lookup("odom", "base", begin + SECOND // 2)[0, 3] == pytest.approx(0.5)
    assert tree.lookup("odom", "base", 3 * SECOND) is None


def test_what_is_fixed_is_not_moved():
    tree = robot()
    assert "'camera' is fixed in 'mount'" in tree.add("odom", "camera", SECOND, pose(x=99))
    assert tree.parent("camera") == "mount"
    assert tree.add("base", "camera", None, pose(x=0.1)) is None
    assert tree.parent("camera") == "base"


def test_memory_is_bounded_whatever_comes():
    tree = FrameTree()
    for index in range(5000):
        tree.add("odom", "base", index, pose())
    assert len(tree._edges["base"].stamps) == len(tree._edges["base"].poses) == 4096
    for index in range(1023):
        tree.add("odom", f"frame {index}", None, pose())
    with pytest.raises(DpmError, match="more than 1024 frames"):
        tree.add("odom", "one too many", None, pose())


def test_when_time_goes_back_what_is_constant_stays():
    tree = robot()
    tree.forget_moving()
    assert tree.lookup("odom", "base", SECOND) is None
    assert tree.lookup("base", "camera", SECOND) is not None


@pytest.mark.parametrize(
    ("parent", "child", "matrix", "words"),
    [
        ("odom", "odom", pose(), "joins no two frames"),
        ("", "base", pose(), "joins no two frames"),
        ("odom", "base", pose(x=np.nan), "not finite"),
        ("odom", "base", pose_from((0, 0, 0), (0, 0, 0, 0)), "not finite"),
    ],
)
def test_what_is_no_transform_is_refused(parent, child, matrix, words):
    with pytest.raises(DpmError, match=words):
        FrameTree().add(parent, child, 0, matrix)
