# SPDX-License-Identifier: Apache-2.0
"""docs/faults.md and the tests say the same."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FAULTS, _, _ = (HERE.parents[1] / "docs" / "faults.md").read_text().partition("## Long runs")
ROWS = [line for line in FAULTS.splitlines() if line.startswith("| ") and "| test |" not in line]
REFERENCE = re.compile(r"`(test_\w+\.py)(?:::(test_\w+))?` \|$")


def names_in(path):
    """Names of the test functions in a file."""
    return {each.name for each in ast.parse(path.read_text()).body if getattr(each, "name", "").startswith("test_")}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_row_names_a_test_that_there_is(row):
    found = REFERENCE.search(row)
    assert found, "the last column names a test"
    (path,) = HERE.parent.rglob(found[1])
    assert found[2] is None or found[2] in names_in(path)


def test_every_fault_test_is_a_row():
    named = {REFERENCE.search(row).groups() for row in ROWS}
    files = set(HERE.glob("test_fault_*.py")) - {Path(__file__), HERE / "test_fault_fuzz.py"}
    assert files
    assert {(path.name, name) for path in files for name in names_in(path)} <= named
