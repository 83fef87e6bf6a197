# SPDX-License-Identifier: Apache-2.0
"""The Dockerfiles name what is there. They are not built here: that takes an engine, a network and gigabytes."""

import fnmatch
import os
import re
import shlex
import subprocess

import pytest
from harness import ROOT

DOCKER = ROOT / "docker"
FILES = sorted(DOCKER.glob("Dockerfile*"))
KNOWN = {"ARG", "FROM", "SHELL", "RUN", "WORKDIR", "ENV", "COPY", "ENTRYPOINT", "CMD"}


def instructions(path):
    """(instruction, argument) each, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def arguments(path, instruction):
    return [argument for name, argument in instructions(path) if name == instruction]


def test_there_is_one_for_each_kind_of_machine():
    assert [path.name for path in FILES] == ["Dockerfile", "Dockerfile.jetson"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_made_of_instructions_and_begins_with_its_base(path):
    found = instructions(path)
    assert {name for name, _ in found} <= KNOWN
    assert found[0][0] == "ARG"
    assert re.fullmatch(r"BASE=[\w./-]+:[\w.-]+", found[0][1])
    assert found[1] == ("FROM", "${BASE}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_is_in_the_repository(path):
    for argument in arguments(path, "COPY"):
        *sources, _ = shlex.split(argument)
        for source in sources:
            kept = subprocess.run(["git", "ls-files", source], cwd=ROOT, capture_output=True, text=True, check=True)
            assert kept.stdout, f"{source} is not in git"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_reaches_the_engine(path):
    """.dockerignore leaves out everything and lets in what the images are built from."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    for argument in arguments(path, "COPY"):
        for source in shlex.split(argument)[:-1]:
            assert any(fnmatch.fnmatch(source, rule) for rule in let_in), source


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_everything_that_the_packages_need_is_copied(path):
    """What pip and colcon read: the native code and its description, both Python packages, the launch files."""
    copied = {source for argument in arguments(path, "COPY") for source in shlex.split(argument)[:-1]}
    needed = {"pyproject.toml", "setup.py", "CMakeLists.txt", "csrc", "dpm_core", "training", "launch", "ros2_ws/src"}
    assert needed <= copied


def words_after(text, command):
    """The arguments of each call of a command in some shell, options left out."""
    found = re.findall(rf"{command} ((?:[^&|\n#]|(?<=\S)#)+)", text)
    return {word for arguments in found for word in shlex.split(arguments) if not word.startswith("-")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_installs_what_the_instructions_for_a_robot_do(path):
    """The base images have rosdep and colcon, or pip brings it."""
    robot = (ROOT / "ros2_ws" / "README.md").read_text().partition("## On a robot")[2].partition("\n- ")[0]
    commands = "\n".join(arguments(path, "RUN"))
    in_base = {"python3-rosdep", "python3-colcon-common-extensions"}
    asked = words_after(robot, "apt install")
    assert "build-essential" in asked
    assert asked - in_base == words_after(commands, "apt-get install")
    in_venv = words_after(robot, "pip install")
    assert in_venv == {"numpy<2", ".[run,ros]"}
    assert in_venv <= words_after(commands, "pip install")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_is_whole_shell(path):
    for command in arguments(path, "RUN"):
        checked = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_build_options_are_those_of_the_build(path):
    options = re.search(r"OPTIONS = \((.*?)\)", (ROOT / "setup.py").read_text()).group(1)
    given = set(re.findall(r"\b(DPM_\w+)=", path.read_text()))
    assert given
    assert given <= set(re.findall(r"\w+", options))


def test_the_entry_point_runs_a_command_with_its_own_exit_code():
    script = DOCKER / "entrypoint.sh"
    assert os.access(script, os.X_OK)
    done = subprocess.run([script, "bash", "-c", "exit 7"], env={**os.environ, "ROS_DISTRO": "none"}, check=False)
    assert done.returncode == 7
