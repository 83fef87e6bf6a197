# SPDX-License-Identifier: Apache-2.0
"""A run's weights as the file that the runtime loads: `python -m training.export RUN FILE.safetensors`.

The averaged weights are taken where there are any. The file is tried on real frames, as the runtime would load it,
before it gets its name.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dpm_core.checkpoints import load_network
from dpm_core.checkpoints.convert import Precision, write_weights
from dpm_core.checkpoints.registry import NetworkSpec
from dpm_core.errors import DpmError
from dpm_core.io import open_source
from dpm_core.kernels import prepare_images
from dpm_core.types import Frame, Prediction

from . import checkpoints
from .config import RunConfig, from_json
from .state import spec_of_run

LARGEST_DIFFERENCE = 0.02
"""Of points from half-precision weights, relative to their distance; the median over pixels."""


def export(run: Path, file: Path, frames: Sequence[Frame], precision: Precision = "fp16") -> float:
    """Write the weights of a run's newest whole checkpoint.

    Args:
        run: the run's folder.
        file: ends with .safetensors.
        frames: real frames of one camera, two or more; what the file says of them must be what the run's weights say.
        precision: of the file.

    Returns:
        The median relative difference of the points on these frames.

    Raises:
        DpmError: there is no whole checkpoint, or the file does not say the same; then nothing is written.
    """
    found = checkpoints.latest(run / "checkpoints", lambda text: print(f"dpm: {text}", file=sys.stderr))
    about = run / "config.json"
    if found is None or not about.is_file():
        raise DpmError(f"{run} holds no run with a checkpoint; give the folder that dpm-train printed")
    config = from_json(about.read_text(), str(about))
    spec, tensors = spec_of_run(config), _weights(found)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".export-") as folder:
        trial = Path(folder) / file.name
        write_weights(trial, spec, tensors, precision, _about(config, found))
        difference = _difference(spec, tensors, trial, frames)
        if not difference <= LARGEST_DIFFERENCE:
            raise DpmError(
                f"{precision} weights say something else on {len(frames)} frames: points differ by {difference:.2%}, "
                f"allowed are {LARGEST_DIFFERENCE:.0%}; train on, or export with --precision fp32"
            )
        trial.replace(file)
    return difference


def _weights(found: checkpoints.Checkpoint) -> dict[str, Tensor]:
    return checkpoints.part(found.tensors, "average.") or checkpoints.part(found.tensors, "model.")


def _about(config: RunConfig, found: checkpoints.Checkpoint) -> dict[str, object]:
    return {
        "steps": found.step,
        "examples": found.plain["position"][1],
        "seed": config.seed,
        "mixture": config.data.mixture,
        "trained_size": [config.data.height, config.data.width],
    }


def _difference(spec: NetworkSpec, tensors: dict[str, Tensor], file: Path, frames: Sequence[Frame]) -> float:
    network = spec.build()
    network.load_state_dict(tensors)
    loaded = load_network(spec.name, file)
    ours, theirs = (predicted(one.eval(), loaded.spec, frames) for one in (network, loaded.network))
    for name in ("own_points", "points", "world_from_camera"):
        if not getattr(theirs, name).isfinite().all():
            raise DpmError(
                f"the exported network gives {name} that are not finite on real frames; train on from before"
            )
    apart = torch.linalg.vector_norm(ours.points - theirs.points, dim=-1)
    return float((apart / torch.linalg.vector_norm(ours.points, dim=-1).clamp(min=1e-6)).median())


@torch.no_grad()
def predicted(network: nn.Module, spec: NetworkSpec, frames: Sequence[Frame]) -> Prediction:
    """What a network says of frames as one window, at the first and the last time.

    Raises:
        DpmError: there are fewer than two frames, or they are of different sizes.
    """
    if len(frames) < 2 or len({frame.image.shape for frame in frames}) > 1:
        raise DpmError("the check needs two or more frames of one size; give a video, a folder or a bag")
    fit = spec.fit(*frames[0].image.shape[:2])
    pixels = torch.from_numpy(np.stack([frame.image for frame in frames]))
    images = prepare_images(pixels, fit.resized, fit.origin, fit.size, filter=fit.filter)
    prediction: Prediction = network.predict(network.encode(images), fit.size, (0, len(frames) - 1))  # type: ignore[operator]
    return prediction


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 2 for bad input, said in one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder that dpm-train made")
    parser.add_argument("file", type=Path, help="the file to write, .safetensors")
    parser.add_argument("--frames", default="demo/walking", help="real frames: a video, a folder of images or a bag")
    parser.add_argument("--precision", choices=("fp16", "fp32"), default="fp16")
    arguments = parser.parse_args(argv)
    try:
        with open_source(arguments.frames, every=5, limit=4) as source:
            frames = list(source)
        difference = export(arguments.run, arguments.file, frames, arguments.precision)
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.file}: {arguments.file.stat().st_size / 1e6:.1f} MB, differs by {difference:.3%} on real frames")
    return 0


if __name__ == "__main__":
    sys.exit(main())
