# SPDX-License-Identifier: Apache-2.0
"""Things in a scene: what they are, where they stand, how they move."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from . import shapes
from .draws import Draws
from .motion import about_axis
from .paths import still
from .scene import JOINTS, PARTS, ROOM, THINGS, Parts, Surroundings, Things, Waves
from .softness import STATES
from .templates import FIGURE, LONE, PANEL, SOFT, TABLE, UNION, VEHICLE, Table, table

# How often each template comes in a room, on open ground and in hills.
_TEMPLATE_WEIGHTS = (
    (0.2, 0.22, 0.2, 0.03, 0.1, 0.13, 0.12),
    (0.16, 0.2, 0.2, 0.24, 0.0, 0.12, 0.08),
    (0.25, 0.25, 0.18, 0.1, 0.0, 0.17, 0.05),
)


@dataclass(frozen=True)
class Plan:
    """What was drawn for every thing before it is built, [B, G] each.

    Attributes:
        template: of `templates`.
        scale: metres of a unit.
        moves: whether it may move.
        present: whether the slot is used.
        flies: whether it floats free of the ground.
    """

    template: Tensor
    scale: Tensor
    moves: Tensor
    present: Tensor
    flies: Tensor


def plan_things(draws: Draws, kind: Tensor, still_world: Tensor) -> Plan:
    """kind: [B] surroundings; still_world: [B] bool, whether nothing may move."""
    G = THINGS
    weights = torch.tensor(_TEMPLATE_WEIGHTS, dtype=torch.float64, device=kind.device)[kind]
    template = draws.choice("thing.template", weights[:, None], G)
    indoor = (kind == ROOM)[:, None]
    loose = torch.where(
        indoor, draws.log_uniform("thing.size", 0.12, 0.75, G), draws.log_uniform("thing.size.out", 0.25, 2.5, G)
    )
    figure = draws.uniform("thing.figure", 1.2, 1.95, G)
    vehicle = torch.where(
        indoor, draws.uniform("thing.vehicle", 0.4, 1.0, G), draws.uniform("thing.vehicle.out", 2.5, 5.0, G)
    )
    scale = torch.where(template == FIGURE, figure, torch.where(template == VEHICLE, vehicle, loose))
    scale = torch.where(template == TABLE, draws.uniform("thing.table", 0.8, 1.5, G), scale)
    count = draws.between(
        "thing.count", torch.where(indoor[:, 0], 3.0, 6.0), torch.tensor(G + 1.0, device=kind.device)
    ).floor()
    restless = draws.uniform("thing.restless", 0.2, 1.0)[:, None]
    moves = draws.chance("thing.moves", restless, G) & ~still_world[:, None] & (template != PANEL)
    # Where the world may move at all, something does: the first slot.
    first = torch.arange(G, device=kind.device) == 0
    moves = moves | (first & ~still_world[:, None] & (template != PANEL) & (template != TABLE))
    free = (template == LONE) | (template == UNION) | (template == SOFT)
    return Plan(
        template=template,
        scale=scale,
        moves=moves & (template != TABLE),
        present=torch.arange(G, device=kind.device) < count[:, None],
        flies=free & draws.chance("thing.flies", 0.4, G),
    )


def place_things(
    draws: Draws, plan: Plan, surroundings: Surroundings, view: tuple[Tensor, Tensor, Tensor], span: Tensor
) -> Things:
    """Things before the camera, and their trajectories.

    Args:
        draws: of B scenes.
        plan: what they are.
        surroundings: what they stand in.
        view: eye [B, 3], heading [B] and half the horizontal field of view [B], at the middle of the window.
        span: [B] seconds of the window.
    """
    eye, heading, half_view = view
    indoor = (surroundings.kind == ROOM)[:, None]
    G = THINGS
    side = draws.uniform("thing.side", -1.15, 1.15, G) * half_view[:, None]
    nearest = 0.5 + 0.8 * plan.scale
    away = torch.where(
        indoor,
        nearest + draws.log_uniform("thing.away", 0.3, 5.0, G),
        nearest + draws.log_uniform("thing.away.out", 0.8, 16.0, G),
    )
    bearing = heading[:, None] + side
    towards = torch.stack([bearing.cos(), bearing.sin()], -1)
    low, high = surroundings.low[:, None, :2], surroundings.high[:, None, :2]
    origin = eye[:, None, :2]
    to_wall = torch.where(towards > 0, high - origin, low - origin) / torch.where(towards.abs() < 1e-9, 1e-9, towards)
    wall_axis = to_wall.argmin(-1)
    wall = to_wall.amin(-1)
    is_panel = plan.template == PANEL
    away = torch.where(indoor, torch.minimum(away, wall - 0.25), away)
    away = torch.where(indoor & is_panel, wall - 0.01, away)
    xy = origin + away[..., None] * towards

    float_height = torch.where(
        indoor, draws.uniform("thing.height", 0.3, 2.2, G), draws.log_uniform("thing.height.out", 0.5, 6.0, G)
    )
    rest = torch.where((plan.template == LONE) | (plan.template == SOFT), 0.75 * plan.scale, 0.45 * plan.scale)
    built = (plan.template == FIGURE) | (plan.template == VEHICLE) | (plan.template == TABLE)
    z = torch.where(plan.flies | is_panel, float_height, torch.where(built, 0.0, rest))
    position = torch.cat([xy, z[..., None]], -1)

    facing = draws.uniform("thing.heading", -math.pi, math.pi, G)
    against_wall = torch.where(wall_axis == 0, 0.0, math.pi / 2)
    facing = torch.where(indoor & is_panel, against_wall, facing)
    anyhow = about_axis(draws.direction("thing.start.axis", G), draws.uniform("thing.start", -math.pi, math.pi, G))
    upright = about_axis(torch.zeros_like(anyhow[..., 0]) + _up(eye), facing)
    askew = plan.flies | (((plan.template == LONE) | (plan.template == UNION)) & draws.chance("thing.askew", 0.35, G))
    position_waves, turn_waves = _motion(draws, plan, position, facing, span)
    return Things(
        position=position_waves,
        turn=turn_waves,
        axis=draws.direction("thing.axis", G),
        start=torch.where(askew[..., None, None], anyhow, upright),
        grounded=~plan.flies,
    )


def _up(like: Tensor) -> Tensor:
    return torch.tensor([0.0, 0.0, 1.0], dtype=like.dtype, device=like.device)


def _motion(draws: Draws, plan: Plan, position: Tensor, facing: Tensor, span: Tensor) -> tuple[Waves, Waves]:
    """Trajectories that pass through `position` about the middle of the window."""
    G = THINGS
    walks = (plan.template == FIGURE) | (plan.template == VEHICLE)
    free = ~walks
    pace = torch.where(
        plan.template == FIGURE,
        draws.uniform("thing.pace", 0.5, 1.7, G),
        draws.log_uniform("thing.speed", 0.15, 1.2, G) * (1 + 2 * plan.scale),
    )
    # Some stand: they only move their limbs, or turn.
    stands = draws.chance("thing.stands", 0.25, G)
    longest = 1.2 + 1.5 * plan.scale
    pace = torch.minimum(pace, longest / span[:, None].clamp_min(1e-3)) * (plan.moves & ~stands)
    course = torch.where(walks, facing, draws.uniform("thing.course", -math.pi, math.pi, G))
    climb = torch.where(plan.flies, draws.uniform("thing.climb", -0.6, 0.6, G), 0.0)
    velocity = torch.stack([course.cos(), course.sin(), climb], -1) * pace[..., None]
    falls = plan.flies & plan.moves & draws.chance("thing.falls", 0.3, G)
    drop = torch.where(
        falls, torch.minimum(torch.full_like(pace, 9.81), 2.0 / span[:, None].square().clamp_min(1e-6)), 0.0
    )
    acceleration = torch.stack([torch.zeros_like(drop), torch.zeros_like(drop), -drop], -1)
    sways = plan.moves & free & draws.chance("thing.sways", 0.5, G)
    sway = (
        draws.log_uniform("thing.sway", 0.02, 0.25, G, 3, 2)
        * (1 + plan.scale)[..., None, None]
        * sways[..., None, None]
    )
    level = torch.ones_like(velocity)
    level[..., 2] = plan.flies.to(level)
    middle = span[:, None, None] / 2
    start = position - velocity * middle - acceleration * middle.square() / 2
    position_waves = Waves(
        start,
        velocity,
        acceleration,
        sway * level[..., None],
        draws.uniform("thing.sway.rate", 1.0, 5.0, G, 3, 2),
        draws.uniform("thing.sway.phase", 0, 2 * math.pi, G, 3, 2),
    )

    spins = plan.moves & free & draws.chance("thing.spins", 0.6, G)
    most = 1.8 / span[:, None].clamp_min(1e-3)
    spin = torch.where(spins, torch.minimum(draws.log_uniform("thing.spin", 0.3, 6.0, G), most), 0.0)
    spin = spin * torch.where(draws.chance("thing.spin.left", 0.5, G), 1.0, -1.0)
    tumbles = plan.flies & draws.chance("thing.tumbles", 0.6, G)
    veer = torch.where(walks & plan.moves & ~stands, draws.uniform("thing.veer", -0.5, 0.5, G), 0.0)
    turn = still(torch.zeros(*facing.shape, 2, dtype=facing.dtype, device=facing.device))
    heading_rate = torch.where(tumbles, 0.0, spin) + veer
    turn = replace(turn, velocity=torch.stack([heading_rate, torch.where(tumbles, spin, 0.0)], -1))
    return position_waves, turn


def build_parts(draws: Draws, plan: Plan, speed: Tensor) -> Parts:
    """The primitives of every thing. speed: [B, G] m/s along the ground, which wheels follow."""
    B, G = plan.template.shape
    shape = (G, PARTS)
    rows = table(plan.template.device)
    template = plan.template
    scale = plan.scale[..., None]
    kind, size, at, exponents, rotation = _drawn(draws, template, shape)
    built = ((template == FIGURE) | (template == VEHICLE) | (template == TABLE))[..., None]
    vary = draws.uniform("part.vary", 0.85, 1.18, *shape, 3)
    lying = about_axis(torch.tensor([1.0, 0, 0], dtype=at.dtype, device=at.device), at.new_tensor(math.pi / 2))
    kind = torch.where(built, rows.kind[template], kind)
    fixed_size = rows.size[template] * torch.where((template == FIGURE)[..., None, None], vary, 1.0)
    size = torch.where(built[..., None], fixed_size, size) * scale[..., None]
    at = torch.where(built[..., None], rows.at[template], at) * scale[..., None]
    exponents = torch.where(built[..., None], rows.exponents[template], exponents)
    identity = torch.eye(3, dtype=at.dtype, device=at.device)
    straight = torch.where(rows.lying[template][..., None, None], lying, identity)
    rotation = torch.where(built[..., None, None], straight, rotation)
    kind = torch.where(plan.present[..., None], kind, shapes.NONE)

    pivot, axis, angle = _joints(draws, plan, rows, at, size, speed)
    soft = _softness(draws, plan, size)
    still_part = Parts(
        kind=kind.flatten(1),
        size=size.flatten(1, 2),
        exponents=exponents.flatten(1, 2),
        offset=at.flatten(1, 2),
        rotation=rotation.flatten(1, 2),
        pivot=pivot.flatten(1, 2),
        axis=axis.flatten(1, 2),
        angle=angle,
        soft=soft,
        soft_body=((soft.offset != 0) | (soft.amplitude != 0).any(-1)).any(-1),
        radius=torch.zeros(B, G * PARTS, dtype=at.dtype, device=at.device),
        moving=torch.zeros(B, G * PARTS, dtype=torch.bool, device=at.device),
    )
    return replace(still_part, radius=_bounding_radius(still_part))


def _drawn(draws: Draws, template: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Kind, size, place, exponents and rotation of the parts that are drawn, unit size."""
    G, K = shape
    device = template.device
    kinds = torch.tensor([0.2, 0.28, 0.26, 0.1, 0.16], dtype=torch.float64, device=device)
    kind = draws.choice("part.kind", kinds, G, K)
    soft = (template == SOFT)[..., None]
    kind = torch.where(
        soft, torch.where(draws.chance("part.soft.torus", 0.2, G, K), shapes.TORUS, shapes.SUPERQUADRIC), kind
    )
    panel = (template == PANEL)[..., None]
    kind = torch.where(panel, shapes.BOX, kind)

    number = torch.arange(K, device=device)
    count = torch.where(template == UNION, draws.uniform("union.count", 2, 7, G).floor(), 1.0)
    kind = torch.where(number < count[..., None], kind, shapes.NONE)

    alone = (template != UNION)[..., None, None]
    size = draws.uniform("part.size", 0.35, 1.0, G, K, 3) * torch.where(alone, 0.9, 0.55)
    sharp = draws.chance("part.sharp", 0.35, G, K)
    tapered = torch.stack([size[..., 0], torch.where(sharp, 0.02 * size[..., 0], size[..., 1]), size[..., 2]], -1)
    cylinder = torch.stack([size[..., 0], size[..., 0], size[..., 2]], -1)
    frustum = torch.where(draws.chance("part.cylinder", 0.5, G, K)[..., None], cylinder, tapered)
    size = torch.where((kind == shapes.FRUSTUM)[..., None], frustum, size)
    tube = size[..., 0] * draws.uniform("part.tube", 0.2, 0.5, G, K)
    size = torch.where((kind == shapes.TORUS)[..., None], torch.stack([size[..., 0] - tube, tube, tube], -1), size)
    long_ = torch.stack([0.35 * size[..., 0], 0.35 * size[..., 1], size[..., 2]], -1)
    size = torch.where((soft & (kind == shapes.SUPERQUADRIC))[..., None], long_, size)
    board = torch.stack([torch.full_like(size[..., 0], 0.03), size[..., 1] * 1.1, size[..., 2] * 0.9], -1)
    size = torch.where(panel[..., None], board, size)

    at = torch.where(alone, 0.0, 0.45 * draws.normal("part.at", G, K, 3).clamp(-1.5, 1.5))
    exponents = draws.log_uniform("part.exponents", 1.5, 8.0, G, K, 2)
    rotation = about_axis(draws.direction("part.axis", G, K), draws.uniform("part.turn", -math.pi, math.pi, G, K))
    straight = alone[..., None] | draws.chance("part.straight", 0.5, G, K)[..., None, None]
    identity = torch.eye(3, dtype=rotation.dtype, device=device)
    return kind, size, at, exponents, torch.where(straight, identity, rotation)


def _joints(
    draws: Draws, plan: Plan, rows: Table, at: Tensor, size: Tensor, speed: Tensor
) -> tuple[Tensor, Tensor, Waves]:
    """Pivots and axes [B, G, K, J, 3], and angles as `Parts` holds them."""
    _, G, K, _ = at.shape
    template, scale = plan.template, plan.scale[..., None]
    built = ((template == FIGURE) | (template == VEHICLE) | (template == TABLE))[..., None]
    moves = plan.moves[..., None]
    # A union's limb turns about an axis near the middle of the thing; a spinning one goes on, another swings.
    limb = (template == UNION)[..., None] & draws.chance("joint.limb", 0.35, G, K) & moves
    limb[..., 0] = False
    y_axis = torch.tensor([0.0, 1, 0], dtype=at.dtype, device=at.device)
    axis = torch.where(built[..., None, None], y_axis, draws.direction("joint.axis", G, K, JOINTS))
    pivot = torch.where(
        built[..., None, None],
        rows.hinges[template] * scale[..., None, None],
        (0.3 * at)[..., None, :].expand(-1, -1, -1, JOINTS, -1),
    )
    rhythm = draws.uniform("joint.rhythm", 4.0, 8.0, G)[..., None, None]
    phase = draws.uniform("joint.phase", 0, 2 * math.pi, G)[..., None, None] - rows.delays[template]
    lively = draws.uniform("joint.lively", 0.5, 1.5, G)[..., None, None]
    swing = torch.where(built[..., None], rows.swings[template] * lively, 0.0)
    outer = torch.zeros(JOINTS, dtype=torch.bool, device=at.device)
    outer[0] = True
    limb_swing = draws.uniform("joint.swing", 0.2, 1.0, G, K)
    goes_round = limb & draws.chance("joint.round", 0.3, G, K)
    swing = torch.where((limb & ~goes_round)[..., None] & outer, limb_swing[..., None], swing) * moves[..., None]
    turning = draws.uniform("joint.turning", -3, 3, G, K)
    rolling = speed[..., None] / size[..., 0].clamp_min(1e-3)
    rate = torch.where(goes_round[..., None] & outer, turning[..., None], 0.0)
    rate = torch.where(rows.rolls[template][..., None] & ~outer, (rolling * moves)[..., None], rate)
    bend = torch.where(built[..., None], rows.bends[template], 0.0)
    zero = torch.zeros_like(swing)
    offset = bend + swing * phase.expand_as(swing).sin()
    angle = Waves(
        offset,
        rate,
        zero,
        torch.stack([swing, zero], -1),
        torch.stack([rhythm.expand_as(swing), zero], -1),
        torch.stack([phase.expand_as(swing), zero], -1),
    )
    return pivot, axis, angle.map(lambda x: x.flatten(1, 2))


def _softness(draws: Draws, plan: Plan, size: Tensor) -> Waves:
    """States of `softness` for the parts of soft things; all others stay rigid."""
    _, G, K, _ = size.shape
    length = size.amax(-1).clamp_min(1e-3)
    soft = (plan.template == SOFT)[..., None]
    reach = torch.stack(
        [
            draws.uniform("soft.stretch", 0.0, 0.3, G, K),
            draws.uniform("soft.twist", 0.0, 1.2, G, K) / length,
            draws.uniform("soft.bend", 0.0, 0.5, G, K) / length,
            draws.uniform("soft.wave", 0.0, 0.18, G, K) * length,
            torch.zeros_like(length),
            torch.zeros_like(length),
        ],
        -1,
    )
    has = draws.chance("soft.has", 0.6, G, K, STATES)
    has[..., 2] |= ~has[..., :4].any(-1)
    reach = reach * has * soft[..., None]
    # Amplitude and number of the wave stay; its phase runs on.
    number = draws.uniform("soft.number", 1.5, 4.0, G, K) / length
    constant = torch.zeros_like(reach)
    constant[..., 3], constant[..., 4] = reach[..., 3], number * soft
    swing = reach.clone()
    swing[..., 3:] = 0
    moves = (plan.moves[..., None] & soft)[..., None]
    velocity = torch.zeros_like(reach)
    velocity[..., 5] = draws.uniform("soft.run", 2.0, 7.0, G, K) * (reach[..., 3] > 0)
    phase = draws.uniform("soft.phase", 0, 2 * math.pi, G, K, STATES)
    zero = torch.zeros_like(reach)
    waves = Waves(
        constant + swing * phase.sin(),
        velocity * moves,
        zero,
        torch.stack([swing * moves, zero], -1),
        torch.stack([draws.uniform("soft.rate", 1.5, 6.0, G, K, STATES), zero], -1),
        torch.stack([phase, zero], -1),
    )
    return waves.map(lambda x: x.flatten(1, 2))


def _bounding_radius(parts: Parts) -> Tensor:
    """[B, N] of a sphere about the origin that holds the part in every state it can take; -1 in empty slots."""
    a, b, c = parts.size.unbind(-1)
    radius = torch.where(parts.kind == shapes.ELLIPSOID, parts.size.amax(-1), parts.size.norm(dim=-1))
    radius = torch.where(parts.kind == shapes.FRUSTUM, (torch.maximum(a, b).square() + c.square()).sqrt(), radius)
    radius = torch.where(parts.kind == shapes.TORUS, a + b, radius)
    most = parts.soft.offset.abs() + 2 * parts.soft.amplitude.abs().sum(-1)
    stretched = radius * most[..., 0].exp()
    radius = stretched + most[..., 2] * stretched.square() + 2 * most[..., 3]
    return torch.where(parts.kind == shapes.NONE, -1.0, radius)
