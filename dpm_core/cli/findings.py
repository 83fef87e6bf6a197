# SPDX-License-Identifier: Apache-2.0
"""What `dpm doctor` looks at, one function a thing: what was found, and what to do where it is not there."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..errors import DpmError

OK, MISSING, BROKEN = "ok", "not there", "broken"


@dataclass(frozen=True)
class Finding:
    """A thing and its state.

    Attributes:
        name: of the thing.
        state: OK, MISSING (dpm does without), or BROKEN (something will fail).
        found: what is there, in a few words.
        advice: what to do about it; "" where there is nothing to do.
    """

    name: str
    state: str
    found: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Everything, in the order in which a person would ask."""
    for look in (_python, _torch, _cpu, _gpu, _nvcc, _native):
        yield look()
    yield from map(_library, LIBRARIES)
    yield from _tensorrt()
    yield from (_onnxruntime(), _ros(), _fast_dds(), _cv_bridge(), _tf2(), _dpm_ros())
    yield from _weights()


def _python() -> Finding:
    return Finding("Python", OK, f"{platform.python_version()} on {platform.machine()}")


def _torch() -> Finding:
    return _imported("torch", "torch", "pip install torch", lambda torch: str(torch.__version__), BROKEN)


def _cpu() -> Finding:
    try:
        from ..engines.torch_bf16 import bfloat16_units  # torch: after the help
    except ImportError:
        return Finding("bfloat16 on the CPU", MISSING, "unknown without torch")
    units = bfloat16_units()
    if units is None:
        return Finding("bfloat16 on the CPU", MISSING, "none", "float32 is the fastest here: --backend torch")
    return Finding("bfloat16 on the CPU", OK, units, "sooner than float32, and not its numbers: --backend torch-bf16")


def _gpu() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("GPU", MISSING, "unknown without torch")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(each) for each in range(torch.cuda.device_count())]
        found = ", ".join(f"{each.name} ({each.total_memory / 2**30:.0f} GiB)" for each in names)
        return Finding("GPU", OK, found)
    driver = shutil.which("nvidia-smi")
    if driver and torch.version.cuda is None:
        return Finding("GPU", BROKEN, "a driver, but torch is built for the CPU", "install a CUDA build of torch")
    if driver:
        return Finding("GPU", BROKEN, "a driver, but torch sees no GPU", "compare `nvidia-smi` with torch.version.cuda")
    return Finding("GPU", MISSING, "none", "everything runs on the CPU; small networks such as vdpm-mini are for that")


def _nvcc() -> Finding:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return Finding("nvcc", MISSING, "none", "only needed to build the CUDA kernels: install the CUDA toolkit")
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
    release = re.search(r"release (\S+),", said)
    return Finding("nvcc", OK, f"{release[1] if release else 'of unknown version'} ({nvcc})")


def _native() -> Finding:
    rebuild = "build them: make, or python setup.py build_ext --inplace"

    def kind(module: Any) -> str:
        return "CPU and CUDA" if getattr(module, "BUILT_WITH_CUDA", False) else "CPU"

    # torch first, so that one OpenMP runtime serves both.
    return _imported(
        "native kernels", "torch", rebuild, lambda _: kind(import_module("dpm_core.kernels._kernels")), BROKEN
    )


@dataclass(frozen=True)
class Library:
    """A package: its name in the registries and its module, what needs it, how to get it."""

    package: str
    module: str
    purpose: str
    extra: str


LIBRARIES = (
    Library("opencv-python-headless", "cv2", "images and files", "run"),
    Library("av", "av", "videos", "run"),
    Library("rosbags", "rosbags", "bags", "run"),
    Library("pillow", "PIL", "folders of images", "run"),
    Library("plyfile", "plyfile", "clouds", "run"),
    Library("safetensors", "safetensors", "weights", "run"),
    Library("huggingface-hub", "huggingface_hub", "dpm weights pull", "run"),
    Library("rerun-sdk", "rerun", "Rerun recordings", "view"),
)


def _library(library: Library) -> Finding:
    get = f"for {library.purpose}: pip install 'dpm[{library.extra}]'"
    return _imported(library.package, library.module, get, lambda module: _version(library.package, module))


def _tensorrt() -> Iterator[Finding]:
    for package in ("tensorrt", "tensorrt_rtx"):
        get = f"only for engines on NVIDIA GPUs: pip install {package}"
        yield _imported(package, package, get, lambda module: str(module.__version__))


def _onnxruntime() -> Finding:
    def providers(module: Any) -> str:
        names = [name.removesuffix("ExecutionProvider") for name in module.get_available_providers()]
        return f"{_version('onnxruntime', module)} ({', '.join(names)})"

    return _imported("onnxruntime", "onnxruntime", "only for exported models: pip install onnxruntime", providers)


def _ros() -> Finding:
    def middleware(module: Any) -> str:
        distribution = os.environ.get("ROS_DISTRO", "ROS 2 wheels")
        return f"{distribution}, {module.get_rmw_implementation_identifier()}"

    get = "only for the node: source /opt/ros/<distribution>/setup.bash, or pip install -r requirements/ros-wheels.txt"
    return _imported("ROS 2 (rclpy)", "rclpy.utilities", get, middleware)


def _fast_dds() -> Finding:
    name = "FASTDDS_BUILTIN_TRANSPORTS"
    value = os.environ.get(name)
    other = os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if not other.startswith("rmw_fastrtps"):
        return Finding(name, OK, f"not used by {other}")
    if value == "LARGE_DATA":
        return Finding(name, OK, value)
    advice = (
        "best-effort messages over 1 MB are lost: export FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA (our launch files do)"
    )
    return Finding(name, MISSING, value or "not set", advice)


def _cv_bridge() -> Finding:
    get = "not needed: images are read by our own converter; on a robot: apt install ros-<distribution>-cv-bridge"
    return _imported("cv_bridge", "cv_bridge", get, lambda module: "imports")


def _tf2() -> Finding:
    get = "needed to publish TF: apt install ros-<distribution>-tf2-msgs, or python ros2_ws/wheels/prepare.py"
    return _imported("tf2_msgs", "tf2_msgs.msg", get, lambda module: "imports")


def _dpm_ros() -> Finding:
    get = "for the node, dpm replay and dpm record: pip install -e ros2_ws/src/dpm_ros, or colcon build in ros2_ws"
    return _imported("dpm_ros", "dpm_ros", get, lambda module: "imports")


def _weights() -> Iterator[Finding]:
    try:
        from ..checkpoints.loading import installed
        from ..checkpoints.registry import REGISTRY
    except ImportError as error:
        yield Finding("weights", BROKEN, _one_line(error), "mend what is broken above")
        return
    for name, spec in REGISTRY.items():
        try:
            path = installed(spec)
        except (DpmError, ImportError) as error:
            yield Finding(f"weights of {name}", MISSING, f"licence: {spec.licence}", str(error).split("; ", 1)[-1])
        else:
            untrained = Finding(f"weights of {name}", MISSING, "untrained", "it runs, and what it says means nothing")
            told = f"{path}; {spec.quality}" if spec.quality else str(path)
            yield untrained if path is None else Finding(f"weights of {name}", OK, told)


def _imported(name: str, module: str, get: str, describe: Callable[[Any], str], absent: str = MISSING) -> Finding:
    """What importing it says. A package that is there and does not import is broken."""
    try:
        return Finding(name, OK, describe(import_module(module)))
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            return Finding(name, BROKEN, _one_line(error), get)
        return Finding(name, absent, "none", get)
    except Exception as error:  # a broken installation may raise anything
        return Finding(name, BROKEN, _one_line(error), get)


def _version(package: str, module: Any) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return str(getattr(module, "__version__", "of unknown version"))


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160]
