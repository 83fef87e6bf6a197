# SPDX-License-Identifier: Apache-2.0
"""The running node over real DDS, its network being the oracle that knows the world."""

import signal

import cv2
import numpy as np
import oracle
import pytest
from dpm_ros import conversions, interface
from dpm_ros.node import main
from harness import PATIENCE, image_message
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.duration import Duration
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger
from test_conversions import columns, read_back

from dpm_core.stream import Session

FRAMES = [oracle.frame(index) for index in range(8)]
RELIABLE = ("-p", "image_qos:=reliable")
IN_MAP = [interface.POSE, interface.PATH]
ONCE_MOTION_IS_KNOWN = [interface.STATIC_POINTS, interface.DYNAMIC_POINTS]
IN_CAMERA = [
    interface.POINTS,
    *ONCE_MOTION_IS_KNOWN,
    interface.DEPTH,
    interface.DEPTH_INFO,
    interface.CONFIDENCE,
    interface.DYNAMIC_MASK,
]


@pytest.fixture(scope="module")
def offline():
    """What the session says with no ROS."""
    session = Session(oracle.OracleEngine())
    return [session.process(frame) for frame in FRAMES]


@pytest.fixture(scope="module")
def run(graph):
    """Eight frames through the node, each sent when the one before was answered; what was heard, by topic."""
    node = graph.node(*RELIABLE, "-r", "__ns:=/robot", "-p", "cloud_fields:=motion")
    peer = graph.peer(namespace="/robot").hear()
    images = peer.publisher()
    for frame in FRAMES:
        peer.exchange(images, image_message(frame), interface.DYNAMIC_MASK)
    peer.spin(0.3)
    assert node.end() == 0, node.said()
    return peer.heard


@pytest.mark.parametrize("output", IN_MAP, ids=lambda output: output.name)
def test_poses_carry_the_stamp_of_their_image_and_the_map_frame(run, output):
    headers = [conversions.header(frame.stamp_ns, "map") for frame in FRAMES]
    assert [message.header for message in run[output.name]] == headers


@pytest.mark.parametrize("output", IN_CAMERA, ids=lambda output: output.name)
def test_clouds_and_images_carry_the_header_of_their_image(run, output):
    from_first = 1 if output in ONCE_MOTION_IS_KNOWN else 0  # it needs two frames
    headers = [conversions.header(frame.stamp_ns, frame.frame_id) for frame in FRAMES[from_first:]]
    assert [message.header for message in run[output.name]] == headers


def in_camera(estimate, vectors, origin=0):
    """Points or (without origin) velocities of the map along the camera's axes."""
    return (vectors - origin) @ estimate.world_from_camera[:3, :3]


def centre(estimate):
    return estimate.world_from_camera[:3, 3]


def test_the_cloud_is_that_of_the_session(run, offline):
    for message, estimate in zip(run["points"], offline, strict=True):
        read = read_back(message)
        points = in_camera(estimate, estimate.cloud.points, centre(estimate))
        np.testing.assert_allclose(columns(read, "x", "y", "z"), points, atol=1e-5)
        velocity = in_camera(estimate, estimate.cloud.velocity)
        np.testing.assert_allclose(columns(read, "vx", "vy", "vz"), velocity, atol=1e-5)
        np.testing.assert_allclose(read["confidence"], estimate.cloud.confidence, atol=1e-5)


def test_still_and_moving_points_make_up_the_cloud(run, offline):
    for still, moving, estimate in zip(run["points/static"], run["points/dynamic"], offline[1:], strict=True):
        for message, chosen in ((still, ~estimate.cloud.dynamic), (moving, estimate.cloud.dynamic)):
            points = in_camera(estimate, estimate.cloud.points[chosen], centre(estimate))
            np.testing.assert_allclose(columns(read_back(message), "x", "y", "z"), points, atol=1e-5)
    assert run["points/dynamic"][-1].width > 0


def test_the_trail_is_what_moved_at_each_instant_so_far_with_its_age(run, offline):
    moved = [estimate.cloud.points[estimate.cloud.dynamic] for estimate in offline[1:]]
    assert len(run["points/trail"]) == len(moved)
    counts = [len(points) for points in moved]
    for index, message in enumerate(run["points/trail"]):
        assert message.header == conversions.header(FRAMES[1 + index].stamp_ns, "map")
        read = read_back(message)
        np.testing.assert_allclose(columns(read, "x", "y", "z"), np.concatenate(moved[: index + 1]), atol=1e-5)
        ages = 0.1 * np.arange(index, -1, -1)
        np.testing.assert_allclose(read["age"], np.repeat(ages, counts[: index + 1]), atol=1e-6)


def test_depth_confidence_and_mask_are_those_of_the_session(run, offline):
    for index, estimate in enumerate(offline):
        depth, confidence, mask = (run[name][index] for name in ("depth/image", "confidence", "dynamic_mask"))
        for message, expected in ((depth, estimate.depth), (confidence, estimate.conf)):
            pixels = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
            np.testing.assert_allclose(pixels, expected, atol=1e-5)
        pixels = np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.width)
        np.testing.assert_array_equal(pixels, np.where(estimate.dynamic, 255, 0))
        np.testing.assert_allclose(run["depth/camera_info"][index].k, estimate.intrinsics.ravel(), atol=1e-5)


def test_pose_path_and_tf_agree_with_the_session(run, offline):
    for index, estimate in enumerate(offline):
        pose = run["pose"][index].pose
        position = [pose.position.x, pose.position.y, pose.position.z]
        np.testing.assert_allclose(position, estimate.world_from_camera[:3, 3], atol=1e-5)
        assert [stamped.pose for stamped in run["path"][index].poses] == [
            each.pose for each in run["pose"][: index + 1]
        ]
        (transform,) = run["/tf"][index].transforms
        assert (transform.header, transform.child_frame_id) == (run["pose"][index].header, FRAMES[index].frame_id)
        assert transform.transform.rotation == pose.orientation
        assert transform.transform.translation.x == pose.position.x


def test_the_map_stands_upright_in_the_world(run):
    (message,) = run["/tf_static"]
    (transform,) = message.transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ("world", "map")


def test_clouds_are_in_the_map_where_that_is_asked(graph):
    node = graph.node(*RELIABLE, "-r", "__ns:=/mapped", "-p", "cloud_frame:=map")
    peer = graph.peer(namespace="/mapped").hear(interface.POINTS, interface.DYNAMIC_MASK)
    peer.exchange(peer.publisher(), image_message(FRAMES[0]), interface.DYNAMIC_MASK)
    peer.until(lambda: peer.heard["points"], "no cloud")
    assert peer.heard["points"][0].header == conversions.header(FRAMES[0].stamp_ns, "map")
    assert node.end() == 0, node.said()


@pytest.fixture(scope="module")
def node(graph):
    """A node for the tests that share one: each leaves it as it was."""
    return graph.node(*RELIABLE)


@pytest.fixture(scope="module")
def peer(graph, node):
    return graph.peer().hear()


@pytest.fixture(scope="module")
def images(peer):
    return peer.publisher()


@pytest.fixture
def stamps():
    """Stamps that grow from test to test, so that none goes back in time by accident."""
    start = stamps_from.pop()
    stamps_from.append(start + 100)
    return start


stamps_from = [100]


def frame(stamps, index):
    return oracle.frame(index, stamp_ns=(stamps + index) * oracle.PERIOD_NS)


BROKEN = {
    "unknown encoding": {"encoding": "no such"},
    "data cut short": {"data": b"123"},
    "no rows": {"height": 0},
    "no columns": {"width": 0},
    "step too small": {"step": 1},
    "more pixels than any memory": {"height": 2**32 - 1, "width": 2**31, "step": 2**32 - 1},
    "encoding of a thousand letters": {"encoding": "x" * 1000},
}


def test_broken_images_are_counted_and_named_and_the_good_ones_between_are_processed(peer, images, node, stamps):
    before = peer.health()[2]
    for index, change in enumerate(BROKEN.values()):
        images.publish(image_message(frame(stamps, 2 * index), **change))
        peer.exchange(images, image_message(frame(stamps, 2 * index + 1)))
    values = peer.health()[2]
    assert int(values["dropped: unreadable image"]) == len(BROKEN)
    assert values["fault: unreadable image"].startswith(f"{len(BROKEN)} times; image encoding 'xxx")
    assert int(values["frames in"]) == int(before["frames in"]) + 2 * len(BROKEN)
    assert int(values["estimates out"]) == int(before["estimates out"]) + len(BROKEN)
    assert node.running


def test_one_cause_is_one_line_in_the_log(peer, images, node, stamps):
    for index in range(20):
        images.publish(image_message(frame(stamps, index), encoding="no such"))
    peer.health()
    assert node.said().count("unreadable image") <= 3


def test_a_second_frame_of_the_same_stamp_is_left_out(peer, images, stamps):
    peer.exchange(images, image_message(frame(stamps, 0)))
    answers = len(peer.heard["pose"])
    images.publish(image_message(frame(stamps, 0)))
    peer.until(lambda: "dropped: repeated stamp" in peer.health()[2], "it was not dropped")
    peer.exchange(images, image_message(frame(stamps, 1)))
    assert len(peer.heard["pose"]) == answers + 1


def test_time_going_back_begins_a_new_map(peer, images, stamps):
    for index in (50, 51):
        peer.exchange(images, image_message(frame(stamps, index)))
    peer.exchange(images, image_message(frame(stamps, 3)), interface.PATH)
    path = peer.heard["path"][-1]
    assert len(path.poses) == 1
    assert "time went back" in peer.health()[2]["fault: backwards"]


def test_reset_begins_a_new_map(peer, images, stamps):
    for index in range(3):
        peer.exchange(images, image_message(frame(stamps, index)))
    assert peer.call(Trigger, "/dpm/reset", Trigger.Request()).success
    answer = peer.exchange(images, image_message(frame(stamps, 3)))
    assert answer.pose.position.x == pytest.approx(0, abs=1e-9)
    peer.spin(0.2)
    assert len(peer.heard["path"][-1].poses) == 1


def test_calibration_of_another_size_is_told_and_not_used(peer, images, stamps):
    info = peer.publisher(interface.CAMERA_INFO.type, "camera_info")
    info.publish(conversions.camera_info(conversions.header(0, "camera"), oracle.INTRINSICS, 480, 640))
    assert info.wait_for_all_acked(Duration(seconds=60))
    peer.spin(0.3)
    peer.exchange(images, image_message(frame(stamps, 0)))
    assert "640 x 480" in peer.health()[2]["fault: calibration"]
    peer.node.destroy_publisher(info)


def set_parameter(peer, name, number, node="/dpm"):
    value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=number)
    if isinstance(number, int):
        value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=number)
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    return peer.call(SetParameters, f"{node}/set_parameters", request).results[0]


def test_a_threshold_changes_while_it_runs(peer, images, stamps):
    peer.exchange(images, image_message(frame(stamps, 0)), interface.POINTS)
    assert set_parameter(peer, "min_confidence", 100.0).successful
    assert peer.exchange(images, image_message(frame(stamps, 1)), interface.POINTS).width == 0
    assert set_parameter(peer, "min_confidence", 1.5).successful
    assert peer.exchange(images, image_message(frame(stamps, 2)), interface.POINTS).width > 0


@pytest.mark.parametrize(("name", "value"), [("voxel", -1.0), ("voxel", 1e9), ("min_confidence", float("nan"))])
def test_a_threshold_out_of_range_is_refused_with_the_reason(peer, node, name, value):
    result = set_parameter(peer, name, value)
    assert not result.successful
    assert name in result.reason
    assert node.running


def test_what_is_structural_does_not_change_while_it_runs(peer):
    result = set_parameter(peer, "window", 3)
    assert not result.successful
    assert "read-only" in result.reason


def test_a_late_subscriber_hears_from_then_on_and_one_that_left_disturbs_nobody(graph, peer, images, stamps):
    late = graph.peer("late").hear(interface.POINTS, interface.STATIC_TF)
    late.until(lambda: late.heard["/tf_static"], "the latched transform did not come")
    peer.exchange(images, image_message(frame(stamps, 0)))
    late.until(lambda: late.heard["points"], "no cloud came")
    late.close()
    peer.exchange(images, image_message(frame(stamps, 1)))


def test_sigint_ends_it_in_order(node, images):
    """Last of those that share the node."""
    assert node.end(signal.SIGINT) == 0
    assert "Traceback" not in node.said()


def test_overload_keeps_the_newest_and_counts_the_rest(graph):
    every_image = ("-p", "image_qos_depth:=100")  # what the middleware drops nobody can count
    node = graph.node(*RELIABLE, *every_image, "-p", "model:=slow", "-r", "image:=/fast", "-r", "__ns:=/slow")
    peer = graph.peer(namespace="/slow").hear(interface.POSE, interface.DIAGNOSTICS)
    images = peer.publisher(topic="/fast")
    frames = [oracle.frame(index) for index in range(20)]
    for each in frames:
        images.publish(image_message(each))
        peer.spin(0.05)
    last = conversions.time(frames[-1].stamp_ns)
    peer.until(lambda: any(pose.header.stamp == last for pose in peer.heard["pose"]), "the newest frame was lost")
    values = peer.health()[2]
    assert int(values["frames in"]) == int(values["estimates out"]) + int(values["dropped: overload"]) == 20
    images.publish(image_message(oracle.frame(20)))
    peer.spin(0.1)
    assert node.end() == 0, "SIGTERM while the network runs"
    assert "Traceback" not in node.said()


def test_compressed_images_follow_the_remapped_name(graph):
    node = graph.node(*RELIABLE, "-p", "image_transport:=compressed", "-r", "image:=/camera/color", "-r", "__ns:=/c")
    peer = graph.peer(namespace="/c").hear(interface.POSE, interface.DIAGNOSTICS)
    images = peer.publisher(CompressedImage, "/camera/color/compressed")

    def message(index, cut=None, format="png"):
        each = oracle.frame(index)
        data = cv2.imencode(f".{format}", each.image)[1].tobytes()[:cut]
        return CompressedImage(header=conversions.header(each.stamp_ns, "camera"), format=format, data=data)

    peer.exchange(images, message(0))
    images.publish(message(1, cut=-40, format="jpg"))
    images.publish(message(1, cut=20))
    peer.exchange(images, message(2))
    assert peer.health()[2]["dropped: unreadable image"] == "2"
    assert node.end() == 0


def test_a_manager_may_start_it_instead(graph):
    node = graph.node(*RELIABLE, "-p", "autostart:=false", "-r", "__ns:=/managed")
    peer = graph.peer(namespace="/managed").hear(interface.POSE, interface.DIAGNOSTICS)

    def state():
        return peer.call(GetState, "/managed/dpm/get_state", GetState.Request()).current_state.label

    def change(label):
        request = ChangeState.Request()
        request.transition.label = label
        return peer.call(ChangeState, "/managed/dpm/change_state", request).success

    assert state() == "unconfigured"
    for label, reached in (("configure", "inactive"), ("activate", "active")):
        assert change(label)
        assert state() == reached
    images = peer.publisher()
    peer.exchange(images, image_message(oracle.frame(0)))
    assert change("deactivate")
    peer.until(lambda: images.get_subscription_count() == 0, "it still reads images")
    assert change("activate")
    peer.until(lambda: images.get_subscription_count() == 1, "it does not read images again")
    peer.spin(0.5)
    peer.exchange(images, image_message(oracle.frame(1)))
    for label, reached in (("deactivate", "inactive"), ("cleanup", "unconfigured"), ("configure", "inactive")):
        assert change(label)
        assert state() == reached
    assert peer.health()[2]["state"] == "inactive"
    assert node.end() == 0


def test_silence_is_told(graph):
    graph.node(*RELIABLE, "-p", "no_image_timeout:=0.5", "-r", "__ns:=/silent")
    peer = graph.peer(namespace="/silent").hear(interface.DIAGNOSTICS)

    def complaints():
        return [s.message for m in peer.heard["/diagnostics"] for s in m.status if s.name.startswith("silent/")]

    peer.until(lambda: any("no images for" in said for said in complaints()), "silence was not told", PATIENCE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-p", "tf_mode:=sideways"), "tf_mode is 'sideways'; choose one of: none, map_camera"),
        (("-p", "base_from_camera:='1 2'"), "'1 2' is no pose; write seven numbers"),
        (("-p", "window:=0"), "window"),
        (("-p", "window:=five"), "window"),
        (("--params-file", "/no/such.yaml"), "no/such.yaml"),
    ],
)
def test_what_cannot_be_meant_at_start_is_one_line_and_two(graph, capfd, arguments, words):
    assert main(["dpm", "--ros-args", *arguments], lambda *_: oracle.OracleEngine()) == 2
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("dpm: ")
    assert words in last
