# SPDX-License-Identifier: Apache-2.0
"""Every fault is counted, few are said."""

from dpm_ros.faults import FaultLog


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_first_of_a_cause_is_said_at_once_and_then_one_a_period_with_the_total():
    said, clock = [], Clock()
    log = FaultLog(said.append, period=10, clock=clock)
    for second in range(25):
        clock.now = second
        log.report("encoding", "it is 'xyz'")
    assert said == [
        "encoding: it is 'xyz'",
        "encoding: it is 'xyz' (11 times so far)",
        "encoding: it is 'xyz' (21 times so far)",
    ]
    assert log.totals() == {"encoding": (25, "it is 'xyz'")}


def test_causes_do_not_silence_each_other():
    said = []
    log = FaultLog(said.append)
    log.report("gap", "a")
    log.report("backwards", "b")
    assert said == ["gap: a", "backwards: b"]


def test_what_a_topic_sent_can_neither_fill_the_log_nor_break_its_lines():
    said = []
    FaultLog(said.append).report("encoding", "x\ny " * 10_000)
    assert len(said[0]) < 500
    assert "\n" not in said[0]
