# SPDX-License-Identifier: Apache-2.0
"""Plans and their sidecars on disk, and which machine a plan fits."""

import errno
import json
import pathlib
import subprocess
import sys
from dataclasses import replace

import fake_tensorrt
import pytest

from dpm_core.engines.manifest import Deviation, TensorSpec
from dpm_core.engines.plan_fit import Machine, damage, misfits
from dpm_core.engines.plan_sidecar import Sidecar, read_sidecar, sidecar_path
from dpm_core.engines.plan_store import lock_path, one_builder, plan_name, plans_in, require_room, write_plan
from dpm_core.errors import DpmError

CONTENT = bytes(range(256)) * 40
SOURCE = "0a1b2c3d4e5f" + "6" * 52
RTX = "1.7.1.116"
ROBOT = Machine("linux-x86_64", (8, 6), "NVIDIA RTX A2000", {"tensorrt_rtx": RTX})


def described(plan_sha256, plan_bytes):
    return Sidecar(
        graph="encoder",
        source=SOURCE,
        plan_sha256=plan_sha256,
        plan_bytes=plan_bytes,
        library="tensorrt_rtx",
        library_version=RTX,
        platform="linux-x86_64",
        capabilities=((8, 6), (8, 9)),
        gpu="",
        tf32=True,
        inputs=(TensorSpec("image", (1, 3, 28, 42), "float32"),),
        outputs=(TensorSpec("tokens", (1, 6, 24), "bfloat16"),),
        build_seconds=1.5,
        parity={"tokens": Deviation(0.01, 0.999, 1.2)},
    )


@pytest.fixture
def plan(tmp_path):
    name = plan_name("encoder", fake_tensorrt.library("tensorrt_rtx", RTX), ((8, 6), (8, 9)), SOURCE)
    write_plan(tmp_path / name, memoryview(CONTENT), described)
    return tmp_path / name


def test_a_plan_is_named_by_graph_gpu_library_and_source(plan):
    assert plan.name == "encoder-sm86sm89-tensorrt_rtx1.7.1.116-0a1b2c3d4e5f.plan"
    assert plans_in(plan.parent, "encoder") == [plan]
    assert plans_in(plan.parent, "time") == []


def test_what_is_written_is_read_again(plan):
    assert plan.read_bytes() == CONTENT
    sidecar = read_sidecar(plan)
    assert sidecar == described(sidecar.plan_sha256, len(CONTENT))
    assert damage(plan, sidecar) is None
    assert {path.name for path in plan.parent.iterdir()} == {plan.name, plan.name + ".json"}


def test_a_plan_fits_the_machine_it_was_built_for(plan):
    assert list(misfits(read_sidecar(plan), SOURCE, ROBOT)) == []


@pytest.mark.parametrize(
    ("machine", "source", "reason"),
    [
        (replace(ROBOT, capability=(12, 0), gpu="NVIDIA GeForce RTX 5090"), SOURCE, "here is NVIDIA GeForce RTX 5090"),
        (replace(ROBOT, capability=None, gpu=""), SOURCE, "built for compute capability 8.6, 8.9, here is no GPU"),
        (replace(ROBOT, libraries={"tensorrt_rtx": "1.8.0"}), SOURCE, "with tensorrt_rtx 1.7.1.116, here is 1.8.0"),
        (replace(ROBOT, libraries={"tensorrt": "10.13"}), SOURCE, "tensorrt_rtx 1.7.1.116, which is not installed"),
        (replace(ROBOT, platform="linux-aarch64"), SOURCE, "built on linux-x86_64, this is linux-aarch64"),
        (ROBOT, "f" * 64, "exported anew"),
    ],
    ids=["another GPU", "no GPU", "another version", "another library", "another platform", "another export"],
)
def test_a_plan_that_does_not_fit_says_why(plan, machine, source, reason):
    (told,) = misfits(read_sidecar(plan), source, machine)
    assert reason in told


def test_a_damaged_plan_is_told_from_a_sound_one(plan):
    sidecar = read_sidecar(plan)
    plan.write_bytes(CONTENT[:-1])
    assert "cut short" in damage(plan, sidecar)
    plan.write_bytes(CONTENT[:-1] + b"\0")
    assert "checksum" in damage(plan, sidecar)
    plan.unlink()
    assert damage(plan, sidecar) == "not there"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "nothing is known of it"),
        ("{", "does not read as JSON"),
        ("[]", "is not of schema 1"),
        ('{"schema": 2}', "is not of schema 1"),
        ('{"schema": 1, "graph": "encoder"}', "is damaged"),
        ("capabilities", "is damaged"),
    ],
)
def test_a_sidecar_that_cannot_be_used(plan, content, reason):
    path = sidecar_path(plan)
    if content is None:
        path.unlink()
    elif content == "capabilities":
        path.write_text(json.dumps({**json.loads(path.read_text()), "capabilities": ["8.6.1", 3]}))
    else:
        path.write_text(content)
    with pytest.raises(DpmError, match=reason):
        read_sidecar(plan)


def test_no_room_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 100_000_000})())
    with pytest.raises(DpmError, match=r"has 100 MB free, a plan needs about 267 MB; make room"):
        require_room(tmp_path, 200_000_000)
    require_room(tmp_path, 1_000_000)


def test_a_disk_that_fills_up_keeps_nothing(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(DpmError, match=r"no room for .*time\.plan"):
        write_plan(tmp_path / "time.plan", memoryview(CONTENT), described)
    assert list(tmp_path.iterdir()) == []


def test_a_sidecar_that_cannot_be_written_takes_its_plan_with_it(tmp_path, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(DpmError, match="no room"):
        write_plan(tmp_path / "time.plan", memoryview(CONTENT), described)
    assert list(tmp_path.iterdir()) == []


OTHER_BUILDER = """
import pathlib, sys
from filelock import FileLock
lock, plan = map(pathlib.Path, sys.argv[1:])
with FileLock(lock):
    print("held", flush=True)
    sys.stdin.readline()
    plan.write_bytes(b"built by the other")
"""


def test_a_second_builder_waits_and_finds_the_plan_built(tmp_path):
    plan = tmp_path / "time.plan"
    command = [sys.executable, "-c", OTHER_BUILDER, lock_path(plan), plan]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        waited = []

        def told_to_wait():
            waited.append(True)
            print(file=other.stdin, flush=True)

        with one_builder(plan, told_to_wait):
            assert plan.read_bytes() == b"built by the other"
    assert waited == [True]


def test_a_builder_that_fails_lets_go(tmp_path):
    plan = tmp_path / "time.plan"
    with pytest.raises(ZeroDivisionError), one_builder(plan, lambda: None):
        raise ZeroDivisionError
    with one_builder(plan, lambda: pytest.fail("nobody holds it")):
        pass
