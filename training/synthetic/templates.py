# SPDX-License-Identifier: Apache-2.0
"""What things are built of: people, vehicles, tables, and random unions, at unit size.

A template is a table of `PARTS` rows; rows it does not need have kind NONE. Figures face +x and stand on z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .scene import PARTS
from .shapes import BOX, ELLIPSOID, FRUSTUM, NONE, SUPERQUADRIC

LONE, UNION, FIGURE, VEHICLE, TABLE, SOFT, PANEL = range(7)


@dataclass(frozen=True)
class Row:
    """One part of a template.

    Attributes:
        kind, size, at: the primitive, its size and place; unit size.
        exponents: of a superquadric.
        lying: whether its own z axis points along y.
        hinges: pivot of the outer and the inner joint; both turn about y.
        swings: radians that each joint swings in the rhythm of the thing.
        delays: radians by which each joint is late.
        bends: radians to which each joint is bent at rest.
        rolls: whether the inner joint rolls as a wheel of this part's radius.
    """

    kind: int
    size: tuple[float, float, float]
    at: tuple[float, float, float]
    exponents: tuple[float, float] = (2.0, 2.0)
    lying: bool = False
    hinges: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0, 0, 0), (0, 0, 0))
    swings: tuple[float, float] = (0.0, 0.0)
    delays: tuple[float, float] = (0.0, 0.0)
    bends: tuple[float, float] = (0.0, 0.0)
    rolls: bool = False


_EMPTY = Row(NONE, (0.1, 0.1, 0.1), (0, 0, 0))


def _figure() -> list[Row]:
    rows = [
        Row(SUPERQUADRIC, (0.07, 0.12, 0.19), (0, 0, 0.65), (2.6, 3.2)),
        Row(ELLIPSOID, (0.058, 0.05, 0.072), (0.005, 0, 0.92)),
    ]
    for side, sign in ((0.152, 1.0), (-0.152, -1.0)):
        shoulder, elbow = (0.0, side, 0.8), (0.0, side, 0.63)
        arm = Row(FRUSTUM, (0.025, 0.034, 0.095), (0, side, 0.72), hinges=(shoulder, elbow), swings=(0.45 * sign, 0))
        rows += [
            arm,
            replace(arm, size=(0.02, 0.026, 0.1), at=(0, side, 0.535), swings=(0.45 * sign, 0.2), bends=(0, -0.35)),
        ]
    for side, sign in ((0.062, -1.0), (-0.062, 1.0)):
        hip, knee = (0.0, side, 0.5), (0.0, side, 0.265)
        thigh = Row(FRUSTUM, (0.042, 0.058, 0.125), (0, side, 0.38), hinges=(hip, knee), swings=(0.5 * sign, 0))
        shin = replace(
            thigh,
            size=(0.03, 0.042, 0.135),
            at=(0, side, 0.135),
            swings=(0.5 * sign, 0.35),
            bends=(0, 0.3),
            delays=(0, 1.2 * sign),
        )
        rows += [thigh, shin]
    return rows


def _vehicle() -> list[Row]:
    rows = [
        Row(SUPERQUADRIC, (0.5, 0.2, 0.1), (0, 0, 0.19), (7.0, 4.0)),
        Row(SUPERQUADRIC, (0.27, 0.17, 0.1), (-0.05, 0, 0.34), (5.0, 3.0)),
        Row(BOX, (0.015, 0.12, 0.02), (0.5, 0, 0.2)),
        Row(BOX, (0.015, 0.15, 0.02), (-0.5, 0, 0.22)),
    ]
    for x in (0.3, -0.3):
        for y in (0.19, -0.19):
            at = (x, y, 0.09)
            rows.append(Row(FRUSTUM, (0.09, 0.09, 0.03), at, lying=True, hinges=((0, 0, 0), at), rolls=True))
    return rows


def _table() -> list[Row]:
    legs = [Row(BOX, (0.025, 0.025, 0.35), (x, y, 0.35)) for x in (0.52, -0.52) for y in (0.28, -0.28)]
    things = [
        Row(FRUSTUM, (0.05, 0.06, 0.1), (0.2, 0.1, 0.84)),
        Row(SUPERQUADRIC, (0.16, 0.1, 0.05), (-0.2, -0.08, 0.79), (4.0, 4.0)),
        Row(ELLIPSOID, (0.09, 0.09, 0.09), (-0.35, 0.15, 0.83)),
        Row(BOX, (0.02, 0.2, 0.13), (0.35, -0.05, 0.87)),
    ]
    return [Row(BOX, (0.58, 0.34, 0.02), (0, 0, 0.72)), *legs, *things]


@dataclass(frozen=True)
class Table:
    """Templates as tensors, [M, PARTS, ...] by template number; rows as in `Row`."""

    kind: Tensor
    size: Tensor
    at: Tensor
    exponents: Tensor
    lying: Tensor
    hinges: Tensor
    swings: Tensor
    delays: Tensor
    bends: Tensor
    rolls: Tensor


def table(device: torch.device) -> Table:
    """Every template. LONE, UNION, SOFT and PANEL are drawn, not built: their rows are empty here."""
    built = {FIGURE: _figure(), VEHICLE: _vehicle(), TABLE: _table()}
    rows = []
    for template in range(PANEL + 1):
        filled = built.get(template, [])
        rows.append([*filled, *[_EMPTY] * (PARTS - len(filled))])

    def column(name: str, dtype: torch.dtype) -> Tensor:
        return torch.tensor([[getattr(row, name) for row in part] for part in rows], dtype=dtype, device=device)

    real = torch.float64
    return Table(
        kind=column("kind", torch.int64),
        size=column("size", real),
        at=column("at", real),
        exponents=column("exponents", real),
        lying=column("lying", torch.bool),
        hinges=column("hinges", real),
        swings=column("swings", real),
        delays=column("delays", real),
        bends=column("bends", real),
        rolls=column("rolls", torch.bool),
    )
