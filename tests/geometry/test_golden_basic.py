# SPDX-License-Identifier: Apache-2.0
"""Focal, PnP, Procrustes, pose encoding and the pair viewer give the numbers of the published code."""

import numpy as np
from golden_arrays import cases_with

from dpm_core.geometry.cameras import inverse_rigid, transform, unproject
from dpm_core.geometry.focal import median_focal, weiszfeld_focal
from dpm_core.geometry.pair_viewer import view_pair
from dpm_core.geometry.pnp import solve_pnp
from dpm_core.geometry.pose_encoding import decode_pose, encode_pose
from dpm_core.geometry.rotations import quaternion_from_rotation
from dpm_core.geometry.sim3 import weighted_sim3

EXACT = 1e-6
PNP_VARIANTS = {"known": (True, 10), "known100": (True, 100), "unknown": (False, 10)}


def pytest_generate_tests(metafunc):
    cases_with(metafunc, "focal0_pts3d")


def numbered(case, stem, suffix):
    """focal0, focal1, … of a case."""
    return [f"{stem}{i}" for i in range(100) if f"{stem}{i}_{suffix}" in case]


def test_focal(case):
    for name in numbered(case, "focal", "pts3d"):
        points, centre = case[f"{name}_pts3d"], case[f"{name}_pp"]
        case.expect(f"{name}_weiszfeld", weiszfeld_focal(points, centre), EXACT)
        case.expect(f"{name}_median", median_focal(points, centre), EXACT)
        case.expect(f"{name}_weiszfeld_clipped", weiszfeld_focal(points, centre, (0.9, 1.1)), EXACT)


def test_pnp(case):
    for name in numbered(case, "pnp", "pts3d"):
        for variant, (known, iterations) in PNP_VARIANTS.items():
            focal = float(case[f"{name}_focal"][0]) if known else None
            found = solve_pnp(case[f"{name}_pts3d"].numpy(), case[f"{name}_mask"].numpy(), focal, iterations=iterations)
            golden = case[f"{name}_{variant}_cam2world"].numpy()
            # Another OpenCV draws other samples: then the pose need only be as near to the truth.
            same = np.abs(found.world_from_camera - golden).max() < 1e-4
            assert same or is_as_good(found, case, name, f"{name}_{variant}_cam2world")


def is_as_good(found, case, name, output):
    truth = case[f"{name}_true_cam2world"].numpy()
    golden = case.outputs[output]["noise_floor"]["error_against_truth"]
    turn = np.trace(found.world_from_camera[:3, :3].T @ truth[:3, :3])
    degrees = np.degrees(np.arccos(np.clip((turn - 1) / 2, -1, 1)))
    distance = np.linalg.norm(found.world_from_camera[:3, 3] - truth[:3, 3])
    return degrees < 2 * golden["rotation_deg"] + 0.05 and distance < 2 * golden["translation"] + 0.005


def test_procrustes(case):
    for name in numbered(case, "procrustes", "pts1"):
        found = weighted_sim3(*(case[f"{name}_{part}"] for part in ("pts1", "pts2", "weights")))
        case.expect(f"{name}_scale", found.scale, EXACT)
        case.expect(f"{name}_R", found.rotation, EXACT)
        case.expect(f"{name}_t", found.translation, 1e-5)


def test_pose_encoding_and_unprojection(case):
    size = tuple(case.settings["enc_image_size_hw"])
    case.expect("enc_pose_encoding", encode_pose(case["enc_extrinsics"], case["enc_intrinsics"], size), EXACT)
    camera_from_world, intrinsics = decode_pose(case["dec_pose_encoding"], size)
    case.expect("dec_extrinsics", camera_from_world, EXACT)
    case.expect("dec_intrinsics", intrinsics, EXACT)
    case.expect("mats_quat", quaternion_from_rotation(case["mats"]), EXACT)
    points = unproject(case["unproject_depth"][0, ..., 0], intrinsics[0, 0])
    case.expect("unproject_points", transform(inverse_rigid(camera_from_world[0, 0]), points), EXACT)


def test_pair_viewer(case):
    views = view_pair(case.pairs("pair_"))
    case.expect("pair_focals", views.focal, EXACT)
    # Random sampling inside: the same OpenCV gives 1e-6.
    case.expect("pair_cam2world", views.world_from_camera, 2e-2)
    case.expect("pair_depth", views.depth, 2e-2)
    case.expect("pair_world_points", views.world_points, 2e-2)
