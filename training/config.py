# SPDX-License-Identifier: Apache-2.0
"""What a run is, in one value: printed, saved with the run, changed by key=value."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from dpm_core.checkpoints.configs import config_from_json, config_to_json
from dpm_core.errors import DpmError

from .losses import CameraLoss, D2USt3RLoss, MatchingLoss, PomatoPairLoss, PomatoTemporalLoss, VDPMLoss


@dataclass(frozen=True)
class DataConfig:
    """Where windows come from.

    Attributes:
        mixture: a name in `training.sampling.MIXTURES`.
        validation: the same, for validation; its seeds are never trained on.
        folder: holds the data sets' folders, each under its name; scenes that are made need none.
        height, width: of the images, pixels.
        workers: processes that read or make windows ahead, on the CPU; 0 does it in the training process.
        bad_share: share of windows that may fail to decode before the run stops.
        photographs: folder of pictures that made scenes wear, or "".
    """

    mixture: str = "synthetic"
    validation: str = "synthetic"
    folder: str = ""
    height: int = 168
    width: int = 224
    workers: int = 0
    bad_share: float = 0.01
    photographs: str = ""


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, or Muon beside it, under a linear warm-up and a cosine.

    Attributes:
        matrices: what updates matrices, "adamw" as all papers here, or "muon"; everything else is AdamW's.
        lr: the highest rate.
        least_lr: the rate at the end.
        warmup: share of the run in which the rate rises.
        weight_decay: on matrices; vectors and scalars have none.
        betas: of the moments.
        clip: largest norm of the gradient.
        accumulate: batches a step.
        ema: decay of the averaged weights a step, reached gradually; 0 keeps none.
    """

    matrices: Literal["adamw", "muon"] = "adamw"
    lr: float = 1.5e-4
    least_lr: float = 1e-6
    warmup: float = 0.05
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    accumulate: int = 1
    ema: float = 0.999


@dataclass(frozen=True)
class RunConfig:
    """One training run.

    Attributes:
        model: name in the registry of `dpm_core.checkpoints`; its family decides the task.
        network: sizes of the network.
        weights: file to start from; "" starts from seeded initial weights.
        loss: what is minimised; its kind decides what a batch is asked for.
        frozen: beginnings of names of parameters that stay as they are; "*" stands for anything.
        data: where windows come from.
        optimiser: how weights change.
        examples: windows until the end, on all devices together.
        seed: of weights, windows and everything drawn.
        precision: "bf16" multiplies in bfloat16 where the network allows; weights stay float32.
        parallel: over several devices, "ddp" keeps everything on each, "fsdp" shards weights, gradients and moments.
        checkpointing: whether blocks are run again backwards in place of keeping their insides.
        device: "auto" takes a GPU where there is one.
        out: folder of the run.
        minutes: stop after this time with a checkpoint, to go on later; 0 runs to the end.
        log_every, validate_every, save_every: in steps; 0 never, but the end is always validated and saved.
        validation_batches: on each device.
        keep: newest checkpoints that stay on disk.
        most_skipped: steps in a row that may have no finite gradient before the run stops.
    """

    model: str
    network: Any
    weights: str = ""
    loss: Any = field(default_factory=VDPMLoss)
    frozen: tuple[str, ...] = ()
    data: DataConfig = field(default_factory=DataConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    examples: int = 1_000_000
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "bf16"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    checkpointing: bool = False
    device: str = "auto"
    out: str = "runs/run"
    minutes: float = 0.0
    log_every: int = 20
    validate_every: int = 1000
    save_every: int = 500
    validation_batches: int = 8
    keep: int = 2
    most_skipped: int = 10

    def __post_init__(self) -> None:
        """Refuse values that cannot be."""
        plain = dict(_leaves(to_plain(self)))
        choices = {
            "precision": ("fp32", "bf16"),
            "parallel": ("ddp", "fsdp"),
            "optimiser.matrices": ("adamw", "muon"),
        }
        for name, allowed in choices.items():
            if plain[name] not in allowed:
                raise DpmError(f"{name}={plain[name]} is not possible; choose {' or '.join(allowed)}")
        least = {"examples": 1, "optimiser.accumulate": 1, "optimiser.clip": 0, "keep": 1, "most_skipped": 1}
        for name, bound in least.items():
            if plain[name] < bound:
                raise DpmError(f"{name}={plain[name]} is too small; it must be at least {bound}")


_CLASSES = {
    kind.__name__: kind
    for kind in (
        RunConfig,
        DataConfig,
        OptimiserConfig,
        VDPMLoss,
        CameraLoss,
        MatchingLoss,
        D2USt3RLoss,
        PomatoPairLoss,
        PomatoTemporalLoss,
    )
}


def to_plain(config: Any) -> Any:
    """The configuration as plain values, every dataclass telling its class; for JSON."""
    return config_to_json(config)


def from_plain(plain: Any) -> Any:
    """The configuration of plain values. Only classes of training and of `dpm_core.models` are made.

    Raises:
        DpmError: a class or field is not known, or a value cannot be.
    """
    if isinstance(plain, list):
        return tuple(from_plain(value) for value in plain)
    if not isinstance(plain, dict):
        return plain
    kind = _CLASSES.get(str(plain.get("class")))
    if kind is None:
        return config_from_json(plain)
    known = {entry.name for entry in fields(kind)}
    for name in plain:
        if name != "class" and name not in known:
            raise DpmError(f"configuration has an unknown entry '{name}'{_nearest(name, known)}")
    return kind(**{name: from_plain(value) for name, value in plain.items() if name != "class"})


def changed(config: RunConfig, settings: Sequence[str]) -> RunConfig:
    """The configuration with settings such as "optimiser.lr=1e-4" or "network.aggregator.depth=6".

    All are applied before the values are checked together.

    Raises:
        DpmError: a key does not exist (the nearest is named), or its value is of another kind.
    """
    plain = to_plain(config)
    keys = dict(_leaves(plain))
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise DpmError(f"'{setting}' is no setting; write key=value")
        if key not in keys:
            raise DpmError(f"no setting is called '{key}'{_nearest(key, keys)}")
        *path, last = key.split(".")
        table = plain
        for name in path:
            table = table[name]
        table[last] = _value(key, text, keys[key])
    result = from_plain(plain)
    assert isinstance(result, RunConfig)
    return result


def to_json(config: RunConfig) -> str:
    """Readable JSON."""
    return json.dumps(to_plain(config), indent=2) + "\n"


def from_json(text: str, origin: str) -> RunConfig:
    """The configuration that `to_json` wrote.

    Raises:
        DpmError: it is no configuration of a run.
    """
    try:
        config = from_plain(json.loads(text))
    except ValueError as error:
        raise DpmError(f"{origin} is not JSON ({error}); it should be a run's config.json") from error
    if not isinstance(config, RunConfig):
        raise DpmError(f"{origin} is no configuration of a run; it should be a run's config.json")
    return config


def _leaves(plain: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        elif name != "class":
            yield prefix + name, value


def _nearest(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, known, 1, 0.4)
    return f"; did you mean '{close[0]}'?" if close else ""


def _value(key: str, text: str, current: Any) -> Any:
    """The text as the kind of value that is there now."""
    if isinstance(current, str):
        return text
    try:
        value = json.loads(text.lower() if isinstance(current, bool) else text)
    except ValueError:
        value = None
    if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(current):
        kind = {list: "a list such as " + json.dumps(current), bool: "true or false"}.get(type(current))
        raise DpmError(f"{key}={text} is not possible; it must be {kind or 'of type ' + type(current).__name__}")
    return value
