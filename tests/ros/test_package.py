# SPDX-License-Identifier: Apache-2.0
"""The package as colcon and pip see it, and what the Python wheels lack of ROS."""

import configparser
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree

import pytest
from harness import ROOT

from dpm_core.cli import OF_ROS, bench

PACKAGE = ROOT / "ros2_ws" / "src" / "dpm_ros"
PREPARE = ROOT / "ros2_ws" / "wheels" / "prepare.py"
FROM_WHEELS = os.path.exists(os.path.join(sys.prefix, "share", "rclpy", "package.xml"))


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The workspace, built by colcon into a folder of its own."""
    colcon = shutil.which("colcon", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if colcon is None:
        pytest.skip("colcon is not here; see requirements/ros-wheels.txt")
    base = tmp_path_factory.mktemp("colcon")
    environment = {**os.environ, "AMENT_PREFIX_PATH": sys.prefix, "CMAKE_PREFIX_PATH": sys.prefix}
    folders = ["--build-base", base / "build", "--install-base", base / "install"]
    run(colcon, "--log-base", base / "log", "build", *folders, cwd=ROOT / "ros2_ws", env=environment)
    return base / "install" / "dpm_ros"


def test_colcon_finds_this_package_and_no_other(installed):
    assert [path.name for path in installed.parent.iterdir() if path.is_dir()] == ["dpm_ros"]


def test_colcon_installs_everything_that_is_launched(installed):
    share = installed / "share" / "dpm_ros"
    folders = {"launch": "*.launch.py", "config": "*.yaml", "rviz": "*.rviz"}
    for folder, pattern in {**folders, "foxglove": "*.foxglove.json", "security": "*.policy.xml"}.items():
        names = sorted(path.name for path in (ROOT / "launch").glob(pattern))
        assert names
        assert sorted(path.name for path in (share / folder).iterdir()) == names
    assert (share / "package.xml").exists()
    assert (installed / "share" / "ament_index" / "resource_index" / "packages" / "dpm_ros").exists()
    assert os.access(installed / "lib" / "dpm_ros" / "dpm_node", os.X_OK)


def test_the_installed_node_starts(installed):
    """What `ros2 run dpm_ros dpm_node` runs; an empty window is refused before anything is loaded."""
    site = next(installed.glob("lib/python3*/site-packages"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    command = [installed / "lib" / "dpm_ros" / "dpm_node", "--ros-args", "-p", "window:=0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "dpm: " in done.stderr


def test_colcon_test_runs_the_tests_of_the_package():
    config = configparser.ConfigParser()
    config.read(PACKAGE / "setup.cfg")
    assert (PACKAGE / config["tool:pytest"]["testpaths"]).resolve() == ROOT / "tests" / "ros"
    assert 'extras_require={"test": ["pytest"]}' in (PACKAGE / "setup.py").read_text(), "colcon asks for it"


def test_the_benchmark_is_found_by_the_command_line():
    found = {entry.name: entry.value for entry in importlib.metadata.entry_points(group="dpm.benchmarks")}
    assert {name: found[name] for name in bench.OF_ROS} == {"node": "dpm_ros.bench_node:main"}


def test_the_commands_are_found_by_the_command_line():
    found = {entry.name: entry.value for entry in importlib.metadata.entry_points(group="dpm.commands")}
    assert {name: found[name] for name in OF_ROS} == {name: f"dpm_ros.{name}:main" for name in OF_ROS}


ROS = re.compile("(_msgs|_srvs|_interfaces)$|^(rclpy|cv_bridge|launch|launch_ros|ament_index_python)$")
OF_ROSDEP = {"numpy": "python3-numpy", "yaml": "python3-yaml"}
OF_LIBRARY = {"cv2": "opencv-python-headless"}


def depended_on():
    """The keys in package.xml, but for those of its tests."""
    elements = ElementTree.parse(PACKAGE / "package.xml").getroot()
    return {element.text for element in elements if element.tag in ("depend", "exec_depend")}


def imported():
    """What the package and the launch files import, but for Python's own and ours."""
    files = [*(PACKAGE / "dpm_ros").glob("*.py"), *(ROOT / "launch").glob("*.py")]
    sources = "\n".join(path.read_text() for path in files)
    found = set(re.findall(r"^\s*(?:from|import) (\w+)", sources, re.MULTILINE))
    return found - set(sys.stdlib_module_names) - {"dpm_core", "dpm_ros"}


def test_package_xml_names_every_ros_package_that_is_imported():
    ros = {name for name in imported() if ROS.search(name)}
    assert {"rclpy", "launch_ros"} <= ros
    assert ros <= depended_on()


def test_all_else_that_is_imported_comes_by_rosdep_or_with_the_library():
    others = {name for name in imported() if not ROS.search(name)}
    of_rosdep = {key for key in depended_on() if key.startswith("python3-")}
    assert of_rosdep == {OF_ROSDEP[name] for name in others & set(OF_ROSDEP)}
    required = [line.partition(";") for line in importlib.metadata.requires("dpm")]
    with_library = {re.match(r"[\w-]+", name)[0] for name, _, when in required if not when or '"run"' in when}
    assert {OF_LIBRARY.get(name, name) for name in others - set(OF_ROSDEP)} <= with_library


@pytest.mark.skipif(not FROM_WHEELS, reason="ROS here is a distribution's, which has tf2_msgs")
def test_what_the_wheels_lack_is_prepared_once():
    assert "tf2_msgs is there" in run(sys.executable, PREPARE)


def load_prepare():
    spec = importlib.util.spec_from_file_location("prepare", PREPARE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cmake_files_are_pointed_to_this_python_and_a_cache_they_are_linked_to_is_not(tmp_path):
    import numpy

    builder = "/opt/python/cp312-cp312"
    text = f'set(a "{builder}/include/python3.12;{builder}/lib/python3.12/site-packages/numpy/_core/include;/usr")'
    cached, folder = tmp_path / "cached", tmp_path / "share" / "some_msgs"
    folder.mkdir(parents=True)
    cached.write_text(text)
    (folder / "exportExport.cmake").hardlink_to(cached)
    prepare = load_prepare()
    assert prepare.mend_cmake_files(folder) == 1
    include = sysconfig.get_path("include")
    assert (folder / "exportExport.cmake").read_text() == f'set(a "{include};{numpy.get_include()};/usr")'
    assert cached.read_text() == text
    assert prepare.mend_cmake_files(folder) == 0
