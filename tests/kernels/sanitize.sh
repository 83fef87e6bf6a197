#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the CPU tests of the kernels with AddressSanitizer and UndefinedBehaviorSanitizer, in a build of their own.
#   tests/kernels/sanitize.sh [pytest arguments]     PYTHON=… chooses the interpreter
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
build=$root/build/sanitize

cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDPM_CUDA=OFF -DDPM_CPU= \
  -DDPM_SANITIZE=address,undefined -DPython_EXECUTABLE="$python" \
  -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)"
cmake --build "$build" --target _kernels

# A copy of the Python side with the sanitized module in it, so that the ordinary build stays as it is.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r "$root/dpm_core" "$copy/"
rm -f "$copy"/dpm_core/kernels/_kernels*.so
cp "$build"/python/_kernels*.so "$copy/dpm_core/kernels/"

# Python itself is not sanitized, so the runtime is loaded first; Python and torch keep memory until the end: no leaks.
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so) $(g++ -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0:detect_odr_violation=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export PYTHONPATH=$copy PYTHONDONTWRITEBYTECODE=1
cd "$copy"
"$python" -c 'import dpm_core.kernels._native as n, sys; sys.exit(not n.native.__file__.startswith(sys.argv[1]))' "$copy"
"$python" -m pytest -q -p no:cacheprovider --rootdir "$root/tests" -c "$root/pyproject.toml" "$root/tests/kernels" "$@"
