# SPDX-License-Identifier: Apache-2.0
"""What a window frees is kept for the next one; page faults tell."""

import os
import platform
import subprocess
import sys

import pytest

from dpm_core import host_memory

FAULTS = """
import dpm_core
import resource, threading, torch

def faults():
    tensor = lambda: torch.ones(10 << 20)  # 40 MiB: by itself the C library keeps no block over 32
    for _ in range(12):  # small pieces between the blocks are kept apart at first
        tensor()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        tensor()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

worker = threading.Thread(target=faults)
worker.start()
worker.join()
faults()
"""
PAGES = 4 * (40 << 20) // os.sysconf("SC_PAGE_SIZE")

only_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GNU's")


@only_glibc
def test_memory_is_not_mapped_anew_for_every_window_in_any_thread():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True)
    in_worker, in_main = map(int, done.stdout.split())
    assert in_worker < PAGES / 4
    assert in_main < PAGES / 4


@pytest.mark.parametrize("name", host_memory.OWN_SETTINGS)
def test_who_set_the_c_librarys_own_variables_is_left_alone(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert not host_memory.keep_freed_memory()


def test_another_c_library_is_no_error(monkeypatch):
    for name in host_memory.OWN_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(host_memory.ctypes, "CDLL", lambda name: object())
    assert not host_memory.keep_freed_memory()
