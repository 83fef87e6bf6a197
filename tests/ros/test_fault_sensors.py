# SPDX-License-Identifier: Apache-2.0
"""Sensors, parameters and requests that cannot be meant, over real DDS: docs/faults.md, "What else is said"."""

import numpy as np
import oracle
import pytest
from dpm_ros import conversions, interface
from dpm_ros.parameters import PARAMETERS
from faulty_stream import FaultyStream
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter as Setting
from sensor_messages import MOUNT, camera_info, words
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

NAN, INFINITY, HUGE = float("nan"), float("inf"), 1e300
FAR_FUTURE = 2**31 - 1


@pytest.fixture(scope="module")
def stream(graph):
    return FaultyStream(graph, "senses", "-p", f"base_from_camera:='{words(MOUNT)}'")


def calibration(**changes):
    return lambda header: camera_info(0, header=header, **changes)


def camera(value, row=0, column=0):
    """A calibration with this number in its matrix."""
    matrix = oracle.INTRINSICS.copy()
    matrix[row, column] = value
    return calibration(k=matrix.ravel())


def depth(**changes):
    whole = {"encoding": "32FC1", "height": oracle.HEIGHT, "width": oracle.WIDTH, "step": 4 * oracle.WIDTH}
    return lambda header: Image(header=header, **(whole | changes))


def depth_of(value):
    """Every pixel is as far."""
    return depth(data=np.full((oracle.HEIGHT, oracle.WIDTH), value, "<f4").tobytes())


def odometry(x=0.0, w=1.0, sec=None, frame="odom"):
    def make(header):
        header = conversions.header(conversions.nanoseconds(header.stamp), frame)
        message = Odometry(header=header, child_frame_id="base_link")
        message.pose.pose.position.x, message.pose.pose.orientation.w = x, w
        if sec is not None:
            message.header.stamp.sec = sec
        return message

    return make


def mount(child="camera", parent="base_link", x=0.0):
    def make(header):
        pose = np.eye(4)
        pose[0, 3] = x
        placed = conversions.transform_message(conversions.header(0, parent), child, pose)
        return TFMessage(transforms=[placed])

    return make


# The last of each kind is what is quoted.
NONSENSE = [
    (
        interface.CAMERA_INFO,
        [
            *(camera(value) for value in (NAN, INFINITY, -1.0, 0.0, HUGE, 1 / HUGE)),
            *(camera(value, column=2) for value in (NAN, HUGE)),
            *(calibration(d=[value] * 5) for value in (NAN, INFINITY, HUGE)),
            calibration(d=[0.1] * 10_000),
            calibration(width=0, height=0),
            calibration(width=2**32 - 1, height=2**32 - 1),
            calibration(distortion_model="moon", d=[0.1]),
        ],
        "calibration",
        "'moon' is not known",
    ),
    (
        interface.DEPTH_IN,
        [
            *(depth_of(value) for value in (NAN, INFINITY, -INFINITY, -1.0, 3e38, 0.0)),
            depth(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1),
            depth(height=0, width=0, step=0),
            depth(encoding=""),
            depth(),
        ],
        "unreadable depth",
        "image data is 0 bytes",
    ),
    (
        interface.ODOM,
        [
            *(odometry(x=value) for value in (NAN, INFINITY, HUGE)),
            *(odometry(w=value) for value in (NAN, INFINITY, 0.0)),
            odometry(frame="base_link"),
            odometry(frame="/"),
            odometry(frame="x" * 100_000),
            odometry(),
            odometry(sec=-FAR_FUTURE),
            odometry(),
            odometry(sec=FAR_FUTURE),
        ],
        "transform",
        "more than 10 s from those before",
    ),
    (
        interface.STATIC_TF,
        [
            *(mount(x=value) for value in (NAN, INFINITY, HUGE)),
            mount(child="camera", parent="camera"),
            mount(child="", parent=""),
        ],
        "transform",
        "joins no two frames",
    ),
]


@pytest.mark.parametrize(("topic", "makes", "cause", "said"), NONSENSE, ids=[case[0].name for case in NONSENSE])
def test_a_sensor_that_says_nonsense_is_named_and_every_image_is_processed(stream, topic, makes, cause, said):
    sensor = stream.peer.publisher(topic.type, topic.name, getattr(topic, "qos", 100))
    for make in makes:
        image = stream.message()
        sensor.publish(make(image.header))
        stream.exchange(image)
    stream.peer.until(lambda: said in stream.values.get(f"fault: {cause}", ""), lambda: f"not told: {stream.values}")
    assert f"{cause}: " in stream.node.said()
    stream.peer.node.destroy_publisher(sensor)
    stream.good()
    stream.accounted()


def value(kind, **content):
    return ParameterValue(type=getattr(ParameterType, f"PARAMETER_{kind}"), **content)


VALUES = [
    value("NOT_SET"),
    *(value("BOOL", bool_value=each) for each in (True, False)),
    *(value("INTEGER", integer_value=each) for each in (0, 1, -1, 2**63 - 1, -(2**63))),
    *(value("DOUBLE", double_value=each) for each in (NAN, INFINITY, -INFINITY, HUGE, -HUGE, 1 / HUGE, 0.0, 0.5)),
    *(value("STRING", string_value=each) for each in ("", "\n", "../../etc", "x" * 100_000)),
    value("STRING_ARRAY", string_array_value=["a", "b"]),
    value("DOUBLE_ARRAY", double_array_value=[NAN]),
]
NAMES = [parameter.name for parameter in PARAMETERS]


def call(stream, kind, name, **request):
    return stream.peer.call(kind, f"/senses/dpm/{name}", kind.Request(**request))


def restore(stream):
    """All that may change while it runs, as it was."""
    changing = [parameter for parameter in PARAMETERS if not parameter.read_only]
    defaults = [Setting(each.name, value=each.default).to_parameter_msg() for each in changing]
    results = call(stream, SetParameters, "set_parameters", parameters=defaults).results
    assert all(result.successful for result in results)


def test_no_value_of_any_parameter_stops_it(stream):
    tries = [Parameter(name=name, value=each) for name in [*NAMES, "no_such"] for each in VALUES]
    results = call(stream, SetParameters, "set_parameters", parameters=tries).results
    assert len(results) == len(tries)
    assert all(result.successful or result.reason for result in results)
    assert not call(stream, SetParametersAtomically, "set_parameters_atomically", parameters=tries).result.successful
    numbers = [parameter for parameter in PARAMETERS if parameter.range]
    held = call(stream, GetParameters, "get_parameters", names=[parameter.name for parameter in numbers]).values
    for parameter, now in zip(numbers, held, strict=True):
        least, most = parameter.range
        assert least <= (now.double_value if isinstance(parameter.default, float) else now.integer_value) <= most
    stream.good()
    restore(stream)
    stream.good()
    stream.accounted()


def test_a_request_that_cannot_be_meant_is_named_or_refused(stream):
    assert not call(stream, ChangeState, "change_state").success
    unknown = ParameterValue(type=99)
    request = SetParameters.Request(parameters=[Parameter(name="voxel", value=unknown)])
    client = stream.peer.node.create_client(SetParameters, "/senses/dpm/set_parameters")
    stream.peer.until(client.service_is_ready, "no service")
    client.call_async(request)  # rclpy answers nothing
    stream.peer.until(lambda: "99 is not a valid" in stream.values.get("fault: callback", ""), "it was not told")
    assert "callback: ValueError" in stream.node.said()
    stream.peer.node.destroy_client(client)
    stream.good()
    stream.accounted()


def test_the_node_that_saw_all_this_ends_well(stream):
    """Last of those that share the node."""
    stream.ends_well()
