# SPDX-License-Identifier: Apache-2.0
"""Global alignment gives the numbers of DUSt3R, MonST3R and POMATO: loss, gradients, steps, first scene, result."""

import copy
from dataclasses import replace

import pytest
import torch
from golden_arrays import cases_with

from dpm_core.geometry.alignment.flow import consistent, ego_flow
from dpm_core.geometry.alignment.losses import depth_prior_loss, pairwise_loss, smoothing_terms
from dpm_core.geometry.alignment.masks import (
    cleaned_confidence,
    matching_flow,
    matching_frame_masks,
    matching_pair_masks,
    motion_masks,
)
from dpm_core.geometry.alignment.optimise import (
    DUST3R_ALIGNMENT,
    MONST3R_ALIGNMENT,
    POMATO_ALIGNMENT,
    flow_term,
    matched_flow,
    measured_flow,
    new_scene,
    optimise,
)
from dpm_core.geometry.alignment.scene import Scene
from dpm_core.geometry.alignment.tree import TreeConfig
from dpm_core.geometry.pairs import image_confidence

CLOSE = 1e-4


def pytest_generate_tests(metafunc):
    cases_with(metafunc, "param_pw_poses")


@pytest.fixture
def config(case):
    """Of the case's family, with the case's own numbers."""
    settings = case.settings
    family = (
        MONST3R_ALIGNMENT if "flow_ij" in case else POMATO_ALIGNMENT if "pts3d_dynamic" in case else DUST3R_ALIGNMENT
    )
    weights = {
        ours: settings[theirs]
        for ours, theirs in [
            ("smoothing", "temporal_smoothing_weight"),
            ("flow", "flow_loss_weight"),
            ("flow_start", "flow_loss_start_epoch"),
            ("flow_limit", "flow_loss_thre"),
            ("steps", "niter"),
            ("rate", "lr"),
            ("last_rate", "lr_min"),
            ("schedule", "schedule"),
        ]
        if theirs in settings
    }
    tree = TreeConfig(settings.get("min_conf_thr", 3.0), settings.get("niter_PnP", 10))
    return replace(family, shared_focal=len(case["param_im_focals"]) == 1, tree=tree, **weights)


@pytest.fixture
def fixed(case, config):
    """The scene at the case's parameters."""
    pairs = case.pairs()
    scene = Scene(pairs.images, len(pairs.edges), pairs.size, config.shared_focal, config.base_scale)
    with torch.no_grad():
        scene.image_poses.copy_(case["param_im_poses"])
        scene.log_focals.copy_(case["param_im_focals"])
        scene.log_depths.copy_(case["param_im_depthmaps"].reshape(scene.log_depths.shape))
        scene.pair_poses.copy_(case["param_pw_poses"])
    return scene


def target(case, pairs, moving=None):
    """What the flow term compares with, where the family has one."""
    if "flow_ij" in case:
        return measured_flow(pairs, case.flow("flow_ij"), moving)
    if pairs.matched_j is not None:
        return matched_flow(pairs, case.settings["moving_distance_thres_global"])
    return None


def fixed_target(case):
    moving = case["motion_masks"] if "motion_masks" in case.outputs else None
    return target(case, case.pairs(), moving)


def total_loss(scene, pairs, config, flow):
    loss = pairwise_loss(scene, pairs)
    if config.smoothing:
        loss = loss + config.smoothing * smoothing_terms(scene).sum()
    return loss + config.flow * flow_term(scene, pairs, flow) if flow else loss


def expect_those_there(case, values, tolerance):
    for name, value in values.items():
        if name in case:
            case.expect(name, value, tolerance)


def state(scene, prefix):
    return {
        f"{prefix}_cam2world": scene.world_from_camera(),
        f"{prefix}_focals": scene.focals().expand(len(scene.log_depths), 1),
        f"{prefix}_depth": scene.depths(),
        f"{prefix}_pts3d": scene.world_points(),
        f"{prefix}_pw_poses": scene.world_from_pair(),
    }


def test_loss_and_gradients_at_fixed_parameters(case, config, fixed):
    pairs = case.pairs()
    loss = total_loss(fixed, pairs, config, fixed_target(case))
    loss.backward()
    expect_those_there(
        case,
        {
            "fixed_loss": loss,
            "fixed_loss_before_flow_start": total_loss(fixed, pairs, config, None),
            "fixed_smoothing": smoothing_terms(fixed),
            "fixed_grad_im_poses": fixed.image_poses.grad,
            "fixed_grad_im_focals": fixed.log_focals.grad,
            "fixed_grad_im_depthmaps": fixed.log_depths.grad,
            "fixed_grad_pw_poses": fixed.pair_poses.grad,
        }
        | state(fixed, "fixed"),
        CLOSE,
    )


def test_every_distance_and_confidence_weight(case, fixed):
    for distance in ("l1", "l2"):
        for confidence in ("log", "sqrt", "m1", "id"):
            if (name := f"fixed_loss_{distance}_{confidence}") in case:
                case.expect(name, pairwise_loss(fixed, case.pairs(), distance, confidence), CLOSE)


def test_flow_terms(case, fixed):
    pairs, (K, poses) = case.pairs(), (fixed.intrinsics(), fixed.world_from_camera())
    if "flow_ij" in case:
        i, j = pairs.ends()
        ego = ego_flow(fixed.depths()[i], K[i], K[j], poses[i], poses[j])
        case.expect("fixed_ego_flow_ij", ego.permute(0, 3, 1, 2), CLOSE)
        case.expect("fixed_flow_loss", flow_term(fixed, pairs, fixed_target(case)), CLOSE)
        forward, backward = case.flow("flow_ij"), case.flow("flow_ji")
        limit = case.settings["consistency_threshold"]
        case.expect_mask("flow_valid_i", consistent(forward, backward, limit), 1e-3)
        case.expect_mask("flow_valid_j", consistent(backward, forward, limit), 1e-3)
    if pairs.matched_j is not None:
        case.expect("fixed_matching_flow", matching_flow(pairs, K).permute(0, 3, 1, 2), CLOSE)


def test_masks(case):
    pairs = case.pairs()
    if "masks" in case:
        case.expect_mask("masks", image_confidence(pairs) > case.settings["min_conf_thr"], 1e-3)
    if "flow_ij" in case:
        masks = motion_masks(pairs, case.flow("flow_ij"), case.settings["motion_mask_thre"])
        case.expect_mask("motion_masks", masks, 2e-2)
    for name in case.outputs:
        if name.startswith("pair_masks_ij"):
            _, factors = name.split("_g")
            by_pair, by_frame = map(float, factors.split("_a"))
            case.expect_mask(name, matching_pair_masks(pairs, by_pair), 1e-3)
            case.expect_mask(f"frame_masks_g{factors}", matching_frame_masks(pairs, by_frame), 1e-3)


def test_depth_prior(case, fixed):
    if "depth_prior_init" in case:
        loss = depth_prior_loss(fixed.depths(), case["depth_prior_init"][:, 0], case["motion_masks"] + 1.0)
        case.expect("fixed_depth_prior", loss, CLOSE)


def test_cleaning(case):
    for name in case.outputs:
        if name.startswith("clean_conf_tol"):
            maps = (case[f"clean_{part}"] for part in ("conf", "depth", "pts3d", "K"))
            world_from_camera = torch.linalg.inv(case["clean_world2cam"])
            cleaned = cleaned_confidence(*maps, world_from_camera, float(name.removeprefix("clean_conf_tol")))
            case.expect(name, cleaned, CLOSE)


def test_ten_steps(case, config, fixed):
    if "step10_loss" in case:
        pairs, flow, scene = case.pairs(), fixed_target(case), copy.deepcopy(fixed)
        optimise(scene, pairs, replace(config, steps=10), flow)
        values = {"step10_loss": total_loss(scene, pairs, config, flow)} | state(scene, "step10")
        expect_those_there(case, values, CLOSE)


def test_first_scene_and_result(case, config):
    if "init_loss" not in case:
        return
    pairs = case.pairs()
    flow, scene = target(case, pairs), new_scene(pairs, config)
    values = {"init_loss": total_loss(scene, pairs, config, flow)} | state(scene, "init")
    expect_those_there(case, values, CLOSE)
    last = optimise(scene, pairs, config, flow)
    losses = {"final_loss": total_loss(scene, pairs, config, flow), "final_returned_loss": last}
    expect_those_there(case, losses, 1e-3)
    for name, value in state(scene, "final").items():
        if name in case:
            case.expect(name, value, max(2e-2, 5 * case.outputs[name]["noise_floor"]["max_rel"]))
