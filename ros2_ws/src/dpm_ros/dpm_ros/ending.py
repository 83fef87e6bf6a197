# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM are how a process is meant to end, wherever in rclpy they find it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException


@contextmanager
def told_to_end() -> Iterator[None]:
    """Ends the block quietly where a signal shut rclpy down within it; other errors pass."""
    try:
        yield
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:  # rcl's own error, where the context ended between two of its calls
        if rclpy.ok():
            raise
