# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT is here. `tensorrt` (10.x, 11.x) and `tensorrt_rtx` share one API; where they differ is told here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

from ..errors import DpmError

Capability: TypeAlias = tuple[int, int]
"""CUDA compute capability, (major, minor)."""

NAMES = ("tensorrt", "tensorrt_rtx")
OLDEST = (10, 9)
"""Earlier `tensorrt` gave wrong depth maps for DPT networks on some devices."""

_LOG = logging.getLogger("dpm.tensorrt")


@dataclass(frozen=True)
class Library:
    """A TensorRT that imports.

    Attributes:
        name: of its Python module, one of NAMES.
        version: its own words.
        module: what is called.
    """

    name: str
    version: str
    module: Any

    @property
    def builds_ahead(self) -> bool:
        """Whether it builds, without a GPU, for compute capabilities that are named."""
        return self.name == "tensorrt_rtx"

    @property
    def caches_timings(self) -> bool:
        """Whether it times kernels while it builds, and takes the timings of an earlier build."""
        return self.name == "tensorrt"

    def records(self, context: Any, stream: int) -> bool:
        """Whether what an execution context queues on a stream can be recorded as a CUDA graph."""
        return self.name == "tensorrt" or bool(context.is_stream_capturable(stream))

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def available() -> list[str]:
    """Names of those that are installed; nothing is imported."""
    return [name for name in NAMES if find_spec(name) is not None]


def libraries() -> list[Library]:
    """Those that import here, in the order of NAMES; what is broken is left to `dpm doctor`."""
    found = []
    for name in available():
        try:
            found.append(load_library(name))
        except DpmError as error:
            _LOG.debug("%s", error)
    return found


@cache
def load_library(name: str) -> Library:
    """Import one.

    Raises:
        DpmError: it is not installed, does not import, or is too old.
    """
    if name not in NAMES:
        raise DpmError(f"'{name}' is no TensorRT; choose one of: {', '.join(NAMES)}")
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        raise DpmError(f"{name} is not installed; get it with: pip install {name}") from error
    except (ImportError, OSError, RuntimeError) as error:  # its shared libraries miss theirs
        raise DpmError(f"{name} does not import ({_one_line(error)}); see `dpm doctor`") from error
    version = str(module.__version__)
    if name == "tensorrt" and _numbers(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise DpmError(f"tensorrt {version} is too old; install {oldest} or newer (on Jetson: a newer JetPack)")
    return Library(name, version, module)


@cache
def logger(library: Library) -> Any:
    """The one logger that a process may give the library. What it is told goes to Python's log "dpm.tensorrt" for those
    who look for causes; its last error goes into the message of the failure that follows."""
    severity = library.module.ILogger.Severity

    base: Any = library.module.ILogger

    class Logger(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.last_error = "it does not say why"

        def log(self, level: Any, message: str) -> None:
            if level in (severity.INTERNAL_ERROR, severity.ERROR):
                self.last_error = _one_line(message)
            if level != severity.VERBOSE:  # thousands of lines a graph
                _LOG.debug("%s", message)

    return Logger()


def parse_capability(text: str) -> Capability:
    """ "8.6" -> (8, 6).

    Raises:
        DpmError: it is no compute capability.
    """
    major, dot, minor = text.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise DpmError(f"'{text}' is no compute capability; give such as 8.6, see developer.nvidia.com/cuda-gpus")
    return int(major), int(minor)


def told(capabilities: Sequence[Capability]) -> str:
    """[(8, 6), (12, 0)] -> "8.6, 12.0"."""
    return ", ".join(f"{major}.{minor}" for major, minor in capabilities)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200]
