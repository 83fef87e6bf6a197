# SPDX-License-Identifier: Apache-2.0
"""What a pair network should say of a window of two views, out of the record."""

from __future__ import annotations

import torch
from torch import Tensor

from dpm_core.errors import DpmError

from ..records import Window
from .d2ust3r import PairTruth
from .pomato import PomatoTemporalTruth, PomatoTruth


def pair_truth(window: Window, first: int) -> PairTruth:
    """D²USt3R's targets with view `first` as view 1. window: S = 2 and both times asked."""
    local, second, aligned, aligned_valid, dynamic = _pair(window, first)
    points, valid = local.own_points()
    return PairTruth(
        points_1=points[:, first],
        valid_1=valid[:, first],
        points_2=points[:, second],
        valid_2=valid[:, second] & (~dynamic | aligned_valid),
        dynamic_2=dynamic,
        aligned_2=aligned,
        aligned_valid_2=aligned_valid,
    )


def pomato_truth(window: Window, first: int) -> PomatoTruth:
    """POMATO's targets of a pair with view `first` as view 1. window: S = 2 and both times asked."""
    local, second, aligned, aligned_valid, _ = _pair(window, first)
    points, valid = local.own_points()
    return PomatoTruth(
        points_1=points[:, first],
        valid_1=valid[:, first],
        points_2=points[:, second],
        valid_2=valid[:, second],
        matching=aligned,
        matching_valid=aligned_valid,
    )


def pomato_temporal_truth(window: Window, recon_key: int, tracking_key: int) -> PomatoTemporalTruth:
    """POMATO's targets of a clip, with its two key frames. window: all its times asked, in order.

    Raises:
        DpmError: not all times are asked.
    """
    frames = window.images.shape[1]
    if window.times != tuple(range(frames)):
        raise DpmError(f"temporal training needs all {frames} times of a clip, not {window.times}; ask for every time")
    local = [window.in_camera(view) for view in range(frames)]
    own = [one.own_points() for one in local]
    recon, recon_valid = own[recon_key]
    return PomatoTemporalTruth(
        depth_points=torch.stack([points[:, view] for view, (points, _) in enumerate(own)], 1),
        depth_valid=torch.stack([valid[:, view] for view, (_, valid) in enumerate(own)], 1),
        recon_points=recon,
        recon_valid=recon_valid,
        tracking=torch.stack([one.points[:, view, tracking_key] for view, one in enumerate(local)], 1),
        tracking_valid=window.valid[:, :, tracking_key],
    )


def _pair(window: Window, first: int) -> tuple[Window, int, Tensor, Tensor, Tensor]:
    """The window in the first camera; the second view, its points at the first's time, where seen, and what moves."""
    if window.images.shape[1] != 2 or set(window.times) != {0, 1}:
        raise DpmError(
            f"pair training needs 2 frames and both times, not {window.images.shape[1]} at times {window.times}; "
            "sample windows of length 2 with all times"
        )
    second = 1 - first
    local = window.in_camera(first)
    time = window.times.index(first)
    seen = window.valid[:, time, second]
    if window.visible is not None:
        seen = seen & window.visible[:, time, second]
    dynamic = torch.zeros_like(seen) if window.dynamic is None else window.dynamic[:, second]
    return local, second, local.points[:, time, second], seen, dynamic
