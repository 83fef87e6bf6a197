# SPDX-License-Identifier: Apache-2.0
"""Small charts as SVG: bars in parts, and lines. No library draws these, so that a robot need not have one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

COLORS = ("#3b6fb6", "#d1603d", "#4f9d69", "#8a5fb0", "#c9a227", "#5b8c99", "#a14a76", "#777777")
WIDTH = 720
_LEFT, _RIGHT, _TOP, _LINE = 190, 40, 40, 18
_BAR = 22


def bar_chart(title: str, unit: str, bars: Mapping[str, Mapping[str, float]]) -> str:
    """Horizontal bars, each of its parts in order.

    Args:
        title: above the bars.
        unit: of the values.
        bars: by name, the parts by theirs; values >= 0.
    """
    parts = list(dict.fromkeys(part for bar in bars.values() for part in bar))
    most = max((sum(bar.values()) for bar in bars.values()), default=0.0) or 1.0
    scale = (WIDTH - _LEFT - _RIGHT - 60) / most
    drawn = []
    for row, (name, bar) in enumerate(bars.items()):
        y = _TOP + row * (_BAR + 8)
        drawn.append(_text(_LEFT - 8, y + 15, name, "end"))
        x = float(_LEFT)
        for part, value in bar.items():
            drawn.append(_rectangle(x, y, value * scale, _BAR, COLORS[parts.index(part) % len(COLORS)]))
            x += value * scale
        drawn.append(_text(x + 6, y + 15, f"{sum(bar.values()):.3g} {unit}"))
    foot = _TOP + len(bars) * (_BAR + 8) + 10
    drawn += _legend(parts, foot)
    return _svg(title, foot + 2 * _LINE, drawn)


def line_chart(title: str, x_label: str, y_label: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Lines with a mark at each measurement; both axes begin at 0.

    Args:
        title: above the chart.
        x_label: what is varied, with its unit.
        y_label: what is measured, with its unit.
        lines: (x, y) of each, by name; values >= 0.
    """
    points = [point for line in lines.values() for point in line]
    right, top = (_nice(max((point[axis] for point in points), default=1.0)) for axis in (0, 1))
    height = 240
    across, up = (WIDTH - _LEFT - _RIGHT) / right, height / top
    base = _TOP + height
    drawn = [_path([(_LEFT, _TOP), (_LEFT, base), (WIDTH - _RIGHT, base)], "#999999")]
    for tick in range(5):
        drawn.append(_text(_LEFT - 8, base - tick * height / 4 + 4, f"{top * tick / 4:.3g}", "end"))
        drawn.append(_text(_LEFT + tick * across * right / 4, base + 16, f"{right * tick / 4:.3g}", "middle"))
    drawn.append(_text(WIDTH - _RIGHT, base + 34, x_label, "end"))
    drawn.append(_text(8, _TOP + 4, y_label))
    for index, line in enumerate(lines.values()):
        color = COLORS[index % len(COLORS)]
        places = [(_LEFT + x * across, base - y * up) for x, y in line]
        drawn.append(_path(places, color))
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
    drawn += _legend(list(lines), base + 46)
    return _svg(title, base + 46 + 2 * _LINE, drawn)


def _nice(most: float) -> float:
    """The next number above that reads well: 1, 2, 4 or 5 times a power of ten."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= most * (1 - 1e-9))


def _legend(names: Sequence[str], y: float) -> list[str]:
    drawn, x = [], float(_LEFT)
    for index, name in enumerate(names):
        drawn.append(_rectangle(x, y, 12, 12, COLORS[index % len(COLORS)]))
        drawn.append(_text(x + 16, y + 10, name))
        x += 30 + 7 * len(name)
    return drawn


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _rectangle(x: float, y: float, width: float, height: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{color}"/>'


def _path(places: Sequence[tuple[float, float]], color: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>'


def _svg(title: str, height: float, drawn: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="13">'
    )
    back = f'<rect width="{WIDTH}" height="{height:.0f}" fill="white"/>'
    heading = f'<text x="8" y="22" font-size="15">{escape(title)}</text>'
    return "\n".join([head, back, heading, *drawn, "</svg>"]) + "\n"
