# SPDX-License-Identifier: Apache-2.0
"""Readers of public data sets: each a small file, all giving `training.records.Window`."""

from __future__ import annotations

import difflib

from dpm_core.errors import DpmError

from . import (
    blendedmvs,
    blinkvision,
    carla,
    dynamicreplica,
    kitti,
    kubric,
    nyuv2,
    paralleldomain4d,
    pointodyssey,
    rgbd_benchmark,
    scannet,
    scannetpp,
    sintel,
    spring,
    tartanair,
    waymo,
)
from .clip import Clip, Dataset, UndecodableError
from .source import DatasetSource

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        kubric.F,
        kubric.G,
        pointodyssey.DATASET,
        tartanair.DATASET,
        spring.DATASET,
        blinkvision.INDOOR,
        blinkvision.OUTDOOR,
        dynamicreplica.DATASET,
        paralleldomain4d.DATASET,
        carla.DATASET,
        waymo.DATASET,
        scannetpp.DATASET,
        blendedmvs.DATASET,
        sintel.DATASET,
        rgbd_benchmark.TUM,
        rgbd_benchmark.BONN,
        kitti.DATASET,
        nyuv2.DATASET,
        scannet.DATASET,
    )
}


def find_dataset(name: str) -> Dataset:
    """The reader of that name.

    Raises:
        DpmError: there is none.
    """
    if name not in DATASETS:
        nearest = difflib.get_close_matches(name, DATASETS, 1, 0.0)[0]
        raise DpmError(f"no data set is called '{name}'; did you mean '{nearest}'? There are {', '.join(DATASETS)}")
    return DATASETS[name]


__all__ = ["DATASETS", "Clip", "Dataset", "DatasetSource", "UndecodableError", "find_dataset"]
