# SPDX-License-Identifier: Apache-2.0
"""Which TensorRT is taken, and what is said of one that cannot be."""

import logging
import sys

import fake_tensorrt
import pytest

from dpm_core.engines import tensorrt_library
from dpm_core.engines.tensorrt_library import libraries, load_library, logger, parse_capability, told
from dpm_core.errors import DpmError


@pytest.fixture(autouse=True)
def forgotten():
    """What a test makes of a name is not what the next one finds."""
    load_library.cache_clear()
    yield
    load_library.cache_clear()


def installed(monkeypatch, **versions):
    """Stand-ins of these versions are importable, and nothing else."""
    monkeypatch.setattr(tensorrt_library, "available", lambda: list(versions))
    for name in tensorrt_library.NAMES:
        # None in sys.modules is what Python takes for "not installed".
        module = fake_tensorrt.library(name, versions[name]).module if name in versions else None
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("version", ["10.9.0", "10.13.3", "11.4.1"])
def test_tensorrt_from_10_9_on(monkeypatch, version):
    installed(monkeypatch, tensorrt=version)
    library = load_library("tensorrt")
    assert str(library) == f"tensorrt {version}"
    assert library.caches_timings
    assert not library.builds_ahead


def test_an_older_tensorrt_is_refused(monkeypatch):
    installed(monkeypatch, tensorrt="10.3.0", tensorrt_rtx="1.7.1")
    with pytest.raises(DpmError, match=r"tensorrt 10\.3\.0 is too old; install 10\.9 or newer"):
        load_library("tensorrt")
    assert [str(each) for each in libraries()] == ["tensorrt_rtx 1.7.1"]


def test_tensorrt_rtx_builds_ahead_and_keeps_no_timings(monkeypatch):
    installed(monkeypatch, tensorrt_rtx="1.7.1")
    (library,) = libraries()
    assert library.builds_ahead
    assert not library.caches_timings


def test_one_that_is_not_installed(monkeypatch):
    installed(monkeypatch)
    with pytest.raises(DpmError, match="tensorrt is not installed; get it with: pip install tensorrt"):
        load_library("tensorrt")
    assert libraries() == []


def test_one_whose_shared_libraries_are_missing(monkeypatch):
    def broken(name):
        raise ImportError("libnvinfer.so.10: cannot open shared object file\n")

    monkeypatch.setattr(tensorrt_library, "import_module", broken)
    with pytest.raises(
        DpmError, match=r"tensorrt does not import \(libnvinfer\.so\.10: cannot open .*; see `dpm doctor`"
    ):
        load_library("tensorrt")


def test_what_the_library_says_goes_to_the_log_and_its_errors_into_messages(caplog):
    said = logger(fake_tensorrt.library())
    severity = fake_tensorrt.Severity
    with caplog.at_level(logging.DEBUG, "dpm.tensorrt"):
        said.log(severity.VERBOSE, "thousands of these")
        said.log(severity.WARNING, "slower than it could be")
        said.log(severity.ERROR, "no\n memory")
    assert caplog.messages == ["slower than it could be", "no\n memory"]
    assert said.last_error == "no memory"


def test_capabilities_are_read_and_told():
    assert [parse_capability(text) for text in ("8.6", "12.0")] == [(8, 6), (12, 0)]
    assert told([(8, 6), (12, 0)]) == "8.6, 12.0"


@pytest.mark.parametrize("text", ["", "8", "8.", "sm86", "8.6.1", "-8.6", "8,6"])
def test_what_is_no_capability(text):
    with pytest.raises(DpmError, match=r"is no compute capability; give such as 8\.6"):
        parse_capability(text)
