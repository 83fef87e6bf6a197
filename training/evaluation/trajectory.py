# SPDX-License-Identifier: Apache-2.0
"""Camera paths against the truth, by evo. Source: reference sheet §5.1."""

from __future__ import annotations

from dataclasses import dataclass

from evo.core.geometry import GeometryException
from evo.core.metrics import APE, RPE, PoseRelation, StatisticsType, Unit
from evo.core.sync import SyncException, associate_trajectories
from evo.core.trajectory import PoseTrajectory3D

from dpm_core.errors import DpmError
from dpm_core.types import Float64


@dataclass(frozen=True)
class TrajectoryMetrics:
    """Root mean squares after a Sim(3) alignment onto the truth.

    Attributes:
        ate: absolute trajectory error, unit of the truth.
        rpe_translation: of the motion from each frame to the next, unit of the truth.
        rpe_rotation: the same, degrees.
    """

    ate: float
    rpe_translation: float
    rpe_rotation: float


def trajectory_metrics(
    seconds: Float64,
    world_from_camera: Float64,
    true_seconds: Float64,
    true_world_from_camera: Float64,
    tolerance: float = 0.01,
) -> TrajectoryMetrics:
    """Judge a path.

    Args:
        seconds: [N] stamps, rising.
        world_from_camera: [N, 4, 4] rigid.
        true_seconds: [M] stamps, rising.
        true_world_from_camera: [M, 4, 4] rigid.
        tolerance: seconds by which associated stamps may differ.

    Raises:
        DpmError: fewer than three stamps meet, or a path does not move.
    """
    paths = (
        PoseTrajectory3D(poses_se3=list(poses), timestamps=stamps)
        for stamps, poses in ((true_seconds, true_world_from_camera), (seconds, world_from_camera))
    )
    try:
        truth, path = associate_trajectories(*paths, max_diff=tolerance)
    except SyncException as error:
        raise DpmError(f"no stamps of the two paths meet within {tolerance} s; check the clocks") from error
    if truth.num_poses < 3:
        raise DpmError(f"only {truth.num_poses} stamps of the two paths meet within {tolerance} s; 3 are needed")
    try:
        path.align(truth, correct_scale=True)
    except GeometryException as error:
        raise DpmError(f"the paths cannot be aligned ({error}); they must move in two directions") from error
    return TrajectoryMetrics(
        ate=_rmse(APE(PoseRelation.translation_part), truth, path),
        rpe_translation=_rmse(_step(PoseRelation.translation_part), truth, path),
        rpe_rotation=_rmse(_step(PoseRelation.rotation_angle_deg), truth, path),
    )


def _step(relation: PoseRelation) -> RPE:
    return RPE(relation, delta=1, delta_unit=Unit.frames, all_pairs=True)


def _rmse(metric: APE | RPE, truth: PoseTrajectory3D, path: PoseTrajectory3D) -> float:
    metric.process_data((truth, path))
    return float(metric.get_statistic(StatisticsType.rmse))
