# SPDX-License-Identifier: Apache-2.0
"""Depth, path, flow and track metrics give the numbers of the published evaluation code."""

import json
from dataclasses import astuple

import numpy as np
import pytest
import torch

from dpm_core.geometry.rotations import rotation_from_quaternion
from training.evaluation.depth import DepthProtocol, depth_metrics
from training.evaluation.flow import flow_metrics
from training.evaluation.tracks import Tracks, track_metrics
from training.evaluation.trajectory import trajectory_metrics

ALIGN_FLAGS = {
    "align_with_lstsq": "least_squares",
    "align_with_lad": "least_absolute",
    "align_with_lad2": "least_absolute_adam",
    "align_with_scale": "scale",
}


class Case:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.arrays = np.load(folder / "io.npz")

    def __getitem__(self, name):
        return self.arrays[name]

    def numbered(self, stem, suffix):
        return [f"{stem}{i}" for i in range(100) if f"{stem}{i}_{suffix}" in self.arrays]


def pytest_generate_tests(metafunc):
    folders = [
        config.parent
        for config in sorted(metafunc.config.getoption("golden").glob("*/config.json"))
        if "depth0_gt" in json.loads(config.read_text()).get("inputs", {})
    ]
    metafunc.parametrize("case", [Case(folder) for folder in folders], ids=[folder.name for folder in folders])


def protocol(variant):
    flags = [ours for theirs, ours in ALIGN_FLAGS.items() if variant.get(theirs)]
    return DepthProtocol(
        align=flags[0] if flags else "median",
        max_depth=variant["max_depth"],
        before=(variant.get("pre_clip_min"), variant.get("pre_clip_max")),
        after=(variant.get("post_clip_min"), variant.get("post_clip_max")),
        disparity=variant.get("disp_input", False),
    )


def test_depth(case):
    for depth in case.numbered("depth", "gt"):
        truth, predicted, mask = (torch.from_numpy(case[f"{depth}_{part}"]) for part in ("gt", "pred", "mask"))
        for name, variant in case.config["settings"]["depth_variants"].items():
            given = 1 / predicted if variant.get("disp_input") else predicted
            found = depth_metrics(given, truth, protocol(variant), mask if "custom_mask" in variant else None)
            noise = case.config["outputs"][f"{depth}_{name}"]["noise_floor"]["max_rel"]
            golden = case[f"{depth}_{name}"]
            *metrics, pixels = astuple(found)
            assert pixels == golden[7]
            np.testing.assert_allclose(metrics, golden[:7], rtol=max(1e-4, 10 * noise), err_msg=name)


def poses(xyz_wxyz):
    matrices = np.tile(np.eye(4), (len(xyz_wxyz), 1, 1))
    matrices[:, :3, :3] = rotation_from_quaternion(torch.from_numpy(xyz_wxyz[:, [4, 5, 6, 3]]))
    matrices[:, :3, 3] = xyz_wxyz[:, :3]
    return matrices


def test_paths(case):
    for path in case.numbered("traj", "gt"):
        found = trajectory_metrics(
            case[f"{path}_pred_time"],
            poses(case[f"{path}_pred"]),
            case[f"{path}_gt_time"],
            poses(case[f"{path}_gt"]),
        )
        np.testing.assert_allclose(astuple(found), case[f"{path}_result"], rtol=1e-6, atol=1e-9)


def test_flow(case):
    flows = case.numbered("flow", "gt")
    predicted, truth, valid = (
        torch.from_numpy(np.stack([case[f"{flow}_{part}"] for flow in flows])) for part in ("pred", "gt", "valid")
    )
    found = flow_metrics(predicted, truth, valid >= 0.5)
    np.testing.assert_allclose([found.epe, found.outliers], case["flow_result"], rtol=1e-5)
    np.testing.assert_allclose(found.per_image, case["flow_per_image_epe"], rtol=1e-5)


@pytest.mark.parametrize("fixed", [False, True], ids=["pixels", "metres"])
def test_tracks(case, fixed):
    predicted, truth = (Tracks(case[f"track_{name}"], ~case[f"track_{name}_occluded"]) for name in ("pred", "gt"))
    focal = None if fixed else tuple(case["track_intrinsics"][:2])
    suffix = "_fixed" if fixed else ""
    for name in ("median", "mean", "none", "per_trajectory", "median_on_queries", "reproduce_2d"):
        found = track_metrics(predicted, truth, name, focal, case["track_queries"][:, 0])
        ours = [found.points_within, found.jaccard, found.occlusion_accuracy]
        ours += [*found.points_within_each, *found.jaccard_each]
        np.testing.assert_allclose(ours, case[f"track_{name}{suffix}"], rtol=1e-9, err_msg=name)
