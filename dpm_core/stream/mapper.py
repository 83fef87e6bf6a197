# SPDX-License-Identifier: Apache-2.0
"""What the network says of windows, one after another, in one map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..geometry.sim3 import Sim3
from ..kernels import camera_depth
from ..types import Cloud, Estimate, Frame, MetricScale, Odometry, Prediction
from .calibration import calibrated
from .chain import MapChain
from .config import ScaleConfig, SessionConfig
from .fusion import fused_cloud
from .motion import Motion, motion_between, no_motion
from .odometry import CameraOdometry
from .scale import MetricMap, Sight
from .stages import Stages
from .static_map import StaticMap, map_cloud
from .tracks import Tracker
from .view import newest_view
from .wanted import Wanted

if TYPE_CHECKING:
    from ..geometry.fit import Fit


@dataclass(frozen=True)
class Predicted:
    """A window as the network sees it.

    Attributes:
        frame: the newest one, as it came.
        straight: what a pinhole camera would have seen of it.
        fit: how its image was brought to the network's size.
        stamps: of the window's S frames, oldest first, nanoseconds.
        colors: of these, [H, W, 3] uint8 each, RGB.
        prediction: the network's own, of the window.
        wanted: what of the estimate somebody listens to.
        config: the thresholds that count for this frame.
        new_map: whether all that was known before is to be forgotten first.
        stages: how long it took so far.
    """

    frame: Frame
    straight: Frame
    fit: Fit
    stamps: Sequence[int]
    colors: Sequence[Tensor]
    prediction: Prediction
    wanted: Wanted
    config: SessionConfig
    new_map: bool
    stages: Stages


class Mapper:
    """Keeps what adds up over windows: their chain, the scale, the map of what stands still, tracks of what moves."""

    def __init__(self, scale: ScaleConfig) -> None:
        self._begin(scale)

    def _begin(self, scale: ScaleConfig) -> None:
        self._chain = MapChain()
        self._metric_map = MetricMap(scale)
        self._odometry = CameraOdometry()
        self._tracker = Tracker()
        self._metric = False
        self._begin_memory()

    def _begin_memory(self) -> None:
        """What adds up over windows begins anew, as it must where metres take the place of the network's unit."""
        self._static_map = StaticMap()
        self._tracker.forget()

    @torch.inference_mode()
    def estimate(self, window: Predicted) -> Estimate:
        """The world at the newest frame of a window, in the map."""
        frame, stages, now = window.frame, window.stages, len(window.stamps) - 1
        if window.new_map:
            self._begin(window.config.scale)
        self._metric_map.configure(window.config.scale)
        with stages("align"):
            prediction = calibrated(window.prediction, frame, window.fit)
            window = replace(window, prediction=prediction)
            map_from_window, scale, odometry = self._place(window)
        with stages("motion"):
            depth = _depth(prediction, now)
            measure = _median_depth(depth)
            motion = _motion(window, measure)
        with stages("fuse"):
            cloud = _cloud(window, motion, map_from_window, measure) if window.wanted.cloud else Cloud.none()
        with stages("remember"):
            if window.wanted.motion != "none":
                self._remember(window, depth, measure, motion, map_from_window)

        return Estimate(
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            world_from_camera=map_from_window.pose(prediction.world_from_camera[now].double().cpu().numpy()),
            intrinsics=prediction.intrinsics[now].double().cpu().numpy(),
            unit="network" if scale is None else "m",
            image=window.colors[now].cpu().numpy(),
            depth=(map_from_window.scale * depth).cpu().numpy(),
            conf=prediction.own_conf[now].cpu().numpy(),
            dynamic=motion.dynamic[now].cpu().numpy(),
            scene_flow=_flow(motion, now, map_from_window).cpu().numpy(),
            motion_known=motion.known,
            cloud=cloud,
            cloud_known=window.wanted.cloud,
            cloud_motion_known=motion.known and window.wanted.motion == "all",
            seconds=stages.seconds,
            scale=scale,
            odometry=odometry,
            odom_from_camera=frame.odom_from_camera,
            tracks=self._tracker.tracks(),
            static_map=partial(map_cloud, self._static_map.cells()),
        )

    def _place(self, window: Predicted) -> tuple[Sim3, MetricScale | None, Odometry | None]:
        """map_from_window, in metres where they are known, and how the camera moves in the map."""
        stamps, prediction = window.stamps, window.prediction
        chain_from_window = self._chain.add(stamps, prediction)
        linked = self._chain.linked
        sight = Sight(window.straight, window.fit, prediction, chain_from_window)
        map_from_chain, scale = self._metric_map.place(sight, linked)
        if scale is not None and not self._metric:
            self._metric = True
            self._begin_memory()
        poses = np.stack([chain_from_window.pose(pose) for pose in prediction.world_from_camera.double().cpu().numpy()])
        sigma = scale.relative_sigma if scale is not None else 0.0
        odometry = self._odometry.add(stamps, poses, linked, map_from_chain, sigma)
        return map_from_chain @ chain_from_window, scale, odometry

    def _remember(
        self,
        window: Predicted,
        depth: Tensor,
        median_depth: float,
        motion: Motion,
        map_from_window: Sim3,
    ) -> None:
        """Let the newest frame into the map of what stands still, and the tracks of what moves."""
        prediction, stamps, config = window.prediction, window.stamps, window.config
        if not prediction.times:
            return
        dynamic, colors = motion.dynamic[-1], window.colors[-1]
        view = newest_view(stamps[-1], prediction, depth, dynamic, colors, map_from_window, config.min_confidence)
        settled = motion.known and len(stamps) == config.window  # what moves slowly shows over a whole window
        if settled:
            self._static_map.see(view, map_from_window.scale * median_depth, config.map)
        self._tracker.follow(view, stamps, prediction.points[0], map_from_window, config.tracks)


def _motion(window: Predicted, depth: float) -> Motion:
    prediction, stamps = window.prediction, window.stamps
    if len(prediction.times) < 2:
        return no_motion(prediction)
    now, past = prediction.points
    motion = motion_between(now, past, (stamps[-1] - stamps[0]) * 1e-9, depth, window.config)
    if prediction.dynamic_logit is None:
        return motion
    return replace(motion, dynamic=prediction.dynamic_logit > 0)  # a head trained to know is better than a rule


def _cloud(window: Predicted, motion: Motion, map_from_window: Sim3, depth: float) -> Cloud:
    config = window.config
    return fused_cloud(
        window.prediction, window.colors, motion, map_from_window, config.min_confidence, voxel=config.voxel * depth
    )


def _depth(prediction: Prediction, view: int) -> Tensor:
    """[H, W] along the optical axis of a view at its own time, network units; NaN where it is not > 0."""
    one = slice(view, view + 1)
    depth = camera_depth(prediction.own_points[one].contiguous(), prediction.world_from_camera[one].contiguous())[0]
    return depth.where(depth > 0, torch.nan)


def _median_depth(depth: Tensor) -> float:
    """The measure of the scene; 1 where no pixel has depth, so that thresholds stay positive."""
    median = float(depth.nanmedian())
    return median if median > 0 else 1.0


def _flow(motion: Motion, view: int, map_from_window: Sim3) -> Tensor:
    """[H, W, 3] map units per second, NaN where motion is unknown."""
    flow = map_from_window.vectors(motion.velocity[view])
    return flow if motion.known else torch.full_like(flow, torch.nan)
