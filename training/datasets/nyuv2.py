# SPDX-License-Identifier: Apache-2.0
"""NYU Depth v2 (Silberman et al., ECCV 2012): single labelled frames of rooms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpm_core.types import UInt8

from . import files
from .clip import Clip, Dataset, StaticClip, UndecodableError, View, need

CAMERA = files.pinhole(518.8579, 519.4696, 325.5824, 253.7362)
"""Of the toolbox, colour camera."""


class NyuClip(StaticClip):
    """One frame."""

    def __init__(self, file: Path, index: int) -> None:
        super().__init__(f"nyuv2/{index:04d}")
        self._file, self._index = file, index

    def __len__(self) -> int:
        return 1

    def view(self, index: int) -> View:
        """MATLAB stores columns first."""
        image, depth = _frame(self._file, self._index)
        return View(image, depth, CAMERA, np.eye(4), seconds=0.0)


@files.decodes
def _frame(path: Path, index: int) -> tuple[UInt8, np.ndarray]:
    import h5py

    with h5py.File(path) as file:
        return np.ascontiguousarray(file["images"][index].T), np.ascontiguousarray(file["depths"][index].T)


def clips(folder: Path) -> list[Clip]:
    """The frames of the test split, 654 of them."""
    import h5py

    labelled = need(folder / "nyu_depth_v2_labeled.mat")
    from scipy.io import loadmat

    numbers = loadmat(need(folder / "splits.mat"))["testNdxs"].ravel()
    try:
        with h5py.File(labelled) as file:
            count = len(file["images"])
    except (OSError, KeyError) as error:
        raise UndecodableError(f"nyuv2: {labelled} cannot be decoded ({error}); download it again") from error
    return [NyuClip(labelled, int(number) - 1) for number in numbers if number <= count]


DATASET = Dataset(
    name="nyuv2",
    origin="https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html (labelled set), and splits.mat of its page",
    layout="""
    nyu_depth_v2_labeled.mat   HDF5: images [N, 3, 640, 480], depths [N, 640, 480] in metres
    splits.mat                 testNdxs, counted from 1
    """,
    clips=clips,
)
