# SPDX-License-Identifier: Apache-2.0
"""The rules of the house (docs/design.md §2), read off the sources."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.py", "*.cpp", "*.h", "*.cu", "*.cuh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if "third_party" not in name and (ROOT / name).exists()
]
PYTHON = [path for path in SOURCES if path.suffix == ".py"]

# Inside dpm_core: who may import whom. What a package may not name, it may not reach.
ALLOWED = {
    "kernels": set(),
    "geometry": {"kernels"},
    "models": {"geometry", "kernels"},
    "checkpoints": {"models", "geometry", "kernels"},
    "engines": {"checkpoints", "models", "geometry", "kernels"},
    "stream": {"engines", "models", "geometry", "kernels"},
    "io": {"stream", "geometry", "kernels"},
    "cli": {"io", "stream", "engines", "checkpoints", "models", "geometry", "kernels"},
}
FOR_ALL = {"types", "errors", "version", "atomic"}


def name_of(path):
    return str(path.relative_to(ROOT))


def imported(path):
    """Absolute module names that a file imports."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [path for path in PYTHON if path.is_relative_to(ROOT / "dpm_core")], ids=name_of)
def test_dpm_core_imports_point_one_way(path):
    inside = path.relative_to(ROOT / "dpm_core").parts
    for module in imported(path):
        parts = module.split(".")
        assert parts[0] not in {"rclpy", "dpm_ros", "training", "sensor_msgs", "geometry_msgs", "tf2_msgs"}, module
        if parts[0] == "dpm_core" and len(parts) > 1 and len(inside) > 1:
            assert parts[1] in ALLOWED[inside[0]] | FOR_ALL | {inside[0]}, f"{inside[0]} imports {module}"


@pytest.mark.parametrize("path", [path for path in PYTHON if path.is_relative_to(ROOT / "training")], ids=name_of)
def test_training_knows_no_ros(path):
    assert not {module.split(".")[0] for module in imported(path)} & {"rclpy", "dpm_ros"}


@pytest.mark.parametrize("path", [path for path in PYTHON if path.is_relative_to(ROOT / "ros2_ws")], ids=name_of)
def test_dpm_ros_knows_no_training(path):
    assert "training" not in {module.split(".")[0] for module in imported(path)}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_source_states_its_licence(path):
    assert "SPDX-License-Identifier: Apache-2.0" in "".join(path.read_text().splitlines()[:3])


def test_no_two_test_files_share_a_name():
    """pytest imports them by name alone."""
    names = [path.name for path in PYTHON if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))
