# SPDX-License-Identifier: Apache-2.0
"""Golden cases that are arrays alone: inputs, outputs, and what may differ."""

import json

import numpy as np
import torch

from dpm_core.geometry.pairs import PairMaps


class Case:
    """One folder: `case["name"]` is an array of it, as a tensor."""

    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.settings, self.outputs = self.config.get("settings", {}), self.config["outputs"]
        self._arrays = np.load(folder / "io.npz")

    def __contains__(self, name):
        return name in self._arrays

    def __getitem__(self, name):
        return torch.from_numpy(self._arrays[name])

    def flow(self, name):
        """[E, H, W, 2] of a flow that is stored channels first."""
        return self[name].permute(0, 2, 3, 1)

    def pairs(self, prefix=""):
        names = ["pts3d", "conf", "pts3d_in_other_view", "conf_other_view", "pts3d_dynamic", "conf_dynamic"]
        edges = tuple(tuple(edge) for edge in self[f"{prefix}edges"].tolist())
        return PairMaps(edges, *(self[prefix + name] for name in names if prefix + name in self))

    def expect(self, name, ours, tolerance):
        """Largest difference ≤ tolerance × the largest golden value."""
        golden = self[name].double().numpy()
        ours = np.asarray(ours.detach() if isinstance(ours, torch.Tensor) else ours, np.float64)
        error = np.abs(ours.reshape(golden.shape) - golden).max() / max(np.abs(golden).max(), 1e-12)
        assert error <= tolerance, f"{name}: {error:.3g} of the largest value, {tolerance:.3g} allowed"

    def expect_mask(self, name, ours, share):
        """At most this share of the pixels differ."""
        different = float((ours.numpy().astype(bool) != self[name].numpy().reshape(ours.shape).astype(bool)).mean())
        assert different <= share, f"{name}: {different:.3%} of the pixels differ, {share:.3%} allowed"


def cases_with(metafunc, array):
    """Parametrises `case` by every folder whose case holds this array."""
    folders = [
        config.parent
        for config in sorted(metafunc.config.getoption("golden").glob("*/config.json"))
        if array in json.loads(config.read_text()).get("inputs", {})
    ]
    metafunc.parametrize("case", [Case(folder) for folder in folders], ids=[folder.name for folder in folders])
