# SPDX-License-Identifier: Apache-2.0
"""Everything is declared in pyproject.toml; here only the native module, which CMake builds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
OPTIONS = ("DPM_CUDA", "DPM_CUDA_ARCHITECTURES", "DPM_CPU", "DPM_SANITIZE", "DPM_WERROR")


class CMakeBuild(build_ext):
    """Calls the one CMake description, CMakeLists.txt; its options are taken from the environment."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11

        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build = ROOT / "build" / str(sys.implementation.cache_tag)
        if not is_cache_of_this_tree(build / "CMakeCache.txt"):
            shutil.rmtree(build, ignore_errors=True)
        options = [f"-D{name}={os.environ[name]}" for name in OPTIONS if name in os.environ]
        configure = [
            *("cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"),
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        ]
        subprocess.run([*configure, *options], check=True)
        subprocess.run(["cmake", "--build", str(build), "--target", "_kernels"], check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(".new")
        shutil.copy2(build / "python" / target.name, fresh)
        os.replace(fresh, target)  # a process that has the old one loaded keeps it


def is_cache_of_this_tree(cache: Path) -> bool:
    """Whether an earlier build can go on: it was of these sources, and the tools that it remembers are still there.

    pip builds with a cmake and ninja of its own that are gone afterwards.
    """
    if not cache.exists():
        return False
    remembered = dict(line.split("=", 1) for line in cache.read_text().splitlines() if "=" in line)
    tools = ("CMAKE_COMMAND:INTERNAL", "CMAKE_MAKE_PROGRAM:FILEPATH", "CMAKE_CXX_COMPILER:FILEPATH")
    same_sources = remembered.get("CMAKE_HOME_DIRECTORY:INTERNAL") == str(ROOT)
    return same_sources and all(Path(remembered.get(tool, "gone")).exists() for tool in tools)


setup(
    ext_modules=[Extension("dpm_core.kernels._kernels", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
