# SPDX-License-Identifier: Apache-2.0
"""The training loop: steps, validation, checkpoints, and going on as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from dpm_core.errors import DpmError

from . import checkpoints, ema
from .batches import Batch, Batches, Source
from .config import RunConfig, to_json, to_plain
from .distributed import World, anywhere, gradients_stay_here, mean, wait_for_all
from .logbook import Logbook
from .sampling import Position, Sampler, mixture
from .schedule import learning_rate
from .state import TrainState
from .tasks import task_of

VALIDATION_SEED = 0x7A11DA7E
"""Of validation windows: a stream of its own, which training meets only if it is given this very seed."""


@dataclass
class Progress:
    """How far a run is; all that a checkpoint needs beside tensors.

    Attributes:
        step: optimiser steps.
        position: of the sampler.
        skipped: steps without a finite gradient, in all.
        undecodable: windows that could not be decoded, in all.
    """

    step: int = 0
    position: Position = field(default_factory=Position)
    skipped: int = 0
    undecodable: int = 0


class Trainer:
    """One run, in its folder. `stop` may be set from outside: the run ends with a checkpoint after the step."""

    def __init__(self, config: RunConfig, here: World, source: Source, say: Callable[[str], None] = print) -> None:
        """Build everything, and take the newest whole checkpoint of the run's folder where there is one.

        Args:
            config: the run.
            here: this process.
            source: makes the windows.
            say: tells a person; called in the first process only.
        """
        self.config, self.here, self.source = config, here, source
        self.folder = Path(config.out)
        self.say: Callable[[str], None] = say if here.first else lambda text: None
        self.stop = False
        self.state = TrainState(config, here)
        self.task = task_of(config.loss)
        self.progress = Progress()
        self._in_a_row = 0
        self._resume()

    def run(self) -> bool:
        """Train to the end, or until `stop` or the minutes are over. Returns whether the end was reached."""
        if self.here.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "config.json").write_text(to_json(self.config))
        wait_for_all(self.here)
        started = time.monotonic()
        with self._logbook() as logbook, self._batches() as batches:
            if self.progress.step == 0 and self.config.validate_every > 0:
                self._validate(logbook)
            meter = Meter(self.here)
            while not self._finished():
                self._step(batches, meter)
                step, config = self.progress.step, self.config
                if _due(step, config.log_every):
                    self._log(logbook, meter)
                if _due(step, config.validate_every):
                    self._validate(logbook)
                over = config.minutes > 0 and time.monotonic() - started > 60 * config.minutes
                if anywhere(self.stop or over, self.here):
                    break
                if _due(step, config.save_every):
                    self.save()
            if self._finished():
                self._validate(logbook)
            self.save()
        return self._finished()

    def save(self) -> None:
        """Write a checkpoint."""
        tensors = self.state.tensors()
        progress = self.progress
        if self.here.first:
            plain = {
                "step": progress.step,
                "position": [progress.position.step, progress.position.examples],
                "skipped": progress.skipped,
                "undecodable": progress.undecodable,
                "optimiser": self.state.plain(),
            }
            checkpoint = checkpoints.Checkpoint(progress.step, tensors, plain)
            checkpoints.save(self.folder / "checkpoints", checkpoint, self.config.keep)
        wait_for_all(self.here)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch, with gradients."""
        with self._autocast():
            return self.task(self.state.wrapped, batch.window, batch.request)

    def backward(self, batches: Iterator[Batch]) -> tuple[dict[str, Tensor], list[Batch]]:
        """Gradients of one step over its batches: their mean losses, and the batches themselves."""
        count = self.config.optimiser.accumulate
        used: list[Batch] = []
        total: dict[str, Tensor] = {}
        for index in range(count):
            batch = next(batches)
            used.append(batch)
            last = index == count - 1
            with nullcontext() if last else gradients_stay_here(self.state.wrapped):
                losses = self.losses(batch)
                (losses["loss"] / count).backward()
            for name, value in losses.items():
                total[name] = total.get(name, 0) + value.detach() / count
        return total, used

    def _step(self, batches: Batches, meter: Meter) -> None:
        # Anything drawn from torch's own generator is a function of the step, so that going on repeats it.
        torch.manual_seed(self.config.seed + 1_000_003 * self.progress.step + self.here.rank)
        config, state, progress = self.config.optimiser, self.state, self.progress
        losses, used = self.backward(batches)
        if progress.step == 0:
            state.require_gradients()
        norm = state.clip(config.clip)
        rate = learning_rate(config, used[-1].request.after.examples / self.config.examples)
        batches.look_ahead()  # the device is busy with backward: make the next windows before asking for the norm
        if bool(norm.isfinite()):
            state.update(rate, ema.averaging(config.ema, progress.step))
            self._in_a_row = 0
        else:
            self._skip(used)
        state.forget_gradients()
        progress.step += 1
        progress.position = used[-1].request.after
        progress.undecodable += sum(batch.undecodable for batch in used)
        meter.add(losses, norm, rate, used, batches.waited())

    def _skip(self, used: list[Batch]) -> None:
        """No finite gradient: the weights stay. Stop after several in a row, with the last batches saved."""
        self.progress.skipped += 1
        self._in_a_row += 1
        if self._in_a_row < self.config.most_skipped:
            return
        path = self.folder / f"bad-batch-step-{self.progress.step}-rank-{self.here.rank}.safetensors"
        tensors = {
            f"{index}.{name}": value.detach().cpu().contiguous()
            for index, batch in enumerate(used)
            for name, value in vars(batch.window).items()
            if isinstance(value, Tensor)
        }
        save_file(tensors, path)
        last = f"the last {self.progress.step}; its batch is in {path}"
        raise DpmError(
            f"no finite gradient in {self._in_a_row} steps in a row, {last}; "
            "go on from the last checkpoint with a lower optimiser.lr"
        )

    @torch.no_grad()
    def _validate(self, logbook: Logbook | None) -> None:
        network = self.state.validated()
        network.eval()
        sampler = Sampler(mixture(self.config.data.validation), VALIDATION_SEED, self.here.rank, self.here.size)
        total: dict[str, Tensor] = {}
        count = self.config.validation_batches
        requests = iter(sampler)
        for _ in range(count):
            batch = self.source.batch(next(requests), self.here.device)
            with self._autocast():
                losses = self.task(network, batch.window, batch.request)
            for name, value in losses.items():
                total[name] = total.get(name, 0) + value / count
        network.train()
        if not total:
            return
        values = mean(total, self.here)
        if logbook is not None:
            logbook.write(self.progress.step, "validation", values)
        self.say(f"step {self.progress.step}: validation " + ", ".join(f"{k} {v:.4f}" for k, v in values.items()))

    def _log(self, logbook: Logbook | None, meter: Meter) -> None:
        values = meter.read()
        values |= {"examples": float(self.progress.position.examples), "skipped": float(self.progress.skipped)}
        values["undecodable"] = float(self.progress.undecodable)
        if logbook is not None:
            logbook.write(self.progress.step, "train", values)
        share = self.progress.position.examples / self.config.examples
        self.say(
            f"step {self.progress.step} ({share:.1%}): loss {values['loss']:.4f}, "
            f"{values['examples_per_second']:.1f} windows/s, {values['frames_per_second']:.1f} frames/s, "
            f"{values['waiting']:.0%} waiting for data"
        )

    def _resume(self) -> None:
        found = checkpoints.latest(self.folder / "checkpoints", self.say)
        if found is None:
            return
        plain = found.plain
        self.state.restore(found.tensors, plain["optimiser"])
        self.progress = Progress(plain["step"], Position(*plain["position"]), plain["skipped"], plain["undecodable"])
        self.say(f"going on from step {found.step}")

    def _finished(self) -> bool:
        return self.progress.position.examples >= self.config.examples

    def _batches(self) -> Batches:
        sampler = Sampler(
            mixture(self.config.data.mixture),
            self.config.seed,
            self.here.rank,
            self.here.size,
            self.progress.position,
        )
        return Batches(self.source, sampler, self.here.device, self.config.data)

    def _logbook(self) -> AbstractContextManager[Logbook | None]:
        if not self.here.first:
            return nullcontext()
        return Logbook(self.folder, self.progress.step, to_plain(self.config))

    def _autocast(self) -> AbstractContextManager[object]:
        if self.config.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.here.device.type, torch.bfloat16)


class Meter:
    """Means since the last reading. Numbers stay on the device until they are read."""

    def __init__(self, here: World) -> None:
        self._here = here
        self._clear()

    def _clear(self) -> None:
        self._total: dict[str, Tensor] = {}
        self._steps = self._examples = self._frames = 0
        self._waited = 0.0
        self._since = time.monotonic()

    def add(self, losses: dict[str, Tensor], norm: Tensor, rate: float, used: list[Batch], waited: float) -> None:
        """Take in a step. waited: seconds that this process waited for data."""
        values = {**losses, "gradient_norm": norm, "lr": torch.tensor(rate, device=norm.device)}
        for name, value in values.items():
            self._total[name] = self._total.get(name, 0) + value
        self._steps += 1
        self._examples += sum(len(batch.request.examples) for batch in used)
        self._frames += sum(len(batch.request.examples) * batch.request.length for batch in used)
        self._waited += waited

    def read(self) -> dict[str, float]:
        """The means over steps and devices, and rates over all devices; starts anew."""
        values = mean({name: value / self._steps for name, value in self._total.items()}, self._here)
        seconds = max(1e-9, time.monotonic() - self._since)
        values["examples_per_second"] = self._examples * self._here.size / seconds
        values["frames_per_second"] = self._frames * self._here.size / seconds
        values["waiting"] = self._waited / seconds
        if self._here.device.type == "cuda":
            values["gigabytes"] = torch.cuda.max_memory_allocated(self._here.device) / 1e9
        self._clear()
        return values


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
