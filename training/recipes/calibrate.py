# SPDX-License-Identifier: Apache-2.0
"""`python -m training.recipes.calibrate MODEL`: what a network's confidence and motion are worth, and the thresholds.

On scenes that are never trained on, half of them still worlds. Three questions, each answered by figures:
does the error fall with confidence; from which motion on is a pixel moving; how steady is the unit of length.
The session's `dynamic_floor` becomes the one with the best mask among those that are quiet on still worlds, and
`min_confidence` the confidence below which the worst fifth of the pixels lies.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor

from dpm_core.cli.arguments import write_json
from dpm_core.engines import open_engine
from dpm_core.engines.protocol import Engine
from dpm_core.errors import DpmError
from dpm_core.geometry.sim3 import DegenerateError, robust_sim3
from dpm_core.kernels import pointmap_dynamic_mask
from dpm_core.stream import SessionConfig
from dpm_core.types import Prediction
from training.evaluation.protocols import MaskCount
from training.records import Window
from training.synthetic import SyntheticConfig, SyntheticScenes

SEED = 1_000_004
"""Of the scenes: neither training's streams nor that of `dpm-eval`."""
FLOORS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.18, 0.25)
QUIET = 0.02
"""Share of pixels of still worlds that may be said to move (issue of the bundled model)."""
WORST = 0.2
_TENTHS = 10
_FRAMES = SessionConfig().window
_PIXELS_A_VIEW = 400


@dataclass
class Collected:
    """Of many windows.

    Attributes:
        conf, error: of sampled pixels; the error is relative to the pixel's distance, after one scale a window.
        masks: by floor.
        steps: |log scale| between neighbouring windows of a scene.
    """

    conf: list[Tensor] = field(default_factory=list)
    error: list[Tensor] = field(default_factory=list)
    masks: dict[float, MaskCount] = field(default_factory=lambda: dict.fromkeys(FLOORS, MaskCount()))
    steps: list[float] = field(default_factory=list)


def calibrate(engine: Engine, scenes: int, seed: int, told: Callable[[int], None]) -> dict[str, Any]:
    """All figures.

    Args:
        engine: the model.
        scenes: how many; every second one is a still world.
        seed: of the scenes.
        told: called with the number of scenes done.

    Returns:
        "confidence": error by tenths of confidence, lowest first, and the rank correlation; "masks": IoU and false
        motion by floor; "scale_step": median |log scale| from window to window; "chosen": the session's thresholds,
        None where no floor is quiet and finds anything that moves.
    """
    height, width = engine.fit(168, 224).size
    stream = SyntheticScenes(SyntheticConfig(height, width, _FRAMES + 1), seed, engine.device)
    found = Collected()
    for index in range(scenes):
        window = stream.window([index], times=(0, _FRAMES - 1), still_world=float(index % 2)).to("cpu")
        _collect(engine, window, found)
        told(index + 1)
    return _figures(found)


@torch.inference_mode()
def _collect(engine: Engine, window: Window, found: Collected) -> None:
    size = window.size
    tokens = [engine.encode(image.to(engine.device)) for image in window.images[0]]
    first, second = (engine.predict(tokens[at : at + _FRAMES], size, (_FRAMES - 1, 0)) for at in (0, 1))
    conf, error = pixel_errors(first, window)
    found.conf.append(conf)
    found.error.append(error)
    for floor, count in found.masks.items():
        found.masks[floor] = count.add(*_mask(first, window, floor))
    shared = [
        (p.own_points[part].flatten(0, 2)[::7].double(), p.own_conf[part].flatten()[::7].double())
        for p, part in ((second, slice(0, -1)), (first, slice(1, None)))
    ]
    try:
        scale = robust_sim3(shared[0][0], shared[1][0], shared[0][1] * shared[1][1]).scale
        found.steps.append(abs(float(torch.tensor(scale).log())))
    except DegenerateError:
        found.steps.append(float("inf"))


def pixel_errors(prediction: Prediction, window: Window) -> tuple[Tensor, Tensor]:
    """Confidence and relative error of sampled pixels, each view at its own time.

    Args:
        prediction: of the first S frames of the window.
        window: B = 1, at least S frames.

    Returns:
        [N] and [N]: the network's confidence, and ‖point - truth‖ / ‖truth‖ after the median scale of the window.
    """
    views = len(prediction.own_points)
    own, valid = window.in_camera(0).own_points()
    truth, known = own[0, :views], valid[0, :views]
    said = prediction.own_points.cpu()
    distance = truth[known].norm(dim=-1)
    scale = (distance / said[known].norm(dim=-1).clamp_min(1e-6)).median()
    error = (scale * said[known] - truth[known]).norm(dim=-1) / distance.clamp_min(1e-6)
    conf = prediction.own_conf.cpu()[known]
    step = max(1, len(conf) // (_PIXELS_A_VIEW * views))
    return conf[::step], error[::step]


def _mask(prediction: Prediction, window: Window, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Said to move, moves, is known: [H, W] of the window's newest frame, as the session sees it."""
    now, past = (points[-1:].float().contiguous() for points in prediction.points)
    newest = len(prediction.own_points) - 1
    camera_from_world = torch.linalg.inv(prediction.world_from_camera[newest])
    depth = prediction.own_points[newest] @ camera_from_world[2, :3] + camera_from_world[2, 3]
    config = SessionConfig()
    said = pointmap_dynamic_mask(
        now, past, factor=config.dynamic_factor, floor=floor * float(depth.median().clamp_min(1e-6))
    )
    own, valid = window.own_points()
    travel = (window.points[0, 0, newest] - own[0, newest]).norm(dim=-1)
    return said[0].cpu(), travel > 0.005 * window.depth[0, newest], valid[0, newest]


def _figures(found: Collected) -> dict[str, Any]:
    conf, error = torch.cat(found.conf), torch.cat(found.error)
    order = conf.argsort()
    tenths = [
        {
            "confidence": float(conf[part].mean()),
            "error": float(error[part].mean()),
            "median": float(error[part].median()),
        }
        for part in order.chunk(_TENTHS)
    ]
    masks = {floor: count.figures() for floor, count in found.masks.items()}
    quiet = [
        floor
        for floor, figures in masks.items()
        if figures.get("false_motion", 0.0) < QUIET and figures.get("mask_iou", 0.0) > 0
    ]
    best = max(quiet, key=lambda floor: masks[floor].get("mask_iou", 0.0)) if quiet else None
    steps = torch.tensor(found.steps)
    return {
        "pixels": len(conf),
        "confidence": {"tenths": tenths, "rank_correlation": rank_correlation(conf, error)},
        "masks": {str(floor): figures for floor, figures in masks.items()},
        "scale_step": {
            "median": float(steps.median()),
            "worst_tenth": float(steps.sort().values[-max(1, len(steps) // 10)]),
        },
        "chosen": {"dynamic_floor": best, "min_confidence": float(conf[order[int(WORST * len(conf))]])},
    }


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's: Pearson's of the ranks. [N] each; near -1 where the error falls with confidence."""
    ranks = [values.argsort().argsort().double() for values in (one, other)]
    a, b = (rank - rank.mean() for rank in ranks)
    return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12))


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 2 for bad input, said in one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.recipes.calibrate", description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="a name, as `dpm weights list` shows them")
    parser.add_argument("--weights", type=Path, help="a file in place of the model's own")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--scenes", type=int, default=60, help="how many, half of them still (default 60)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the scenes (default {SEED})")
    parser.add_argument("--json", type=Path, help="write the figures there")
    asked = parser.parse_args(argv)
    try:
        if asked.scenes < 2:
            raise DpmError(f"--scenes is {asked.scenes}; it must be 2 or more, one still and one that moves")
        engine = open_engine(asked.model, asked.weights, asked.device)
        with Progress(transient=True) as progress:
            task = progress.add_task("scenes", total=asked.scenes)
            figures = calibrate(engine, asked.scenes, asked.seed, lambda done: progress.update(task, completed=done))
        _show(figures)
        if asked.json is not None:
            write_json(asked.json, {"model": engine.name, "scenes": asked.scenes, "seed": asked.seed, **figures})
    except DpmError as error:
        print(f"dpm: {error}", file=sys.stderr)
        return 2
    return 0


def _show(figures: dict[str, Any]) -> None:
    print("confidence   error (mean, median)")
    for tenth in figures["confidence"]["tenths"]:
        print(f"{tenth['confidence']:10.3f}   {tenth['error']:.3f}  {tenth['median']:.3f}")
    print(f"rank correlation {figures['confidence']['rank_correlation']:.3f}")
    print("floor   mask IoU   false motion on still worlds")
    for floor, masks in figures["masks"].items():
        print(f"{floor:>5}   {masks.get('mask_iou', 0.0):.3f}      {masks.get('false_motion', 0.0):.4f}")
    print(f"scale from window to window: {figures['scale_step']}")
    print(f"chosen: {figures['chosen']}")


if __name__ == "__main__":
    sys.exit(main())
