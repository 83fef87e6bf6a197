# SPDX-License-Identifier: Apache-2.0
"""A table of commands whose modules are imported only when they are called."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import TypeAlias

from ..errors import DpmError

Main: TypeAlias = Callable[[list[str]], int]


@dataclass(frozen=True)
class Command:
    """A line of the table.

    Attributes:
        help: one line.
        load: imports what is needed and gives the function that takes the arguments and returns the exit code.
    """

    help: str
    load: Callable[[], Main]


def in_module(name: str, help: str) -> Command:
    """The command that is `main(argv)` of a module."""

    def load() -> Main:
        main: Main = import_module(name).main
        return main

    return Command(help, load)


class Brought:
    """Imports a command that another package brings.

    command: as it is called. entry: what names it; None where the package is not installed.
    """

    def __init__(self, command: str, entry: EntryPoint | None) -> None:
        self._command, self._entry = command, entry

    def __call__(self) -> Main:
        """The command.

        Raises:
            DpmError: the package is not installed.
        """
        if self._entry is None:
            raise DpmError(
                f"'{self._command}' comes with the ROS package dpm_ros, which is not installed in this Python; "
                "install it: pip install -e ros2_ws/src/dpm_ros"
            )
        main: Main = self._entry.load()
        return main


def dispatch(prog: str, about: str, commands: Mapping[str, Command], argv: Sequence[str]) -> int:
    """Run the command that the first argument names, with the others; its exit code.

    Raises:
        DpmError: there is no such command; the nearest is named.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage(prog, about, commands), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    name, *rest = argv
    command = commands.get(name)
    if command is None:
        nearest = difflib.get_close_matches(name, commands, 1)
        meant = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise DpmError(f"there is no command '{prog} {name}'; {meant}commands are: {', '.join(commands)}")
    return command.load()(rest)


def _usage(prog: str, about: str, commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in commands.items()]
    return "\n".join([f"usage: {prog} COMMAND …", "", about, "", *lines, "", f"{prog} COMMAND --help tells the rest."])
