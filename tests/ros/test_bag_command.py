# SPDX-License-Identifier: Apache-2.0
"""`dpm bag`: what the node would say, beside what the bag has; the same bytes however it was interrupted."""

import fcntl
import json
import sqlite3
import subprocess
import sys

import cv2
import numpy as np
import oracle
import pytest
import yaml
from dpm_ros import bag, bags, conversions
from dpm_ros.bag_camera import OUTPUTS
from dpm_ros.bag_merge import absolute
from harness import ROOT, image_message
from oracle_bag import SteadyOracle, engine
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import String
from test_conversions import columns, read_back

from dpm_core.stream import Session, pipeline
from dpm_core.stream.lanes import ALL_BESIDE, ONE_AFTER_ANOTHER

TYPES = get_typestore(Stores.LATEST)
FRAMES = [oracle.frame(index) for index in range(12)]
IMAGES = "/cam/image_raw"
DELAY_NS = 5_000_000  # from the camera to the recorder


def write_bag(path, messages, storage=StoragePlugin.MCAP):
    """(topic, log time, message) each."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        rooms = {}
        for topic, stamp, message in messages:
            if topic not in rooms:
                rooms[topic] = writer.add_connection(topic, bags.type_name(type(message)), typestore=TYPES)
            writer.write(rooms[topic], stamp, serialize_message(message))
    return path


def camera(frames=FRAMES, topic=IMAGES, encode=image_message):
    return [(topic, frame.stamp_ns + DELAY_NS, encode(frame)) for frame in frames]


def compressed(frame):
    data = cv2.imencode(".png", frame.image)[1].tobytes()
    return CompressedImage(header=conversions.header(frame.stamp_ns, frame.frame_id), format="png", data=data)


def words(count):
    return [("/words", FRAMES[0].stamp_ns + index * 70_000_000, String(data=f"word {index}")) for index in range(count)]


def content(path, *topics):
    """(topic, log time, bytes) in the order of the bag."""
    with Reader(path) as reader:
        return [(c.topic, stamp, bytes(raw)) for c, stamp, raw in reader.messages() if not topics or c.topic in topics]


def run(*arguments):
    return bag.main([str(argument) for argument in arguments], engine)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A bag with a camera and words."""
    return write_bag(tmp_path_factory.mktemp("in") / "bag", sorted(camera() + words(15), key=lambda each: each[1]))


@pytest.fixture(scope="module")
def written(recorded, tmp_path_factory):
    """What `dpm bag` makes of it, undisturbed."""
    out = tmp_path_factory.mktemp("out") / "out.mcap"
    assert run(recorded, "--out", out, "--json", out.with_suffix(".json")) == 0
    return out


def test_the_bag_has_everything_that_it_had_in_its_order(recorded, written):
    assert content(written, IMAGES, "/words") == content(recorded)


def test_results_follow_their_image_with_its_log_time_and_its_stamp(written):
    images = [frame.stamp_ns for frame in FRAMES]
    for name, output in OUTPUTS.items():
        found = content(written, absolute(name, ""))
        messages = [deserialize_message(raw, output.type) for _, _, raw in found]
        if hasattr(output.type(), "header") and not output.latched:
            stamps = [conversions.nanoseconds(message.header.stamp) for message in messages]
            assert stamps == images[len(images) - len(stamps) :], name
            assert [stamp for _, stamp, _ in found] == [stamp + DELAY_NS for stamp in stamps]
    order = [topic for topic, _, _ in content(written) if topic in (IMAGES, "/pose")]
    assert order == [IMAGES, "/pose"] * len(FRAMES)


def test_the_numbers_are_those_of_the_session(written):
    session = Session(SteadyOracle())
    clouds = [deserialize_message(raw, PointCloud2) for _, _, raw in content(written, "/points")]
    for frame, message in zip(FRAMES, clouds, strict=True):
        estimate = session.process(frame)
        pose = estimate.world_from_camera
        points = (estimate.cloud.points - pose[:3, 3]) @ pose[:3, :3]
        np.testing.assert_allclose(columns(read_back(message), "x", "y", "z"), points, atol=1e-5)


def test_the_figures_tell_what_was_done(written):
    figures = json.loads(written.with_suffix(".json").read_text())
    (told,) = figures["cameras"]
    assert (told["topic"], told["frames"], told["estimates"]) == (IMAGES, len(FRAMES), len(FRAMES))
    assert figures["bytes"] == written.stat().st_size
    assert figures["messages"] == len(content(written))
    assert told["messages"]["/points"] == len(content(written, "/points"))


def test_every_topic_brings_its_definition_and_its_qos(written):
    with Reader(written) as reader:
        assert all(connection.msgdef.data for connection in reader.connections)
        kept = {connection.topic for connection in reader.connections if bags.latched(connection)}
    assert kept == {absolute(name, "") for name, output in OUTPUTS.items() if output.latched}


def test_twice_gives_the_same_bytes(recorded, written, tmp_path):
    assert run(recorded, "--out", tmp_path / "another name.mcap", "--save-every", "1") == 0
    assert (tmp_path / "another name.mcap").read_bytes() == written.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["another name.mcap"]


@pytest.mark.parametrize("lanes", [ONE_AFTER_ANOTHER, ALL_BESIDE], ids=["one after another", "overlapped"])
def test_overlapped_frames_give_the_same_bytes(recorded, written, tmp_path, monkeypatch, lanes):
    monkeypatch.setattr(pipeline, "most_frames", lambda device: lanes)
    assert run(recorded, "--out", tmp_path / "out.mcap", "--save-every", "5") == 0
    assert (tmp_path / "out.mcap").read_bytes() == written.read_bytes()


MOMENTS = [
    "dpm_core.stream.session:Session:predict:2",  # before anything is saved
    "dpm_ros.bags:BagWriter:finish:1",  # with a piece not complete
    "dpm_ros.bag_camera:BagCamera:_save:2",  # with frames done and not saved
    "dpm_ros.bags:BagWriter:_take_name:2",  # with a piece complete and without its name
    "dpm_core.stream.session:Session:predict:3",
    "dpm_ros.bag_merge:_Inserted:after_image:5",  # with half of the bag written
    "dpm_ros.bags:BagWriter:_take_name:1",  # with all of it written
    *(0.05 * 3**attempt for attempt in range(3)),  # and whenever
]


def test_killed_at_any_moment_and_resumed_it_gives_the_same_bytes(recorded, written, tmp_path):
    command = [sys.executable, ROOT / "tests" / "ros" / "oracle_bag.py", json.dumps(MOMENTS), recorded]
    options = ["--out", tmp_path / "out.mcap", "--save-every", "2", "--json", tmp_path / "figures.json", "--overwrite"]
    done = subprocess.run([*map(str, command + options)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    killed = [line for line in done.stdout.splitlines() if line.startswith("dpm_") and line.endswith(" 9")]
    assert len(killed) == 7, done.stdout
    assert (tmp_path / "out.mcap").read_bytes() == written.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "out.mcap"]


def stripped(path):
    """A db3 as older recorders wrote it: it tells names of types only."""
    (file,) = path.glob("*.db3")
    with sqlite3.connect(file) as database:
        database.execute("DELETE FROM message_definitions")
    return path


@pytest.mark.parametrize("encode", [image_message, compressed], ids=["raw", "compressed"])
@pytest.mark.parametrize("storage", ["mcap", "db3", "db3 without definitions"])
def test_the_same_results_from_every_kind_of_bag(written, tmp_path, storage, encode):
    kind = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    source = write_bag(tmp_path / "bag", camera(encode=encode), kind)
    if storage.endswith("definitions"):
        stripped(source)
    assert run(source, "--out", tmp_path / "out.mcap") == 0
    results = [each for each in content(written) if each[0] not in (IMAGES, "/words")]
    assert [each for each in content(tmp_path / "out.mcap") if each[0] != IMAGES] == results
    with Reader(tmp_path / "out.mcap") as reader:
        assert all(connection.msgdef.data for connection in reader.connections)


def test_a_folder_where_the_name_is_none_of_a_file(recorded, written, tmp_path):
    assert run(recorded, "--out", tmp_path / "out") == 0
    assert content(tmp_path / "out") == content(written)


def test_several_cameras_each_in_its_namespace_and_its_own_frames(tmp_path):
    left, right = camera(FRAMES[:4], "/left/image_raw"), camera(FRAMES[2:8], "/right/image_raw")
    source = write_bag(tmp_path / "bag", sorted(left + right, key=lambda each: each[1]))
    out = tmp_path / "out.mcap"
    assert run(source, "--out", out, "--topic", "/left/image_raw", "/right/image_raw") == 0
    for name, frames in (("left", FRAMES[:4]), ("right", FRAMES[2:8])):
        messages = [deserialize_message(raw, OUTPUTS["pose"].type) for _, _, raw in content(out, f"/{name}/pose")]
        headers = [conversions.header(frame.stamp_ns, f"{name}/map") for frame in frames]
        assert [message.header for message in messages] == headers


def test_depth_makes_lengths_metres(tmp_path):
    def depth(frame):
        index = FRAMES.index(frame)
        return conversions.float_image(conversions.header(frame.stamp_ns, "camera"), oracle.depth(index))

    source = write_bag(tmp_path / "bag", camera(FRAMES[:6]) + camera(FRAMES[:6], "/cam/depth", depth))
    out = ["--out", tmp_path / "out.mcap", "--json", tmp_path / "figures.json"]
    assert run(source, *out, "--depth-topic", "/cam/depth") == 0
    (told,) = json.loads((tmp_path / "figures.json").read_text())["cameras"]
    assert (told["frames"], told["unit"]) == (6, "m")
    images = [deserialize_message(raw, Image) for _, _, raw in content(tmp_path / "out.mcap", "/depth/image")]
    pixels = np.frombuffer(images[-1].data, np.float32).reshape(oracle.HEIGHT, oracle.WIDTH)
    np.testing.assert_allclose(pixels, oracle.depth(5), rtol=1e-3)


def test_only_the_outputs_that_are_asked_for(recorded, tmp_path):
    assert run(recorded, "--out", tmp_path / "out.mcap", "--outputs", "pose", "/tf", "--namespace", "front") == 0
    with Reader(tmp_path / "out.mcap") as reader:
        assert set(reader.topics) == {IMAGES, "/words", "/front/pose", "/tf"}


def test_parameters_are_the_node_s_own_from_its_file_and_from_the_command_line(recorded, tmp_path):
    file = tmp_path / "params.yaml"
    ours = {"cloud_fields": "motion", "map_frame": "floor", "use_sim_time": True}
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": ours}, "other": {"ros__parameters": {"speed": 1}}}))
    out = tmp_path / "out.mcap"
    assert run(recorded, "--out", out, "--params-file", file, "--param", "map_frame:=ground", "tf_mode:=none") == 0
    (cloud, *_) = [deserialize_message(raw, PointCloud2) for _, _, raw in content(out, "/points")]
    assert cloud.point_step == 32
    poses = [deserialize_message(raw, OUTPUTS["pose"].type) for _, _, raw in content(out, "/pose")]
    assert {pose.header.frame_id for pose in poses} == {"ground"}
    assert not content(out, "/tf")


def test_time_going_back_begins_a_new_map(tmp_path):
    again = [(topic, stamp + 10**10, message) for topic, stamp, message in camera(FRAMES[:3])]
    source = write_bag(tmp_path / "bag", camera(FRAMES[:5]) + again)
    assert run(source, "--out", tmp_path / "out.mcap", "--json", tmp_path / "figures.json") == 0
    paths = [deserialize_message(raw, OUTPUTS["path"].type) for _, _, raw in content(tmp_path / "out.mcap", "/path")]
    assert [len(path.poses) for path in paths] == [1, 2, 3, 4, 5, 1, 2, 3]
    (told,) = json.loads((tmp_path / "figures.json").read_text())["cameras"]
    assert told["breaks"] == {"time went back": 1}


def test_types_of_others_are_copied_with_their_definition_or_told_of(tmp_path, capsys):
    own = get_typestore(Stores.EMPTY)
    own.register(get_types_from_msg("float64 level", "my_msgs/msg/Battery"))
    source = tmp_path / "bag"
    with Writer(source, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        battery = writer.add_connection("/battery", "my_msgs/msg/Battery", typestore=own)
        image = writer.add_connection(IMAGES, "sensor_msgs/msg/Image", typestore=TYPES)
        for _, stamp, message in camera(FRAMES[:2]):
            level = own.types["my_msgs/msg/Battery"](level=0.5)
            writer.write(battery, stamp, own.serialize_cdr(level, "my_msgs/msg/Battery"))
            writer.write(image, stamp, serialize_message(message))
    assert run(source, "--out", tmp_path / "with.mcap") == 0
    assert content(tmp_path / "with.mcap", "/battery") == content(source, "/battery")
    with Reader(tmp_path / "with.mcap") as reader:
        assert "float64 level" in reader.topics["/battery"].msgdef.data
    assert run(stripped(source), "--out", tmp_path / "without.mcap") == 0
    assert "note: /battery is left out" in capsys.readouterr().out
    assert len(content(tmp_path / "without.mcap", IMAGES)) == 2


@pytest.fixture
def refused(capfd):
    """A function that runs the command, which must refuse; the one line that it says."""

    def refuse(*arguments):
        assert run(*arguments) == 2
        last = capfd.readouterr().err.strip().splitlines()[-1]
        assert last.startswith("dpm: ")
        return last

    return refuse


def test_what_cannot_be_meant_is_one_line_and_two(refused, recorded, tmp_path):
    out = ("--out", tmp_path / "out.mcap")
    (tmp_path / "there.mcap").write_text("precious")
    (tmp_path / "odd.yaml").write_text("- no mapping")
    assert "absent" in refused(tmp_path / "absent", *out)
    assert "--overwrite" in refused(recorded, "--out", tmp_path / "there.mcap")
    assert "no camera images on /nope" in refused(recorded, *out, "--topic", "/nope")
    assert "choose from: points," in refused(recorded, *out, "--outputs", "clouds")
    assert "give one for each" in refused(recorded, *out, "--namespace", "a", "b")
    assert "must be 1 or more" in refused(recorded, *out, "--save-every", "0")
    assert "did you mean window?" in refused(recorded, *out, "--param", "windw:=3")
    assert "must be between 1 and 64" in refused(recorded, *out, "--param", "window:=0")
    assert "must be of type int" in refused(recorded, *out, "--param", "window:=many")
    assert "write name:=value" in refused(recorded, *out, "--param", "window")
    assert "choose one of: none," in refused(recorded, *out, "--param", "tf_mode:=odd")
    assert "is no ROS parameter file" in refused(recorded, *out, "--params-file", tmp_path / "odd.yaml")
    assert (tmp_path / "there.mcap").read_text() == "precious"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_topic_that_is_there_already_is_not_mixed_with_ours(refused, written, tmp_path):
    said = refused(written, "--out", tmp_path / "out.mcap", "--topic", IMAGES)
    assert "has a topic /confidence already; give another --namespace" in said
    out = ["--out", tmp_path / "out.mcap", "--topic", IMAGES, "--namespace", "again"]
    assert run(written, *out) == 0
    assert content(tmp_path / "out.mcap", "/again/points") == [
        ("/again/points", stamp, raw) for _, stamp, raw in content(written, "/points")
    ]


def test_two_cameras_of_one_namespace_need_names(refused, tmp_path):
    topics = ["/robot/left", "/robot/right"]
    source = write_bag(tmp_path / "bag", [each for topic in topics for each in camera(FRAMES[:2], topic)])
    said = refused(source, "--out", tmp_path / "out.mcap", "--topic", *topics)
    assert "two cameras would write into /robot" in said
    assert run(source, "--out", tmp_path / "out.mcap", "--topic", *topics, "--namespace", "left", "right") == 0
    assert content(tmp_path / "out.mcap", "/left/pose")


class Interrupted(SteadyOracle):
    """Ctrl-C at the sixth frame."""

    def encode(self, image):
        if len(self.encoded) == 5:
            raise KeyboardInterrupt
        return super().encode(image)


def test_an_interrupted_run_goes_on_with_the_same_settings_only(refused, recorded, written, tmp_path, capfd):
    out = ["--out", str(tmp_path / "out.mcap"), "--save-every", "2"]
    assert bag.main([str(recorded), *out], lambda *_: Interrupted()) == 130
    assert "the same command goes on" in capfd.readouterr().err
    assert not (tmp_path / "out.mcap").exists()
    assert "window was 5 and is 3" in refused(recorded, *out, "--param", "window:=3")
    folder = tmp_path / ".out.mcap.unfinished"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is writing" in refused(recorded, *out)
    assert run(recorded, *out, "--json", tmp_path / "figures.json") == 0
    assert (tmp_path / "out.mcap").read_bytes() == written.read_bytes()
    assert json.loads((tmp_path / "figures.json").read_text())["cameras"][0]["resumed_at"] == 4


def test_a_restart_forgets_what_was_done(recorded, tmp_path):
    out = ["--out", str(tmp_path / "out.mcap"), "--save-every", "2"]
    assert bag.main([str(recorded), *out], lambda *_: Interrupted()) == 130
    arguments = [*out, "--param", "window:=3", "--restart", "--json", tmp_path / "figures.json"]
    assert run(recorded, *arguments) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["cameras"][0]["resumed_at"] == 0


def test_damaged_memory_is_named(refused, recorded, tmp_path):
    out = ["--out", str(tmp_path / "out.mcap"), "--save-every", "2"]
    assert bag.main([str(recorded), *out], lambda *_: Interrupted()) == 130
    memory = tmp_path / ".out.mcap.unfinished" / "camera-0" / "memory.safetensors"
    memory.write_bytes(memory.read_bytes()[:1000])
    assert "is no snapshot that can be used" in refused(recorded, *out)


@pytest.mark.parametrize(("room", "named"), [(0, "000000.mcap"), (200, "out.mcap")], ids=["results", "merging"])
def test_a_full_disk_is_told_of_and_leaves_no_bag(refused, recorded, written, tmp_path, monkeypatch, room, named):
    write, out = Writer.write, tmp_path / "out.mcap"
    done = []

    def write_while_there_is_room(*arguments):
        done.append(arguments)
        if len(done) > room:
            raise OSError(28, "No space left on device")
        write(*arguments)

    with monkeypatch.context() as small:
        small.setattr(Writer, "write", write_while_there_is_room)
        said = refused(recorded, "--out", out)
    assert f"{named} cannot be written (No space left on device)" in said
    assert "cannot be read" not in said
    assert not out.exists()
    assert run(recorded, "--out", out) == 0, "with room again it goes on"
    assert out.read_bytes() == written.read_bytes()


NOT_BY_IMAGE = ("map", "/tf_static")  # the node sends these by its own clock


def test_it_says_what_the_running_node_says_to_the_byte(graph, tmp_path):
    out = tmp_path / "out.mcap"
    arguments = [str(write_bag(tmp_path / "bag", camera())), "--out", str(out)]
    assert bag.main(arguments, lambda *_: oracle.OracleEngine()) == 0
    expected = {name: [raw for _, _, raw in content(out, absolute(name, ""))] for name in OUTPUTS}

    node = graph.node("-p", "image_qos:=reliable")
    peer = graph.peer("scribe")
    compared = [output for name, output in OUTPUTS.items() if name not in NOT_BY_IMAGE]
    for output in compared:
        take = peer.heard[output.name].append
        peer.ears.append(peer.node.create_subscription(output.type, output.name, take, output.qos, raw=True))
    late = {output.name: len(FRAMES) - len(expected[output.name]) for output in compared}  # motion takes two frames

    def answered(count):
        return all(len(peer.heard[name]) >= count - missing for name, missing in late.items())

    images = peer.publisher()
    for index, frame in enumerate(FRAMES):
        images.publish(image_message(frame))
        peer.until(lambda index=index: answered(index + 1), lambda: f"not all was said; {node.said()}")
    for output in compared:
        heard = [bags.repeatable(raw, output.type) for raw in peer.heard[output.name]]
        assert heard == expected[output.name], output.name
