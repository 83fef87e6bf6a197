# SPDX-License-Identifier: Apache-2.0
"""Plans on disk: one writer at a time, whole or not at all, and room for them before the long work begins."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..atomic import atomic_file
from ..errors import DpmError
from .manifest import GraphSpec
from .plan_sidecar import Sidecar, sidecar_path, write_sidecar
from .tensorrt_library import Capability, Library

SUFFIX = ".plan"
SPARE = 64 << 20
"""Bytes beside the weights: kernels and what else a plan holds."""


def plan_name(graph: str, library: Library, capabilities: tuple[Capability, ...], source: str) -> str:
    """encoder-sm86-tensorrt_rtx1.7.1.116-0a1b2c3d4e5f.plan: what must match stands in the name, so plans of several
    machines lie beside each other."""
    target = "".join(f"sm{major}{minor}" for major, minor in capabilities)
    return f"{graph}-{target}-{library.name}{library.version}-{source[:12]}{SUFFIX}"


def source_of(graph: GraphSpec) -> str:
    """One checksum of all files that a graph needs, weights beside it included."""
    return hashlib.sha256(json.dumps(dict(graph.sha256), sort_keys=True).encode()).hexdigest()


def plans_in(folder: Path, graph: str) -> list[Path]:
    """The plans of a graph in an export, by name."""
    return sorted(folder.glob(f"{graph}-sm*{SUFFIX}"))


def lock_path(plan: Path) -> Path:
    """The file that is locked while a plan is built."""
    return plan.with_name(f".{plan.name}.lock")


@contextmanager
def one_builder(plan: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Held while a plan is built; a second process waits, told by `on_wait`, and then finds it built."""
    lock = FileLock(lock_path(plan))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    except OSError as error:
        raise DpmError(f"{plan.parent} cannot be written ({error.strerror}); copy the export elsewhere") from error
    try:
        yield
    finally:
        lock.release()


def require_room(folder: Path, source_bytes: int) -> None:
    """A plan is about as large as the weights of its graph.

    Raises:
        DpmError: the disk has not enough room for one.
    """
    needed, free = source_bytes + SPARE, shutil.disk_usage(folder).free
    if free < needed:
        raise DpmError(
            f"{folder} has {_megabytes(free)} MB free, a plan needs about {_megabytes(needed)} MB; make room"
        )


def write_plan(plan: Path, content: memoryview, describe: Callable[[str, int], Sidecar]) -> Sidecar:
    """Put a plan and its sidecar in place; on any failure, neither.

    Args:
        plan: where.
        content: its bytes.
        describe: makes the sidecar of the plan's checksum and size.

    Raises:
        DpmError: the disk is full, or nothing can be written there.
    """
    sidecar = describe(hashlib.sha256(content).hexdigest(), content.nbytes)
    # A plan without its sidecar is not looked at; an old sidecar must not speak for a new plan.
    sidecar_path(plan).unlink(missing_ok=True)
    try:
        with atomic_file(plan) as unfinished:
            unfinished.write_bytes(content)
        write_sidecar(plan, sidecar)
    except OSError as error:
        plan.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise DpmError(
                f"no room for {plan} ({_megabytes(content.nbytes)} MB); make room, nothing was kept"
            ) from error
        raise DpmError(f"{plan} cannot be written ({error.strerror}); copy the export elsewhere") from error
    return sidecar


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f}"
