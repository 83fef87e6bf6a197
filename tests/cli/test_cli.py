# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

from dpm_core import cli
from dpm_core.cli.commands import Command, dispatch, in_module
from dpm_core.errors import DpmError

SLOW = ("torch", "cv2", "numpy", "tyro", "rich", "av", "rosbags", "rerun", "huggingface_hub")


def test_help_loads_nothing_slow():
    program = (
        "import sys; from dpm_core.cli import main; code = main(['--help']); "
        f"print(*sorted(set(sys.modules) & set({SLOW!r})), sep=',', file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == ""
    assert "usage: dpm COMMAND" in done.stdout


@pytest.mark.parametrize("module", ["run", "doctor"])
def test_help_of_a_command_waits_for_no_torch(module):
    program = f"import sys, dpm_core.cli.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    told = capsys.readouterr().out
    for name in ("run", "doctor", "weights", "bench", "replay", "record"):
        assert f"\n  {name} " in told


def test_no_command_is_a_mistake(capsys):
    assert cli.main([]) == 2
    assert "usage: dpm COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "meant"), [("rum", "run"), ("docter", "doctor"), ("wieghts", "weights")])
def test_the_nearest_command_is_named(capsys, typed, meant):
    assert cli.main([typed]) == 2
    assert capsys.readouterr().err.startswith(f"dpm: there is no command 'dpm {typed}'; did you mean '{meant}'? ")


def raising(error):
    def main(argv):
        raise error

    return {"fail": Command("fails", lambda: main)}


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DpmError("the thing; the way out"), 2, "dpm: the thing; the way out\n"),
        (KeyboardInterrupt(), 130, "dpm: interrupted; nothing was left half-written\n"),
        (ModuleNotFoundError("no", name="av"), 2, "dpm: this command needs 'av', which is not installed; try: pip"),
    ],
)
def test_what_ends_a_command(capsys, monkeypatch, error, code, words):
    monkeypatch.setattr(cli, "commands", lambda: raising(error))
    assert cli.main(["fail"]) == code
    assert capsys.readouterr().err.startswith(words)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setattr(cli, "commands", lambda: raising(RuntimeError("bug")))
    with pytest.raises(RuntimeError, match="bug"):
        cli.main(["fail"])


def test_arguments_go_to_the_command_and_its_code_comes_back():
    seen = []

    def main(argv):
        seen.append(argv)
        return 7

    table = {"do": Command("does", lambda: main)}
    assert dispatch("dpm", "about", table, ["do", "--it", "now"]) == 7
    assert seen == [["--it", "now"]]


def test_modules_are_imported_when_called():
    command = in_module("dpm_core.nothing", "not there")
    with pytest.raises(ModuleNotFoundError):
        command.load()


def test_a_command_of_another_package_that_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(cli, "entry_points", lambda group: ())
    assert cli.main(["replay", "bag"]) == 2
    assert capsys.readouterr().err.startswith("dpm: 'dpm replay' comes with the ROS package dpm_ros, which is not")


def test_commands_of_other_packages_are_found(capsys, monkeypatch):
    from importlib.metadata import EntryPoint

    brought = [
        EntryPoint("replay", "operator:length_hint", "dpm.commands"),
        EntryPoint("theirs", "their_package.tool:main", "dpm.commands"),
    ]
    monkeypatch.setattr(cli, "entry_points", lambda group: brought)
    found = cli.commands()
    assert found["theirs"].help == "of their_package"
    assert found["replay"].load() is __import__("operator").length_hint


def test_bench_is_a_table_too(capsys):
    assert cli.main(["bench", "--help"]) == 0
    assert "kernels" in capsys.readouterr().out
    assert cli.main(["bench", "kernel"]) == 2
    assert "did you mean 'kernels'?" in capsys.readouterr().err
