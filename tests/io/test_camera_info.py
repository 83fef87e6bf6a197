# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from recordings import STORE, K, camera_info

from dpm_core.errors import DpmError
from dpm_core.io.camera_info import read_calibration

P = np.array([[28.0, 0, 16.5, 0], [0, 29.0, 12.5, 0], [0, 0, 1, 0]])
NOT_FINITE = np.diag([np.nan, 1, 1])


def no_camera(row, column, value):
    """A camera matrix with one number that no camera has."""
    matrix = K.copy()
    matrix[row, column] = value
    return matrix


def info(matrix=K, **changes):
    message = camera_info(matrix)
    for name, value in changes.items():
        setattr(message, name, np.asarray(value, np.float64).ravel() if name in "dpr" else value)
    return message


def region(**fields):
    empty = dict(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return STORE.types["sensor_msgs/msg/RegionOfInterest"](**(empty | fields))


def test_a_straight_camera_has_its_k_and_no_lens():
    calibration = read_calibration(info(p=P))
    np.testing.assert_array_equal(calibration.intrinsics, K)
    assert (calibration.size, calibration.lens) == ((24, 32), None)


def test_zeros_say_that_it_is_not_calibrated():
    assert read_calibration(info(np.zeros((3, 3)))) is None


@pytest.mark.parametrize(
    ("said", "count", "model"),
    [
        ("plumb_bob", 5, "plumb_bob"),
        ("", 5, "plumb_bob"),
        ("rational_polynomial", 8, "rational_polynomial"),
        ("equidistant", 4, "equidistant"),
        ("fisheye", 4, "equidistant"),
    ],
)
def test_a_bent_image_becomes_that_of_the_projection_matrix(said, count, model):
    calibration = read_calibration(info(distortion_model=said, d=[0.1] * count, p=P))
    assert (calibration.lens.model, calibration.lens.coefficients) == (model, (0.1,) * count)
    np.testing.assert_array_equal(np.reshape(calibration.lens.intrinsics, (3, 3)), K)
    np.testing.assert_array_equal(calibration.intrinsics, P[:, :3])


@pytest.mark.parametrize(
    "other",
    [
        dict(p=np.zeros(12)),
        dict(p=P, r=[[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
        dict(p=P * np.nan),
        dict(p=P * [[1e300], [1], [1]]),
    ],
)
def test_a_projection_that_is_not_this_camera_s_own_is_left_aside(other):
    calibration = read_calibration(info(d=[0.1] * 5, **other))
    np.testing.assert_array_equal(calibration.intrinsics, K)


def test_binning_and_region_are_those_of_the_image_that_is_sent():
    """A point on the pixel of the sensor is on the pixel of the image where that area is."""
    sent = region(x_offset=8, y_offset=4, height=16, width=20)
    calibration = read_calibration(info(binning_x=2, binning_y=2, roi=sent))
    assert calibration.size == (8, 10)
    point = np.array([0.1, -0.05, 1.0])
    on_sensor, on_image = K @ point, calibration.intrinsics @ point
    np.testing.assert_allclose(on_image[:2], (on_sensor[:2] - [8, 4] + 0.5) / 2 - 0.5)


def test_a_small_part_of_a_large_sensor_may_lie_far_from_the_axis():
    """32 x 24 pixels of the corner of a sensor with 4000."""
    matrix = np.array([[3000.0, 0, 2000], [0, 3000, 1500], [0, 0, 1]])
    sent = region(x_offset=3968, y_offset=2976, height=24, width=32)
    calibration = read_calibration(info(matrix, roi=sent))
    np.testing.assert_allclose(calibration.intrinsics[:2, 2], [2000 - 3968, 1500 - 2976])


def test_capital_letters_of_ros_1_are_read_too():
    modern = info(d=[0.1] * 5)

    class Old:
        K, D, P, R = modern.k, modern.d, modern.p, modern.r
        height, width, distortion_model = modern.height, modern.width, modern.distortion_model
        binning_x, binning_y, roi = 0, 0, modern.roi

    np.testing.assert_array_equal(read_calibration(Old()).intrinsics, read_calibration(modern).intrinsics)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (info(NOT_FINITE), "it is no calibration"),
        (info(K * [[-1], [1], [1]]), "it is no calibration"),
        (info(no_camera(0, 0, 1e300)), "it is no calibration"),
        (info(no_camera(1, 1, 1e-300)), "it is no calibration"),
        (info(no_camera(0, 2, 1e6)), "it is no calibration"),
        (info(no_camera(0, 1, 1e9)), "it is no calibration"),
        (info(width=0), "of 0 x 24 pixels"),
        (info(binning_x=2**32 - 1), "of 0 x 24 pixels"),
        (info(roi=region(x_offset=2**32 - 1, height=24, width=32)), "it is no calibration"),
        (info(d=[np.nan] * 5), "not finite"),
        (info(d=[0.1] * 3), "3 coefficients"),
        (info(distortion_model="moon", d=[0.1]), "'moon' is not known"),
    ],
)
def test_what_is_no_calibration_is_named(message, words):
    with pytest.raises(DpmError, match=words):
        read_calibration(message)


def test_an_image_of_another_size_is_named():
    with pytest.raises(DpmError, match="camera_info is of 32 x 24, the image is 640 x 480; it is not used"):
        read_calibration(info()).for_image(480, 640)
