# SPDX-License-Identifier: Apache-2.0
"""The page of results says what the files of figures say."""

import json
from pathlib import Path

import pytest

from dpm_core.cli import main
from dpm_core.cli.bench_report import read, report

DOCS = Path(__file__).parents[2] / "docs"
MEASURED = DOCS / "measurements"


def test_the_page_in_the_documentation_is_made_from_its_figures():
    page, charts = report(read(MEASURED), MEASURED.name)
    assert (DOCS / "performance.md").read_text() == page
    for name, chart in charts.items():
        assert (MEASURED / name).read_text() == chart
        assert f"({MEASURED.name}/{name})" in page


def test_the_command_writes_page_and_charts(tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "stream.json").write_text((MEASURED / "stream.json").read_text())
    assert main(["bench", "report", "--folder", str(folder), "--out", str(tmp_path / "page.md")]) == 0
    told = json.loads((folder / "stream.json").read_text())
    page = (tmp_path / "page.md").read_text()
    for way in told["paths"]:
        assert f"**{way['ratio']:.2f}**" in page
        assert way["name"] in page
    assert (folder / "stream.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("content", ["{", "[]", '{"machine": {}}'])
def test_a_file_that_holds_no_figures_is_named(tmp_path, capsys, content):
    (tmp_path / "stream.json").write_text(content)
    assert main(["bench", "report", "--folder", str(tmp_path), "--out", str(tmp_path / "page.md")]) == 2
    assert "stream.json" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()


def test_an_empty_folder_is_told(tmp_path, capsys):
    assert main(["bench", "report", "--folder", str(tmp_path)]) == 2
    assert "--measure" in capsys.readouterr().err
