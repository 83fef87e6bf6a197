# SPDX-License-Identifier: Apache-2.0
"""The command `dpm`. Importing it and asking for help load nothing that is slow."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from ..errors import DpmError
from ..version import __version__
from .commands import Brought, Command, dispatch, in_module

ABOUT = f"dpm {__version__}: one moving camera in, a moving 3-D world out."

BUILT_IN = {
    "run": in_module("dpm_core.cli.run", "a video, images or a bag to trajectory, depth, masks and clouds"),
    "export": in_module("dpm_core.cli.export", "a network to ONNX graphs that ONNX Runtime and TensorRT run"),
    "tensorrt": in_module("dpm_core.cli.tensorrt", "TensorRT plans of an export, for the GPU here or a named one"),
    "doctor": in_module(
        "dpm_core.cli.doctor", "what of GPU, TensorRT, ROS and weights is there, and what to do about it"
    ),
    "weights": in_module("dpm_core.cli.weights", "list, show, pull, check and convert weights of networks"),
    "bench": in_module("dpm_core.cli.bench", "measure how fast things are here"),
    "capacity": in_module("dpm_core.cli.capacity", "what a network needs, and what a robot's computer can run"),
}

# Commands of the ROS package: told in the help even where it is not installed.
OF_ROS = {
    "bag": "a bag with all that the node would say of its images (package dpm_ros)",
    "replay": "publish a bag's topics with /clock (package dpm_ros)",
    "record": "record topics into a bag (package dpm_ros)",
}


def commands() -> dict[str, Command]:
    """All commands: ours, and those that installed packages bring in the entry point group `dpm.commands`."""
    brought = {entry.name: entry for entry in entry_points(group="dpm.commands")}
    of_ros = {name: Command(help, Brought(f"dpm {name}", brought.get(name))) for name, help in OF_ROS.items()}
    others = {
        name: Command(f"of {entry.value.split('.')[0]}", Brought(f"dpm {name}", entry))
        for name, entry in sorted(brought.items())
        if name not in OF_ROS
    }
    return {**BUILT_IN, **of_ros, **others}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 2 for bad input, said in one line on stderr; 130 for Ctrl-C, 143 for SIGTERM."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return dispatch("dpm", ABOUT, commands(), sys.argv[1:] if argv is None else argv)
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dpm: interrupted; nothing was left half-written", file=sys.stderr)
        return 130
    except _Terminated:
        return 128 + signal.SIGTERM
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; Python must not complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("dpm_core", "dpm_ros"):
            raise
        print(
            f"dpm: this command needs '{error.name}', which is not installed; try: pip install 'dpm[run]'",
            file=sys.stderr,
        )
        return 2
    finally:
        signal.signal(signal.SIGTERM, before)


class _Terminated(BaseException):
    """SIGTERM, on its way up as Ctrl-C is, so that what is open is closed and cleaned up."""


def _terminate(number: int, frame: object) -> None:
    raise _Terminated
