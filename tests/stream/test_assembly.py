# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from dpm_core.stream.assembly import Assembly, Patience

ALL = frozenset({"calibration", "depth", "odometry"})


def assembly(*expected, seconds=0.1, tolerance_ns=5):
    each = Assembly(Patience(seconds, tolerance_ns))
    each.expected = frozenset(expected)
    each.tree.add("base", "camera", None, np.eye(4))
    return each


def odometry(each, stamp_ns, x=0.0):
    pose = np.eye(4)
    pose[0, 3] = x
    each.tree.add("odom", "base", stamp_ns, pose)


def stamps(together):
    return [one.stamp_ns for one in together]


def test_where_nothing_else_is_expected_images_go_on_at_once():
    each = assembly()
    each.put_image(100, "camera", "image", now=0.0)
    (one,) = each.ready(0.0)
    assert (one.stamp_ns, one.frame_id, one.image, one.depth, one.odom_from_camera) == (
        *(100, "camera", "image"),
        *(None, None),
    )
    assert one.missing == ()


def test_an_image_waits_for_all_that_is_expected():
    each = assembly(*ALL)
    each.put_image(100, "camera", "image", now=0.0)
    assert stamps(each.ready(0.0)) == []
    each.put_depth(103, "depth")
    assert stamps(each.ready(0.01)) == []
    odometry(each, 90, x=0.0)
    odometry(each, 110, x=1.0)
    assert stamps(each.ready(0.02)) == []
    each.has_calibration = True
    (one,) = each.ready(0.03)
    assert one.depth == "depth"
    assert one.odom_from_camera[0, 3] == pytest.approx(0.5)
    assert one.missing == ()


def test_patience_ends_and_what_did_not_come_is_named():
    each = assembly(*ALL)
    each.has_calibration = True
    each.put_image(100, "camera", "image", now=5.0)
    each.put_depth(110, "of another image")
    assert each.waits_until == pytest.approx(5.1)
    assert stamps(each.ready(5.09)) == []
    (one,) = each.ready(5.11)
    assert (one.depth, one.missing) == (None, ("depth", "odometry"))
    assert each.waits_until is None


def test_what_is_there_is_used_though_nobody_expected_it():
    each = assembly()
    each.put_depth(100, "depth")
    each.put_image(101, "camera", "image", now=0.0)
    assert next(iter(each.ready(0.0))).depth == "depth"


def test_the_nearest_depth_counts():
    each = assembly("depth")
    for stamp in (96, 99, 104):
        each.put_depth(stamp, stamp)
    each.put_image(100, "camera", "image", now=0.0)
    assert next(iter(each.ready(0.0))).depth == 99


def test_images_leave_in_the_order_they_came():
    each = assembly("depth")
    for stamp in (100, 200, 300):
        each.put_image(stamp, "camera", "image", now=stamp / 1000)
    each.put_depth(200, "depth")
    assert stamps(each.ready(0.19)) == []
    assert stamps(each.ready(0.21)) == [100, 200]
    assert stamps(each.ready(1.0)) == [300]


def test_no_more_than_sixteen_wait():
    each = assembly("depth", seconds=1000.0)
    for stamp in range(20):
        each.put_image(100 * stamp, "camera", "image", now=0.0)
    assert stamps(each.ready(0.0)) == [0, 100, 200, 300]


def test_when_time_goes_back_what_waits_and_what_was_heard_is_forgotten():
    each = assembly("depth", "odometry")
    each.put_image(100, "camera", "image", now=0.0)
    each.put_depth(50, "depth")
    odometry(each, 0)
    odometry(each, 100)
    each.forget()
    assert stamps(each.ready(9.0)) == []
    each.put_image(50, "camera", "image", now=9.0)
    (one,) = each.ready(10.0)
    assert one.missing == ("depth", "odometry")
