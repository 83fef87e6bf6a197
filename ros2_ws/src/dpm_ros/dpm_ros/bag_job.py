# SPDX-License-Identifier: Apache-2.0
"""The folder of what is done of a bag so far: found again after a kill, by one process at a time."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dpm_core.atomic import atomic_file
from dpm_core.errors import DpmError

from .bags import unwritable


@contextmanager
def unfinished(out: Path, about: Mapping[str, Any], restart: bool) -> Iterator[Path]:
    """The folder beside `out`, which stays where the block does not end well.

    Args:
        out: what is being made.
        about: all that it depends on, plain values.
        restart: forget what was done.

    Raises:
        DpmError: another process works there, what is there was begun with other settings, or it cannot be written.
    """
    folder = out.with_name(f".{out.name}.unfinished")
    with unwritable(out):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DpmError(f"another process is writing {out}; let it end, or choose another --out") from error
        _begin_or_go_on(folder, about, restart)
        yield folder
        shutil.rmtree(folder)


def _begin_or_go_on(folder: Path, about: Mapping[str, Any], restart: bool) -> None:
    note, text = folder / "job.json", json.dumps(about, indent=1, sort_keys=True)
    if note.exists() and not restart:
        difference = _difference(json.loads(note.read_text()), json.loads(text))
        if difference is None:
            return
        raise DpmError(f"{folder} was begun with other settings ({difference}); give those, or --restart")
    for done in folder.glob("camera-*"):
        shutil.rmtree(done)
    with unwritable(folder), atomic_file(note) as file:
        file.write_text(text)


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            return f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
    return None
