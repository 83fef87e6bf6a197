# SPDX-License-Identifier: Apache-2.0
"""A status says what an operator must know, and its counts add up."""

from dataclasses import replace

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from dpm_ros.diagnostics import Health, diagnostic_status

from dpm_core.stream import Percentiles, Statistics
from dpm_core.types import MetricScale

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

HEALTHY = Health(
    state="active",
    seconds=10.0,
    statistics=Statistics(30, 25, {"overload": 4}, 1, {"total": Percentiles(0.01, 0.02, 0.5)}),
    rejected={"unreadable image": 2},
    faults={"gap": (3, "a gap in time")},
    engine="vdpm-mini (torch, cpu)",
    notice=None,
    unit="m",
    scale=MetricScale(0.375, 0.0123, "depth"),
    map_points=1234,
    tracks=56,
    stamp_age=0.25,
    clock_ns=10**18,
    clock_stands=False,
    silent_for=0.1,
    silence_limit=5.0,
)
BEFORE = replace(HEALTHY, seconds=8.0, statistics=replace(HEALTHY.statistics, frames_in=10, estimates_out=15))


def judged(now, before=None):
    status = diagnostic_status("dpm: stream", now, before)
    return status.level, status.message


def told(now, before=None):
    return {value.key: value.value for value in diagnostic_status("dpm: stream", now, before).values}


def test_frames_in_are_estimates_out_and_drops_by_reason_and_what_waits():
    values = told(HEALTHY)
    dropped = sum(int(value) for key, value in values.items() if key.startswith("dropped: "))
    assert int(values["frames in"]) == int(values["estimates out"]) + dropped + int(values["waiting"])


def test_rates_latency_and_faults_are_told():
    values = told(HEALTHY, BEFORE)
    assert (values["input rate (Hz)"], values["output rate (Hz)"]) == ("10.0", "5.0")
    assert (values["latency: total p50 (ms)"], values["latency: total max (ms)"]) == ("10.0", "500.0")
    assert values["fault: gap"] == "3 times; a gap in time"
    assert (values["unit"], values["engine"], values["stamp age (s)"]) == ("m", "vdpm-mini (torch, cpu)", "0.250")


def test_the_size_of_what_is_remembered_is_told():
    values = told(HEALTHY)
    assert (values["map (points)"], values["tracks"]) == ("1234", "56")


def test_the_scale_is_told_with_its_uncertainty_and_its_source():
    values = told(HEALTHY)
    assert values["scale"] == "0.375 m a unit of the network"
    assert (values["scale uncertainty (%)"], values["scale source"]) == ("1.23", "depth")
    assert told(replace(HEALTHY, unit="network", scale=None))["scale"] == "unscaled"


@pytest.mark.parametrize(
    ("change", "before", "expected"),
    [
        ({}, BEFORE, (OK, "running")),
        ({"notice": "untrained weights"}, BEFORE, (OK, "untrained weights")),
        ({"silent_for": 7.0}, BEFORE, (ERROR, "no images for 7 s")),
        ({"silent_for": 7.0, "clock_stands": True}, BEFORE, (WARN, "paused: /clock stands still")),
        ({"rejected": {"unreadable image": 5}}, BEFORE, (WARN, "dropped by unreadable image: 3")),
        ({"rejected": {"unreadable image": 5}}, HEALTHY, (ERROR, "no estimates; dropped by unreadable image: 3")),
        ({"state": "inactive", "silent_for": 99.0}, BEFORE, (OK, "inactive")),
        ({"state": "unconfigured", "statistics": None}, None, (OK, "unconfigured")),
    ],
)
def test_the_level_is_that_of_the_worst(change, before, expected):
    assert judged(replace(HEALTHY, **change), before) == expected
