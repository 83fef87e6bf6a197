# SPDX-License-Identifier: Apache-2.0
"""What is asked of a network for a batch of windows. The kind of the loss decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dpm_core.errors import DpmError
from dpm_core.models import FlowEstimate, PairOutput, PointMaps, WindowMaps

from .adapters import between_frames
from .losses import (
    D2USt3RLoss,
    PairMaps,
    PomatoPairLoss,
    PomatoTemporalLoss,
    VDPMLoss,
    dynamic_mask_loss,
    flow_sequence_loss,
    pair_truth,
    patch_matches,
    pomato_temporal_truth,
    pomato_truth,
)
from .records import Window
from .sampling import BatchRequest

Task = Callable[[nn.Module, Window, BatchRequest], dict[str, Tensor]]
"""(network, windows, request) -> scalars, "loss" among them. The network may be wrapped: it is called, once."""


def vdpm_task(loss: VDPMLoss) -> Task:
    """All views at their own time and at the asked times, in the reference camera; where asked, attention's matches."""
    matching = loss.matching

    def losses(network: nn.Module, window: Window, request: BatchRequest) -> dict[str, Tensor]:
        local = window.in_camera(request.reference)
        times = torch.tensor(window.times, dtype=torch.int64, device=window.images.device)
        targets = times[None, :, None].expand(len(window.images), -1, 1)
        with between_frames(network, matching.blocks if matching.weight else (), window.images.shape[1]) as attentions:
            maps = network(window.images, targets, request.reference)
        own, moved = (PointMaps(part.points.float(), part.conf.float()) for part in (maps.own, maps.at_targets))
        result = loss(WindowMaps(own, moved, maps.pose_encodings.float()), local)
        if not attentions:
            return result
        scores = [attention.scores(matching.head) for attention in attentions]
        found = matching(scores, patch_matches(local, attentions[0].patch))
        result |= {"match": found["match"].detach(), "match_right": found["match_right"]}
        return result | {"loss": result["loss"] + matching.weight * found["match"]}

    return losses


def d2ust3r_task(loss: D2USt3RLoss) -> Task:
    """Both orders of a pair; the mask head and the flow head too where there are such and their truth is known."""

    def losses(network: nn.Module, window: Window, request: BatchRequest) -> dict[str, Tensor]:
        truths = (pair_truth(window, 0), pair_truth(window, 1))
        orders, flows = _both_orders(network, window)
        first, second = (PairMaps(order.points_1, order.conf_1, order.points_2, order.conf_2) for order in orders)
        result = loss((first, second), truths)
        if orders[0].dynamic_1 is not None and window.dynamic is not None:
            mask = _mask_loss(orders, window.dynamic, window.depth > 0)
            result |= {"loss": result["loss"] + mask, "mask": mask.detach()}
        if flows is not None and window.flow is not None and window.flow_valid is not None:
            flow = _flow_loss(flows, window)
            result |= {"loss": result["loss"] + flow, "flow": flow.detach()}
        return result

    return losses


def pomato_pair_task(loss: PomatoPairLoss) -> Task:
    """Both orders of a pair, all three heads; the mean of the two."""

    def losses(network: nn.Module, window: Window, request: BatchRequest) -> dict[str, Tensor]:
        parts = []
        for first, order in enumerate(_both_orders(network, window)[0]):
            if order.matched_2 is None or order.conf_matched is None:
                raise DpmError("POMATO's loss needs a matching head; take model=pomato")
            points = (order.points_1, order.points_2, order.matched_2)
            parts.append(loss(points, (order.conf_1, order.conf_2, order.conf_matched), pomato_truth(window, first)))
        return {name: (parts[0][name] + parts[1][name]) / 2 for name in parts[0]}

    return losses


def pomato_temporal_task(loss: PomatoTemporalLoss) -> Task:
    """A clip in the three modes, each giving its main output: depth, reconstruction in the last camera, tracks."""

    def losses(network: nn.Module, window: Window, request: BatchRequest) -> dict[str, Tensor]:
        images = window.images
        frames = images.shape[1]
        last, start = (images[:, key : key + 1].expand_as(images) for key in (frames - 1, 0))
        # Video depth sees each frame twice; reconstruction the last frame beside all; tracking all beside the first.
        first = torch.cat([images, last, images]).flatten(0, 1)
        second = torch.cat([images, images, start]).flatten(0, 1)
        out: PairOutput = network(first, second)
        depth, _, _ = _modes(out.points_1, frames)
        depth_conf, _, _ = _modes(out.conf_1, frames)
        _, recon, _ = _modes(out.points_2, frames)
        _, recon_conf, _ = _modes(out.conf_2, frames)
        if out.matched_2 is None or out.conf_matched is None:
            raise DpmError("POMATO's loss needs a matching head; take model=pomato-12")
        _, _, tracks = _modes(out.matched_2, frames)
        _, _, tracks_conf = _modes(out.conf_matched, frames)
        truth = pomato_temporal_truth(window, frames - 1, 0)
        return loss((depth, recon, tracks), (depth_conf, recon_conf, tracks_conf), truth)

    return losses


TASKS: dict[type, Callable[[Any], Task]] = {
    VDPMLoss: vdpm_task,
    D2USt3RLoss: d2ust3r_task,
    PomatoPairLoss: pomato_pair_task,
    PomatoTemporalLoss: pomato_temporal_task,
}


def task_of(loss: Any) -> Task:
    """The task that a loss belongs to.

    Raises:
        DpmError: there is none.
    """
    make = TASKS.get(type(loss))
    if make is None:
        raise DpmError(
            f"nothing is trained with {type(loss).__name__}; known are {', '.join(k.__name__ for k in TASKS)}"
        )
    return make(loss)


def _mask_loss(orders: tuple[PairOutput, PairOutput], dynamic: Tensor, known: Tensor) -> Tensor:
    """Of both heads in both orders; the second order sees the views the other way round."""
    parts = []
    for order, views in zip(orders, ([0, 1], [1, 0]), strict=True):
        assert order.dynamic_1 is not None
        assert order.dynamic_2 is not None
        logits = torch.stack([order.dynamic_1, order.dynamic_2], 1)
        parts.append(dynamic_mask_loss(logits, dynamic[:, views], known[:, views]))
    return torch.stack(parts).mean()


def _flow_loss(flows: FlowEstimate, window: Window) -> Tensor:
    """Of the flow from image 1 to 2 and from 2 to 1, all refinements (§4.4)."""
    assert window.flow is not None
    assert window.flow_valid is not None
    to_first, to_second = window.times.index(0), window.times.index(1)
    truth = torch.cat([window.flow[:, to_second, 0], window.flow[:, to_first, 1]])
    valid = torch.cat([window.flow_valid[:, to_second, 0], window.flow_valid[:, to_first, 1]])
    return flow_sequence_loss([flow.float() for flow in flows.flows], [m.float() for m in flows.mixtures], truth, valid)


def _both_orders(network: nn.Module, window: Window) -> tuple[tuple[PairOutput, PairOutput], FlowEstimate | None]:
    """(1, 2) and (2, 1) of windows of two frames, as one batch; and the flows of both where there is a head."""
    count = len(window.images)
    one, two = window.images[:, 0], window.images[:, 1]
    found = network(torch.cat([one, two]), torch.cat([two, one]))
    # A pair's output is a tuple of tensors; with refinements it is a tuple that begins with one.
    out, flows = (found, None) if isinstance(found, PairOutput) else found[:2]

    def rows(part: slice) -> PairOutput:
        values: Any = [None if value is None else value[part].float() for value in out]
        return PairOutput(*values)

    return (rows(slice(None, count)), rows(slice(count, None))), flows


def _modes(values: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """[3 B T, ...] of the three modes, each [B, T, ...]."""
    depth, recon, tracks = values.float().unflatten(0, (3, -1, frames)).unbind(0)
    return depth, recon, tracks
