# SPDX-License-Identifier: Apache-2.0
from xml.etree import ElementTree

import pytest

from dpm_core.io.charts import WIDTH, bar_chart, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg, kind):
    return list(ElementTree.fromstring(svg).iter(SVG + kind))


def texts(svg):
    return [element.text for element in drawn(svg, "text")]


def test_bars_are_as_long_as_their_values():
    svg = bar_chart("a & b", "ms", {"live": {"encode": 1.0, "predict": 3.0}, "plain": {"predict": 8.0}})
    encode, predict, plain = [float(bar.get("width")) for bar in drawn(svg, "rect")][1:4]
    assert predict == pytest.approx(3 * encode, rel=0.01)
    assert plain == pytest.approx(8 * encode, rel=0.01)
    assert {"a & b", "live", "plain", "encode", "predict", "4 ms", "8 ms"} <= set(texts(svg))


def test_lines_go_up_with_their_values_and_stay_inside():
    svg = line_chart("cost", "times", "ms", {"mini": [(1, 10.0), (2, 19.0), (4, 40.0)]})
    heights = [float(mark.get("cy")) for mark in drawn(svg, "circle")]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] - heights[1] == pytest.approx(0.3 * (heights[0] - heights[2]), rel=0.05)
    assert all(0 <= float(mark.get("cx")) <= WIDTH for mark in drawn(svg, "circle"))
    assert {"cost", "times", "ms", "mini"} <= set(texts(svg))


@pytest.mark.parametrize("svg", [bar_chart("none", "ms", {}), line_chart("none", "x", "y", {"zero": [(0, 0)]})])
def test_nothing_to_draw_is_still_a_chart(svg):
    assert "none" in texts(svg)
