# SPDX-License-Identifier: Apache-2.0
"""One table: what is declared, documented, written as YAML and used is the same."""

import pytest
import yaml
from dpm_ros import documentation, parameters
from dpm_ros.interface import OUTPUTS
from dpm_ros.node import DpmNode
from dpm_ros.parameters import PARAMETERS
from harness import ROOT
from oracle import OracleEngine, frame
from std_srvs.srv import Trigger

from dpm_core.stream import Session, SessionConfig
from dpm_core.stream.config import STRUCTURAL, by_name

NAMES = [parameter.name for parameter in PARAMETERS]


def test_names_are_unique():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=NAMES)
def test_defaults_are_allowed_and_described(parameter):
    assert parameter.help
    assert not parameter.choices or parameter.default in parameter.choices
    assert parameter.range is None or parameter.range[0] <= parameter.default <= parameter.range[1]


def test_every_threshold_of_the_session_is_a_parameter_with_its_default():
    defaults = {parameter.name: parameter.default for parameter in PARAMETERS}
    for name, default in by_name(SessionConfig()).items():
        assert defaults[name] == default


def test_values_reach_the_part_of_the_session_that_they_are_named_after():
    values = {parameter.name: parameter.default for parameter in PARAMETERS}
    config = parameters.session_config(values | {"map.see_through": 0.25, "tracks.count": 7, "voxel": 0.125})
    assert (config.map.see_through, config.tracks.count, config.voxel) == (0.25, 7, 0.125)


def test_only_what_the_session_can_change_may_change():
    changeable = {parameter.name for parameter in PARAMETERS if not parameter.read_only}
    assert changeable == set(by_name(SessionConfig())) - set(STRUCTURAL)


def test_the_yaml_is_the_table():
    written = yaml.safe_load(documentation.parameters_yaml())["/**"]["ros__parameters"]
    assert written == {parameter.name: parameter.default for parameter in PARAMETERS}


@pytest.mark.parametrize("name", documentation.files())
def test_written_files_are_current(name):
    renew = "python -m dpm_ros.documentation"
    assert (ROOT / name).read_text(encoding="utf-8") == documentation.files()[name], f"renew it with: {renew}"


def test_the_page_names_every_topic_and_parameter():
    page = documentation.interface_page()
    for name in [*NAMES, *(output.name for output in OUTPUTS)]:
        assert f"`{name}`" in page


def test_every_parameter_is_used(graph, monkeypatch):
    asked = set()

    class Recording(dict):
        def __getitem__(self, name):
            asked.add(name)
            return super().__getitem__(name)

        def get(self, name, default=None):
            asked.add(name)
            return super().get(name, default)

    class Watched(DpmNode):
        def get_parameter(self, name):
            asked.add(name)
            return super().get_parameter(name)

    def read(node):
        return Recording({name: DpmNode.get_parameter(node, name).value for name in NAMES})

    monkeypatch.setattr(parameters, "first_fault", lambda values: None)  # which looks at all
    monkeypatch.setattr(parameters, "read", read)
    node = Watched(lambda *_: OracleEngine(), context=graph.context)
    try:
        node.trigger_configure()
        node.trigger_activate()
        node._tell_health()
        node._newest = Session(OracleEngine()).process(frame(0))
        node._save_map(None, Trigger.Response())
    finally:
        node.close()
        node.destroy_node()
    assert set(NAMES) - asked == {"autostart"}  # asked by main, before the rest
