# SPDX-License-Identifier: Apache-2.0
"""Foxglove's layout against the node's own tables: topics, their types, and panels that show such types."""

import json

import pytest
from dpm_ros.interface import DIAGNOSTICS, OUTPUTS
from dpm_ros.parameters import PARAMETERS
from harness import ROOT

LAYOUT = json.loads((ROOT / "launch" / "dpm.foxglove.json").read_text())
PANELS = LAYOUT["configById"]
TYPES = {f"/{output.name.lstrip('/')}": output.type.__name__ for output in OUTPUTS}
DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}

# What Foxglove's 3D panel draws, and the settings that it keeps for each.
SETTINGS = {
    "PointCloud2": {"visible", "colorMode", "colorField", "pointShape", "pointSize", "decayTime"},
    "MarkerArray": {"visible"},
    "Path": {"visible", "type", "lineWidth", "gradient"},
    "PoseStamped": {"visible", "type", "axisScale"},
    "Odometry": {"visible", "type", "axisScale"},
    "CameraInfo": {"visible", "distance", "color", "width"},
}

OF_COLOR_MODE = {"gradient": {"gradient", "minValue", "maxValue"}}


def panels(kind):
    return {name: config for name, config in PANELS.items() if name.split("!")[0] == kind}


def test_it_has_the_parts_of_an_exported_layout():
    assert set(LAYOUT) == {"configById", "globalVariables", "userNodes", "playbackConfig", "layout"}
    assert {name.split("!")[0] for name in PANELS} == {"3D", "Image", "DiagnosticSummary"}


def test_every_panel_is_laid_out_once():
    def named(part):
        if isinstance(part, str):
            return [part]
        assert part["direction"] in ("row", "column")
        assert 0 < part["splitPercentage"] < 100
        return named(part["first"]) + named(part["second"])

    assert sorted(named(LAYOUT["layout"])) == sorted(PANELS)


def test_the_world_shows_topics_of_the_node_with_settings_of_their_types():
    (world,) = panels("3D").values()
    for topic, settings in world["topics"].items():
        of_mode = OF_COLOR_MODE.get(settings.get("colorMode"), set())
        assert set(settings) == SETTINGS[TYPES[topic]] | of_mode, topic
    drawn = {topic for topic, kind in TYPES.items() if kind in SETTINGS}
    assert set(world["topics"]) == drawn


@pytest.mark.parametrize("topic", ["/map", "/points/dynamic", "/points/trail", "/scene_flow", "/tracks", "/path"])
def test_the_moving_world_is_seen_at_once(topic):
    (world,) = panels("3D").values()
    assert world["topics"][topic]["visible"]


def test_what_moved_fades_with_its_age_until_the_trail_ends():
    (world,) = panels("3D").values()
    trail = world["topics"]["/points/trail"]
    assert (trail["colorMode"], trail["colorField"]) == ("gradient", "age")
    assert (trail["minValue"], trail["maxValue"], trail["decayTime"]) == (0, DEFAULTS["trail_seconds"], 0)
    new, old = trail["gradient"]
    assert (new[-2:], old[-2:]) == ("ff", "00")


def test_the_world_stands_in_the_upright_frame_of_the_node():
    (world,) = panels("3D").values()
    assert world["followTf"] == DEFAULTS["world_frame"]


def test_images_are_images_and_have_their_calibration():
    for config in panels("Image").values():
        mode = config["imageMode"]
        assert TYPES[mode["imageTopic"]] == "Image"
        assert TYPES[mode["calibrationTopic"]] == "CameraInfo"


def test_health_is_the_node_s_diagnostics():
    (health,) = panels("DiagnosticSummary").values()
    assert health["topicToRender"] == DIAGNOSTICS.name
