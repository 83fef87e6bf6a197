# SPDX-License-Identifier: Apache-2.0
"""A network that is not there, or fails at its work, over real DDS: docs/faults.md, "What the network does"."""

import moody_node
import pytest
import torch
from dpm_ros import interface
from faulty_stream import MOODY_NODE, FaultyStream
from harness import REAL_NODE
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from safetensors.torch import save_file
from std_srvs.srv import Trigger


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """The file that the slow answer waits for."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def stream(graph, gate):
    return FaultyStream(graph, "robot", "-p", f"model:={gate}")


FAULTS = {
    moody_node.NAN_CAMERA: ("PredictionError", "gave a camera that is not finite; the session starts anew"),
    moody_node.RAISES: ("RuntimeError", "the device fell off the bus"),
    moody_node.NO_MEMORY: ("MemoryError", "of 4 GiB none is left"),
}


@pytest.mark.parametrize("grey", FAULTS)
def test_a_network_that_fails_costs_its_frame_and_begins_a_new_map(stream, grey):
    reason, words = FAULTS[grey]
    stream.good()
    stream.survives(stream.message(grey), reason=reason, words=words)
    stream.peer.until(lambda: len(stream.peer.heard["path"][-1].poses) == 1, "the old map went on")


def test_points_that_are_not_finite_are_left_out_and_the_next_frame_has_its_own(stream):
    stream.exchange(stream.message(), interface.POINTS)
    assert stream.exchange(stream.message(moody_node.NAN_POINTS), interface.POSE)
    for _ in range(6):  # as many as a window holds, and one
        cloud = stream.exchange(stream.message(), interface.POINTS)
    assert cloud.width > 0
    stream.accounted()


def reset(stream):
    assert stream.peer.call(Trigger, "/robot/dpm/reset", Trigger.Request()).success


def test_a_reset_during_inference_drops_what_was_in_work(stream, gate):
    stream.good()
    stream.accounted()
    before, answers = stream.dropped("reset"), len(stream.peer.heard["pose"])
    stream.send(stream.message(moody_node.SLOW))
    stream.peer.until(lambda: moody_node.BEGUN in stream.node.said(), "it is not in work")
    reset(stream)
    gate.touch()
    pose = stream.good().pose.position
    assert (pose.x, pose.y, pose.z) == (0, 0, 0)
    assert len(stream.peer.heard["pose"]) == answers + 1
    stream.accounted()
    assert stream.dropped("reset") == before + 1


def parameter(name, number):
    kind = ParameterType.PARAMETER_INTEGER if isinstance(number, int) else ParameterType.PARAMETER_DOUBLE
    key = "integer_value" if isinstance(number, int) else "double_value"
    return Parameter(name=name, value=ParameterValue(type=kind, **{key: number}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("voxel", -1.0), ("voxel", float("nan")), ("min_confidence", 10**9), ("window", 3), ("no_such", 1)],
)
def test_a_parameter_that_cannot_be_is_refused_with_the_reason(stream, name, value):
    request = SetParameters.Request(parameters=[parameter(name, value)])
    (result,) = stream.peer.call(SetParameters, "/robot/dpm/set_parameters", request).results
    assert not result.successful
    assert result.reason
    stream.good()
    stream.accounted()


def test_the_node_that_saw_all_this_ends_well(stream):
    """Last of those that share the node."""
    stream.ends_well()


def test_a_network_that_is_not_there_is_told_and_may_come_later(graph, tmp_path):
    """Where a manager starts the node, it waits for the next try."""
    weights = tmp_path / "weights"
    arguments = ("-p", "autostart:=false", "-p", f"weights:={weights}", "-r", "__ns:=/managed")
    node = graph.node(*arguments, command=MOODY_NODE)
    peer = graph.peer(namespace="/managed").hear(interface.DIAGNOSTICS)

    def configure():
        request = ChangeState.Request()
        request.transition.label = "configure"
        return peer.call(ChangeState, "/managed/dpm/change_state", request).success

    assert not configure()
    peer.until(lambda: moody_node.ABSENT in peer.health()[2].get("fault: cannot configure", ""), "it was not told")
    assert node.said().count(moody_node.ABSENT) == 1
    weights.touch()
    assert configure()
    assert node.end() == 0, node.said()


@pytest.fixture(scope="module")
def unusable(tmp_path_factory):
    """By name: the argument of a network that cannot be used, and a word of what must be said."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "corrupt.safetensors").write_bytes(b"no such thing" * 100)
    save_file({"of.another.network": torch.zeros(3)}, folder / "foreign.safetensors")
    (folder / "export").mkdir()
    (folder / "export" / "manifest.json").write_text("{")
    return {
        "missing": ("model:=no-such", "no-such"),
        "corrupt": (f"weights:={folder}/corrupt.safetensors", "corrupt.safetensors"),
        "foreign": (f"weights:={folder}/foreign.safetensors", "foreign.safetensors"),
        "damaged export": (f"model:={folder}/export", "manifest.json"),
    }


def test_a_network_that_cannot_be_used_is_one_line_and_two(graph, unusable):
    """The real node, which starts itself: all at once, since each loads what it needs."""
    nodes = {name: graph.node("-p", argument, command=REAL_NODE) for name, (argument, _) in unusable.items()}
    for name, node in nodes.items():
        assert node.wait() == 2, node.said()
        *_, last = node.said().strip().splitlines()
        assert last.startswith("dpm: ")
        assert unusable[name][1] in last
        assert "Traceback" not in node.said()
