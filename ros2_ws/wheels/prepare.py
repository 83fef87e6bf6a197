# SPDX-License-Identifier: Apache-2.0
"""Makes ROS from Python wheels whole: mends the wheels' CMake files and builds tf2_msgs, which is not among them.

Run it with the interpreter of the virtual environment that holds `requirements/ros-wheels.txt`. It changes nothing
but that environment, does nothing where everything is there (a ROS distribution, a second run), and may be run again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "tf2_msgs"
PREFIX = Path(sys.prefix)
STAMP = PREFIX / "share" / "tf2_msgs" / "built_from"

# The wheels were built under this interpreter, and their exported CMake targets say so.
BUILDERS_PYTHON = r"/opt/python/cp3\d+-cp3\d+t?"
BUILDERS_INCLUDE = re.compile(BUILDERS_PYTHON + r"/include/python3\.\d+t?")
BUILDERS_NUMPY = re.compile(BUILDERS_PYTHON + r"/lib/python3\.\d+t?/site-packages/numpy/(?:_core|core)/include")


class PrepareError(Exception):
    """What is missing, in one line, and how to get it."""


def main() -> int:
    """Prepare this interpreter's environment; 0 when tf2_msgs can be imported at the end."""
    try:
        message = prepare()
    except PrepareError as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return 2
    print(message)
    return 0


def prepare() -> str:
    """Do what is missing, and say what was done.

    Raises:
        PrepareError: something that is needed is not there, or the build failed.
    """
    if _imports("tf2_msgs") and not (PREFIX / "share" / "tf2_msgs" / "package.xml").exists():
        return "tf2_msgs comes with the ROS distribution; nothing to do"
    _require_wheels()
    mended = mend_cmake_files(PREFIX / "share")
    wanted = _fingerprint()
    if STAMP.exists() and STAMP.read_text() == wanted and _imports("tf2_msgs"):
        return "tf2_msgs is there"
    _build()
    if not _imports("tf2_msgs"):
        raise PrepareError("tf2_msgs was built but does not import; remove the virtual environment and make it anew")
    STAMP.write_text(wanted)
    return f"tf2_msgs built into {PREFIX}; {mended} CMake files mended"


def mend_cmake_files(folder: Path) -> int:
    """Point exported targets from the wheel builder's Python to this one; the number of files changed."""
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        raise PrepareError(f"Python.h is not in {include}; install this Python's headers (Debian: python3-dev)")
    import numpy

    changed = 0
    for path in sorted(folder.rglob("*.cmake")):
        text = path.read_text(encoding="utf-8")
        mended = BUILDERS_NUMPY.sub(numpy.get_include(), BUILDERS_INCLUDE.sub(include, text))
        if mended != text:
            _replace(path, mended)
            changed += 1
    return changed


def _replace(path: Path, text: str) -> None:
    # A new file in the old one's place: an installer may have hard-linked the old one to its cache.
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _require_wheels() -> None:
    if sys.prefix == sys.base_prefix:
        raise PrepareError(f"{sys.executable} is not a virtual environment's Python; run it with .venv/bin/python")
    for package in ("rosidl_default_generators", "ament_cmake", "geometry_msgs"):
        if not (PREFIX / "share" / package).exists():
            raise PrepareError(f"{package} is not in {PREFIX}; first: pip install -r requirements/ros-wheels.txt")
    for tool in ("cmake", "ninja"):
        if _which(tool) is None:
            raise PrepareError(f"{tool} is not there; first: pip install -r requirements/ros-wheels.txt")


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=_environment()["PATH"])


def _environment() -> dict[str, str]:
    scripts = sysconfig.get_path("scripts")
    return {
        **os.environ,
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)]),
        "AMENT_PREFIX_PATH": str(PREFIX),
        "CMAKE_PREFIX_PATH": str(PREFIX),
    }


def _imports(package: str) -> bool:
    # In a process of its own: loading the type support is the proof, and a broken one must not stay loaded here.
    probe = f"from {package}.msg import TFMessage; TFMessage.__import_type_support__()"
    return subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode == 0


def _fingerprint() -> str:
    """Of everything that the built files depend on."""
    sources = hashlib.sha256()
    for path in sorted(path for path in PACKAGE.rglob("*") if path.is_file()):
        sources.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    wheels = ("ros-geometry-msgs", "ros-rosidl-generator-py", "ros-rosidl-runtime-c", "numpy")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in wheels]
    return "\n".join([f"sources {sources.hexdigest()}", f"python {sys.version}", *versions]) + "\n"


def _build() -> None:
    with tempfile.TemporaryDirectory(prefix="tf2_msgs-") as build:
        configure = [
            *("cmake", "-S", str(PACKAGE), "-B", build, "-G", "Ninja"),
            *("-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF", f"-DCMAKE_INSTALL_PREFIX={PREFIX}"),
            *(f"-DPython3_EXECUTABLE={sys.executable}", f"-DPython_EXECUTABLE={sys.executable}"),
        ]
        _run(configure)
        _run(["cmake", "--build", build, "--target", "install"])


def _run(command: list[str]) -> None:
    program = _which(command[0])
    done = subprocess.run([program or command[0], *command[1:]], env=_environment(), capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise PrepareError(f"building tf2_msgs failed in '{' '.join(command[:3])} …'; the compiler's words are above")


if __name__ == "__main__":
    sys.exit(main())
