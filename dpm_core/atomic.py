# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DpmError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A name to write to; the file takes its own name when the block ends well, and is removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(0o666 & ~_umask())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class AtomicFolder:
    """A folder that is written under another name beside, and takes its own when it is complete.

    Attributes:
        path: the name it will have.
        unfinished: where to write.
    """

    def __init__(self, path: Path, mark: str, overwrite: bool) -> None:
        """mark: a file that every such folder holds; only a folder with it is ever overwritten.

        Raises:
            DpmError: something is there that may not be overwritten, or nothing can be written there.
        """
        self.path = path
        _check_free(path, mark, overwrite)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise DpmError(f"{path} cannot be written ({error.strerror}); choose another --out") from error
        self.unfinished.chmod(0o777 & ~_umask())

    def finish(self) -> None:
        """Give it its name; what was there goes."""
        if not self.path.exists():
            self.unfinished.rename(self.path)
            return
        old = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.old.", dir=self.path.parent))
        os.replace(self.path, old)
        self.unfinished.rename(self.path)
        shutil.rmtree(old)

    def abandon(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.unfinished, ignore_errors=True)


def _check_free(path: Path, mark: str, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise DpmError(f"{path} is there already; choose another --out, or give --overwrite to replace it")
    if not (path / mark).is_file():
        raise DpmError(f"{path} has no {mark}, so it is not a result of ours and is not replaced; choose another --out")
