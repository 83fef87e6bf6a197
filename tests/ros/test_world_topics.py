# SPDX-License-Identifier: Apache-2.0
"""Still and moving apart, over real DDS: the map, the tracks, scene flow, and the services that concern them."""

import numpy as np
import oracle
import pytest
from ball import BallWorld, passing
from dpm_ros import conversions, interface
from dpm_ros.markers import flow_lines, track_lines
from dpm_ros.publishing import line_width, seen_from
from harness import image_message
from plain_markers import plain
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_srvs.srv import Trigger
from test_conversions import columns, read_back
from visualization_msgs.msg import Marker

from dpm_core.io.ply import read_ply
from dpm_core.stream import Session

FRAMES = [oracle.frame(index) for index in range(20, 32)]  # the ball is in the middle of the picture
HEARD = (interface.SCENE_FLOW, interface.TRACKS, interface.MAP, interface.DYNAMIC_MASK)


def stamp_of(message):
    """Of a cloud, or of the markers of an array."""
    header = message.header if hasattr(message, "header") else message.markers[0].header
    return conversions.nanoseconds(header.stamp)


def lines_of(message):
    """What is drawn, exactly as far as names go: {id: points [N, 3]}."""
    return {marker.id: np.array([[p.x, p.y, p.z] for p in marker.points]) for marker in message.markers}


def assert_same_lines(message, expected):
    drawn, wanted = lines_of(message), lines_of(expected)
    assert list(drawn) == list(wanted)
    assert [marker.header for marker in message.markers] == [marker.header for marker in expected.markers]
    for number, points in wanted.items():
        np.testing.assert_allclose(drawn[number], points, atol=1e-4)


@pytest.fixture(scope="module")
def offline():
    """What the session says with no ROS, by stamp."""
    session = Session(oracle.OracleEngine(BallWorld(passing)))
    return {frame.stamp_ns: session.process(frame) for frame in FRAMES}


@pytest.fixture(scope="module")
def node(graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    reliable = ("-p", "image_qos:=reliable", "-p", "model:=ball", "-p", f"map_folder:={folder}")
    node = graph.node(*reliable, "-r", "__ns:=/world", "-p", "track_lifetime:=2.5")
    node.folder = folder
    return node


@pytest.fixture(scope="module")
def peer(graph, node):
    return graph.peer(namespace="/world").hear(*HEARD)


@pytest.fixture(scope="module")
def images(peer):
    return peer.publisher()


@pytest.fixture(scope="module")
def seen(peer, images):
    """All frames went through the node; what was heard until the map of the last one came."""
    for frame in FRAMES:
        peer.exchange(images, image_message(frame), interface.DYNAMIC_MASK)
    last = FRAMES[-1].stamp_ns
    peer.until(lambda: any(stamp_of(cloud) == last for cloud in peer.heard["map"]), "the newest map did not come")
    peer.until(lambda: stamp_of(peer.heard["scene_flow"][-1]) == last, "the newest flow did not come")
    return {output.name: list(peer.heard[output.name]) for output in HEARD}


def test_the_map_is_that_of_the_session(seen, offline):
    for message in seen["map"]:
        expected = offline[stamp_of(message)].static_map()
        assert message.header.frame_id == "map"
        np.testing.assert_allclose(columns(read_back(message), "x", "y", "z"), expected.points, atol=1e-5)
    assert seen["map"][-1].width > 500


def test_a_map_is_sent_once(seen):
    stamps = [stamp_of(message) for message in seen["map"]]
    assert stamps == sorted(set(stamps))


def test_whoever_comes_late_gets_the_map(graph, seen):
    late = graph.peer("late", namespace="/world").hear(interface.MAP)
    late.until(lambda: late.heard["map"], "the map is not latched")
    assert stamp_of(late.heard["map"][-1]) == FRAMES[-1].stamp_ns
    late.close()


def test_tracks_are_those_of_the_session(seen, offline):
    strips = {stamp_of(message): message for message in seen["tracks"] if message.markers}
    assert len(strips) > 5
    for stamp_ns, message in strips.items():
        estimate = offline[stamp_ns]
        header = conversions.header(stamp_ns, "map")
        assert_same_lines(message, plain(track_lines(header, estimate.tracks, 2.5, line_width(estimate))))
        assert all(marker.lifetime.sec == 2 for marker in message.markers)
    lasting = set.intersection(*({marker.id for marker in message.markers} for message in list(strips.values())[-4:]))
    assert lasting, "identities last"


def test_flow_is_that_of_the_session_in_the_frame_of_the_clouds(seen, offline):
    drawn = [message for message in seen["scene_flow"] if message.markers[0].action == Marker.ADD]
    assert len(drawn) > 5
    for message in drawn:
        estimate = offline[stamp_of(message)]
        header = conversions.header(estimate.stamp_ns, estimate.frame_id)
        cloud = seen_from(estimate.cloud, estimate.world_from_camera)
        assert_same_lines(message, plain(flow_lines(header, cloud, 0.2, 1000, line_width(estimate))))


def save(peer):
    return peer.call(Trigger, "/world/dpm/save_map", Trigger.Request())


def test_the_map_is_saved_where_the_parameter_says(peer, seen, node, offline):
    answer = save(peer)
    assert answer.success
    (path,) = node.folder.iterdir()
    assert answer.message.endswith(f"points in {path}")
    expected = offline[FRAMES[-1].stamp_ns].static_map()
    np.testing.assert_allclose(read_ply(path).points, expected.points, atol=1e-5)


def set_count(peer, count):
    value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=count)
    request = SetParameters.Request(parameters=[Parameter(name="tracks.count", value=value)])
    return peer.call(SetParameters, "/world/dpm/set_parameters", request).results[0]


def test_a_disk_that_does_not_take_the_map_is_told_and_survived(peer, images, node, seen):
    node.folder.rename(node.folder.with_name("elsewhere"))
    node.folder.write_text("no folder")
    answer = save(peer)
    assert not answer.success
    assert "map_folder" in answer.message
    peer.exchange(images, image_message(oracle.frame(32)), interface.DYNAMIC_MASK)
    node.folder.unlink()


def wipes(peer, output):
    """How often all that was drawn was taken away."""
    return sum(marker.action == Marker.DELETEALL for m in peer.heard[output.name] for marker in m.markers)


def test_reset_takes_all_of_it_away(graph, peer, images, seen):
    assert peer.call(Trigger, "/world/dpm/reset", Trigger.Request()).success
    for output in (interface.TRACKS, interface.SCENE_FLOW):
        peer.until(lambda output=output: wipes(peer, output), f"{output.name} stays drawn")
    peer.until(lambda: peer.heard["map"][-1].width == 0, "the map stays")
    late = graph.peer("later", namespace="/world").hear(interface.MAP)
    late.until(lambda: late.heard["map"], "no map is latched")
    assert late.heard["map"][-1].width == 0
    late.close()
    answer = save(peer)
    assert (answer.success, answer.message) == (False, "nothing was seen yet; there is no map")


def test_how_many_points_are_followed_changes_while_it_runs(peer, images, seen):
    assert set_count(peer, 0).successful
    before = len(peer.heard["tracks"])
    for index in range(33, 38):
        peer.exchange(images, image_message(oracle.frame(index)), interface.DYNAMIC_MASK)
    drawn = [marker for message in peer.heard["tracks"][before:] for marker in message.markers]
    assert all(marker.action != Marker.ADD for marker in drawn)
    assert not set_count(peer, -1).successful


def test_time_going_back_takes_all_of_it_away(peer, images, seen):
    before = wipes(peer, interface.TRACKS)
    peer.exchange(images, image_message(oracle.frame(1)), interface.DYNAMIC_MASK)
    peer.until(lambda: wipes(peer, interface.TRACKS) > before, "tracks stay drawn")
