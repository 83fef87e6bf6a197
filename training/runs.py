# SPDX-License-Identifier: Apache-2.0
"""Training runs that have names: the papers', and ours."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dpm_core import models
from dpm_core.errors import DpmError

from .config import DataConfig, OptimiserConfig, RunConfig, from_json
from .losses import D2USt3RLoss, PomatoPairLoss, PomatoTemporalLoss
from .sampling import mixture

UNUSED_TOKEN = "aggregator.patch_embed.mask_token"
"""DINOv2's; images are never masked here."""


def _mini() -> RunConfig:
    return RunConfig(
        model="vdpm-mini",
        network=models.VDPM_MINI,
        frozen=(UNUSED_TOKEN,),
        optimiser=OptimiserConfig(lr=4e-4, ema=0.999),
        examples=2_000_000,
        out="runs/vdpm-mini",
    )


def _tiny() -> RunConfig:
    """Minutes on two CPU cores, to see that everything works."""
    encoder = models.EncoderConfig(image_size=70, dim=64, depth=3, heads=2, registers=1)
    network = replace(
        models.VDPM_MINI,
        aggregator=models.AggregatorConfig(encoder=encoder, dim=64, depth=4, heads=2, taps=(0, 1, 2, 3)),
        camera=models.CameraHeadConfig(depth=1, heads=2, iterations=2),
        dpt=models.DptConfig(features=16, channels=(16, 16, 32, 32), hidden=16),
        decoder=models.AdaptiveDecoderConfig(depth=1, heads=2, mlp_ratio=2.0),
    )
    return replace(
        _mini(),
        network=network,
        data=DataConfig(mixture="synthetic-tiny", validation="synthetic-tiny", height=56, width=70),
        optimiser=OptimiserConfig(lr=2e-3, ema=0.98),
        examples=2000,
        precision="fp32",
        out="runs/vdpm-tiny",
        log_every=10,
        validate_every=25,
        save_every=100,
        validation_batches=6,
    )


def _vdpm() -> RunConfig:
    # Supplement §6: 60 epochs, base rate 1.5e-4, cosine; reference sheet §3.5: warm-up 3 epochs, least rate 1e-6, DINO
    # frozen, initial weights from VGGT. The supplement states no size of images; VGGT's width is taken, at 4:3.
    return RunConfig(
        model="vdpm",
        network=models.VDPM,
        frozen=("aggregator.patch_embed.",),
        data=DataConfig("vdpm", "vdpm", folder="data", height=392, width=518, workers=8),
        optimiser=OptimiserConfig(lr=1.5e-4, least_lr=1e-6, warmup=3 / 60, ema=0.0),
        examples=60 * mixture("vdpm").epoch,
        parallel="fsdp",
        checkpointing=True,
        out="runs/vdpm",
    )


_ENCODER = ("patch_embed.", "mask_token", "enc_blocks.", "enc_norm.")
_UNUSED_LAYERS = ("*.refinenet4.resConfUnit1.",)
"""Of the published DPT heads: the coarsest level has nothing to be added to it."""


def _pairs(model: str, network: object, loss: object, mix: str, epochs: int, accumulate: int) -> RunConfig:
    return RunConfig(
        model=model,
        network=network,
        loss=loss,
        frozen=(*_ENCODER, *_UNUSED_LAYERS),
        data=DataConfig(mix, mix, folder="data", height=288, width=512, workers=8),
        optimiser=OptimiserConfig(lr=5e-5, least_lr=1e-6, warmup=0.05, accumulate=accumulate, ema=0.0),
        examples=epochs * mixture(mix).epoch,
        out=f"runs/{model}",
    )


def _d2ust3r() -> RunConfig:
    return _pairs("d2ust3r", models.D2UST3R, D2USt3RLoss(), "d2ust3r", epochs=50, accumulate=2)


def _pomato() -> RunConfig:
    return _pairs("pomato", models.POMATO, PomatoPairLoss(), "pomato-pairs", epochs=10, accumulate=4)


def _pomato_12() -> RunConfig:
    # Reference sheet §7.2: the decoder learns nothing in this stage, heads and motion modules do.
    config = _pairs("pomato-12", models.POMATO_12, PomatoTemporalLoss(), "pomato-temporal", epochs=10, accumulate=4)
    return replace(config, frozen=(*config.frozen, "decoder_embed.", "dec_blocks.", "dec_blocks2.", "dec_norm."))


RUNS: dict[str, Callable[[], RunConfig]] = {
    "vdpm-mini": _mini,
    "vdpm-tiny": _tiny,
    "vdpm": _vdpm,
    "d2ust3r": _d2ust3r,
    "pomato": _pomato,
    "pomato-12": _pomato_12,
}


def find_run(name: str) -> RunConfig:
    """A named run, or that of a folder or configuration file.

    Raises:
        DpmError: there is none.
    """
    if name in RUNS:
        return RUNS[name]()
    path = Path(name) / "config.json" if Path(name).is_dir() else Path(name)
    if path.is_file():
        return from_json(path.read_text(), str(path))
    nearest = difflib.get_close_matches(name, RUNS, 1)
    meant = f"did you mean '{nearest[0]}'? " if nearest else ""
    raise DpmError(f"no run is called '{name}'; {meant}There are {', '.join(RUNS)}, or give a run's folder")
