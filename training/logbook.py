# SPDX-License-Identifier: Apache-2.0
"""What a run tells: lines of JSON in its folder always, TensorBoard and Weights & Biases where they are installed."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO


class Logbook:
    """Numbers by step, appended to `metrics.jsonl`; a context manager.

    W&B is used where it is installed and the environment names a project (WANDB_PROJECT).
    """

    def __init__(self, folder: Path, first_step: int, config: Mapping[str, Any]) -> None:
        """Start after `first_step`: what an interrupted run wrote beyond it is dropped, since it will be done again."""
        self._path = folder / "metrics.jsonl"
        kept = [line for line in read(self._path) if line["step"] <= first_step]
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(fresh, self._path)
        self._file: TextIO = self._path.open("a")
        self._board = _tensorboard(folder, first_step)
        self._wandb = _wandb(folder, config)

    def __enter__(self) -> Logbook:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()

    def write(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Numbers of a group ("train", "validation") at a step."""
        self._file.write(json.dumps({"step": step, "group": group, **values}) + "\n")
        self._file.flush()
        named = {f"{group}/{name}": value for name, value in values.items()}
        if self._board is not None:
            for name, value in named.items():
                self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log(named, step=step)


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; one cut short by a kill is left out. None where there is no file."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def _tensorboard(folder: Path, first_step: int) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1)


def _wandb(folder: Path, config: Mapping[str, Any]) -> Any:
    if importlib.util.find_spec("wandb") is None or not os.environ.get("WANDB_PROJECT"):
        return None
    import wandb

    return wandb.init(dir=str(folder), id=folder.name, resume="allow", config=dict(config))
