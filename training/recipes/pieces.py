# SPDX-License-Identifier: Apache-2.0
"""A run's folder as pieces of bounded size, for machines that are lent for minutes and give back small files only."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from pathlib import Path

from dpm_core.atomic import atomic_file
from dpm_core.errors import DpmError
from training import checkpoints

MANIFEST = "pieces.json"
PIECE_BYTES = 16 * 2**20


def split(run: Path, folder: Path, piece_bytes: int = PIECE_BYTES) -> list[Path]:
    """Write what a run needs to go on: its configuration, its log and its newest whole checkpoint.

    Args:
        run: the run's folder.
        folder: for the pieces; older ones there are removed.
        piece_bytes: of a piece at most.

    Returns:
        The pieces; the manifest beside them is written last.

    Raises:
        DpmError: the run has no checkpoint.
    """
    found = checkpoints.latest(run / "checkpoints", print)
    if found is None:
        raise DpmError(f"{run} has no whole checkpoint; train first")
    (folder / MANIFEST).unlink(missing_ok=True)
    for old in folder.glob("piece-*"):
        old.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    stem = run / "checkpoints" / f"step-{found.step:08d}"
    wanted = [run / "config.json", run / "metrics.jsonl", stem.with_suffix(".safetensors"), stem.with_suffix(".json")]
    pieces: list[Path] = []
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path in wanted:
                if path.is_file():
                    tar.add(path, path.relative_to(run))
        archive.seek(0)
        while content := archive.read(piece_bytes):
            path = folder / f"piece-{len(pieces):03d}"
            path.write_bytes(content)
            pieces.append(path)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pieces}
    with atomic_file(folder / MANIFEST) as unfinished:
        unfinished.write_text(json.dumps({"step": found.step, "sha256": sums}, indent=1))
    return pieces


def join(folder: Path, run: Path) -> int:
    """The run's folder again. Returns the checkpoint's step.

    Raises:
        DpmError: there is no manifest, or a piece is missing or damaged; then nothing is written.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        sums: dict[str, str] = manifest["sha256"]
        step = int(manifest["step"])
    except (OSError, ValueError, KeyError) as error:
        raise DpmError(f"{folder} holds no pieces of a run; expected {MANIFEST}, as a stretch leaves it") from error
    with tempfile.TemporaryFile() as archive:
        for name, expected in sums.items():
            path = folder / Path(name).name
            content = path.read_bytes() if path.is_file() else b""
            found = hashlib.sha256(content).hexdigest() if content else "nothing"
            if found != expected:
                raise DpmError(f"{path} has SHA-256 {found}, not {expected}; copy the pieces again")
            archive.write(content)
        archive.seek(0)
        run.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=archive) as tar:
            tar.extractall(run, filter="data")
    return step
