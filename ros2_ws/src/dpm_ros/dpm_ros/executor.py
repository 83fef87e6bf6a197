# SPDX-License-Identifier: Apache-2.0
"""An executor that outlives its callbacks: rclpy's own ends the process where one of them raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor


class SturdyExecutor(SingleThreadedExecutor):
    """Reports what a callback raises, and goes on; what fails beside the callbacks still raises.

    Not all callbacks are ours: rclpy's own raise on a parameter of an unknown type and on a negative /clock.

    Args:
        report: takes what was raised, in words.
        context: rclpy's, where it is not the only one.
    """

    def __init__(self, report: Callable[[str], object], *, context: Context | None = None) -> None:
        super().__init__(context=context)
        self._report = report
        self._has_work = False

    def wait_for_ready_callbacks(self, *arguments: Any, **options: Any) -> Any:
        """What is called next; it has raised nothing yet."""
        self._has_work = False
        ready = super().wait_for_ready_callbacks(*arguments, **options)
        self._has_work = True
        return ready

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """One callback; it may raise what it likes. timeout_sec: to wait for it; for ever where None."""
        try:
            super().spin_once(timeout_sec)
        except Exception as error:
            if not self._has_work or not self.context.ok():
                raise
            self._report(f"{type(error).__name__}: {error}")
