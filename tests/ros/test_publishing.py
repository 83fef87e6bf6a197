# SPDX-License-Identifier: Apache-2.0
"""What is built and sent depends on who listens: with publishers that only count."""

from dataclasses import replace

import numpy as np
import pytest
from ball import BallWorld, passing
from dpm_ros import conversions, interface, parameters
from dpm_ros.publishing import EstimatePublisher, Frames
from nav_msgs.msg import Path
from oracle import OracleEngine, frame
from rclpy.qos import ReliabilityPolicy
from rclpy.serialization import deserialize_message
from test_conversions import columns, read_back
from visualization_msgs.msg import Marker

from dpm_core.stream import Session, Wanted

CLOUDS = ["points", "points/static", "points/dynamic", "points/trail"]
VALUES = {parameter.name: parameter.default for parameter in parameters.PARAMETERS}
FRAMES = Frames.of(VALUES)


class Ear:
    """Stands for a publisher and for those who subscribe to it."""

    def __init__(self, kind, listening):
        self.kind = kind
        self.listening = listening
        self.heard = []

    def get_subscription_count(self):
        return int(self.listening)

    def publish(self, message):
        self.heard.append(deserialize_message(message, self.kind) if isinstance(message, bytes) else message)


def publisher(*listening, frames=FRAMES):
    """An EstimatePublisher to which somebody listens on these topics, and what each topic carries."""
    ears = {output.name: Ear(output.type, output.name in listening) for output in interface.OUTPUTS}
    return EstimatePublisher(ears, frames), ears


@pytest.fixture(scope="module")
def estimates():
    session = Session(OracleEngine(BallWorld(passing)))
    return [session.process(frame(index)) for index in range(20, 28)]


@pytest.mark.parametrize(
    ("listening", "wanted"),
    [
        ([], Wanted(cloud=False, motion="newest")),
        (["pose", "dynamic_mask", "tracks", "map"], Wanted(cloud=False, motion="newest")),
        (["points"], Wanted(cloud=True, motion="newest")),
        (["points/static"], Wanted(cloud=True, motion="all")),
        (["points/dynamic"], Wanted(cloud=True, motion="all")),
        (["points/trail"], Wanted(cloud=True, motion="all")),
        (["scene_flow"], Wanted(cloud=True, motion="all")),
    ],
)
def test_the_session_is_asked_for_what_is_heard_and_the_map_goes_on(listening, wanted):
    assert publisher(*listening)[0].wanted() == wanted


def test_clouds_that_carry_velocity_need_all_motion():
    with_motion = Frames.of(VALUES | {"cloud_fields": "motion"})
    assert publisher("points", frames=with_motion)[0].wanted().motion == "all"


@pytest.mark.parametrize("output", interface.OUTPUTS, ids=lambda output: output.name)
def test_a_message_does_not_take_the_place_of_one_that_was_sent_just_before(output):
    assert output.qos.reliability == ReliabilityPolicy.RELIABLE
    assert output.depth == 1 if output.latched else output.depth >= 5


@pytest.mark.parametrize("topic", [*CLOUDS, "scene_flow", "tracks", "depth/image", "dynamic_mask"])
def test_only_what_is_heard_is_sent(estimates, topic):
    publishing, ears = publisher(topic)
    publishing.publish(estimates[-1])
    publishing.publish_map(estimates[-1])
    assert {name for name, ear in ears.items() if ear.heard} == {topic}


@pytest.mark.parametrize("topic", [*CLOUDS, "scene_flow"])
def test_who_comes_between_question_and_answer_gets_no_cloud_that_was_not_made(topic):
    publishing, ears = publisher()
    session = Session(OracleEngine(BallWorld(passing)))
    estimates = [session.process(frame(index), publishing.wanted()) for index in range(20, 23)]
    ears[topic].listening = True
    publishing.publish(estimates[-1])
    assert ears[topic].heard == []


@pytest.mark.parametrize("topic", ["points/static", "points/dynamic", "points/trail", "scene_flow"])
def test_a_cloud_whose_motion_was_not_asked_for_is_not_divided_by_it(topic):
    publishing, ears = publisher("points")
    session = Session(OracleEngine(BallWorld(passing)))
    estimates = [session.process(frame(index), publishing.wanted()) for index in range(20, 23)]
    ears[topic].listening = True
    publishing.publish(estimates[-1])
    assert {name for name, ear in ears.items() if ear.heard} == {"points"}


def test_a_map_is_sent_once_and_an_empty_one_when_it_is_forgotten(estimates):
    publishing, ears = publisher("map")
    for estimate in (estimates[-2], estimates[-2], estimates[-1]):
        publishing.publish_map(estimate)
    publishing.forget()
    publishing.forget()
    sizes = [len(estimate.static_map().points) for estimate in estimates[-2:]]
    assert [message.width for message in ears["map"].heard] == [*sizes, 0]


def test_a_map_that_nobody_got_needs_no_empty_one(estimates):
    publishing, ears = publisher()
    publishing.publish_map(estimates[-1])
    publishing.forget()
    assert ears["map"].heard == []


def test_the_first_markers_of_a_new_map_take_away_the_old_ones(estimates):
    publishing, ears = publisher("scene_flow", "tracks")
    publishing.publish(estimates[-1])
    publishing.forget()
    for topic in ("scene_flow", "tracks"):
        ears[topic].heard.clear()
    publishing.publish(estimates[-2])
    publishing.publish(estimates[-1])
    for topic in ("scene_flow", "tracks"):
        begins = [message.markers[0].action for message in ears[topic].heard]
        assert begins == [Marker.DELETEALL, Marker.ADD]


def test_lines_are_well_seen_in_a_scene_of_any_size(estimates):
    publishing, ears = publisher("tracks")
    large = replace(estimates[-1], depth=1000 * estimates[-1].depth)
    nothing = replace(estimates[-1], depth=np.full_like(estimates[-1].depth, np.nan))
    for estimate in (estimates[-1], large, nothing):
        publishing.publish(estimate)
    small, wide, unknown = (message.markers[0].scale.x for message in ears["tracks"].heard)
    assert wide == pytest.approx(1000 * small)
    assert unknown > 0


def test_a_trail_is_what_moved_at_each_of_the_last_instants(estimates):
    in_map = replace(FRAMES, cloud_frame="map", trail_seconds=0.25)
    publishing, ears = publisher("points/dynamic", "points/trail", frames=in_map)
    for estimate in estimates:
        publishing.publish(estimate)
    stamps = [estimate.stamp_ns for estimate in estimates if estimate.cloud_motion_known]
    moved = [columns(read_back(message), "x", "y", "z") for message in ears["points/dynamic"].heard]
    for number, message in enumerate(ears["points/trail"].heard):
        within = range(max(0, number - 2), number + 1)  # a frame is a tenth of a second
        read = read_back(message)
        np.testing.assert_array_equal(columns(read, "x", "y", "z"), np.concatenate([moved[i] for i in within]))
        ages = [(stamps[number] - stamps[i]) * 1e-9 for i in within]
        np.testing.assert_allclose(read["age"], np.repeat(ages, [len(moved[i]) for i in within]), atol=1e-7)
        assert (message.header.stamp, message.header.frame_id) == (conversions.time(stamps[number]), "map")
    assert len(moved[-1])
    publishing.forget()
    publishing.publish(estimates[-2])
    assert ears["points/trail"].heard[-1].width == len(moved[-2])


def test_a_path_of_bytes_is_the_path_of_its_poses(estimates):
    publishing, ears = publisher("path", "pose", frames=replace(FRAMES, path_length=3))
    for estimate in estimates:
        publishing.publish(estimate)
    for number, message in enumerate(ears["path"].heard, start=1):
        poses = ears["pose"].heard[max(0, number - 3) : number]
        assert message == Path(header=poses[-1].header, poses=poses)
    publishing.forget()
    publishing.publish(estimates[0])
    assert ears["path"].heard[-1].poses == [ears["pose"].heard[0]]
