#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# On a machine with a GPU, in one call and without a network: builds the kernels for that GPU with every warning an error,
# runs the CPU and GPU tests, checks memory and races, and measures. Results lie under $OUT (default build/gpu), the
# summary in $OUT/summary.txt; the exit code is that of the first step that failed.
#   PYTHON=…  an interpreter with torch (default python3)     WHEELS=…  a folder with wheels of what it lacks
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${OUT:-$root/build/gpu}
mkdir -p "$out"
cd "$root"

environment=$root/build/gpu-environment
"${PYTHON:-python3}" -m venv --system-site-packages "$environment"
# A virtual environment made inside another one sees only the outermost; name the packages of the given interpreter.
"${PYTHON:-python3}" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
  > "$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/given.pth"
export PATH=$environment/bin:$PATH
if [ -n "${WHEELS:-}" ]; then
  python -m pip install --quiet --no-index --find-links "$WHEELS" \
    pybind11 cmake ninja pytest pytest-timeout hypothesis tyro rich pillow
fi

failed=0
step() {  # step NAME COMMAND…: runs it, keeps its output, goes on whatever comes of it
  local name=$1 begin code
  shift
  begin=$(date +%s)
  "$@" > "$out/$name.log" 2>&1
  code=$?
  echo "$name: exit $code after $(($(date +%s) - begin)) s" | tee -a "$out/summary.txt"
  if [ $code -ne 0 ]; then
    tail -n 15 "$out/$name.log"
    [ $failed -ne 0 ] || failed=$code
  fi
}

: > "$out/summary.txt"
nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader 2> /dev/null | tee -a "$out/summary.txt"
export DPM_CUDA=ON DPM_WERROR=ON DPM_CUDA_ARCHITECTURES=${DPM_CUDA_ARCHITECTURES:-native}
step build python setup.py build_ext --inplace
step cpu_tests python -m pytest -q tests/kernels
step gpu_tests python -m pytest -q tests/gpu
if command -v compute-sanitizer > /dev/null; then
  # Few examples each: what is looked for does not depend on the numbers.
  for tool in memcheck racecheck initcheck; do
    step "$tool" compute-sanitizer --tool $tool --error-exitcode 66 --target-processes all \
      python tests/gpu/exercise_kernels.py
  done
else
  echo "no compute-sanitizer on PATH: memory and races were not checked" | tee -a "$out/summary.txt"
fi
step bench_8_views python -m dpm_core.cli bench kernels --device cuda --repeats 50 --json "$out/bench_8_views.json"
step bench_32_views python -m dpm_core.cli bench kernels --device cuda --views 32 --repeats 30 \
  --json "$out/bench_32_views.json"
cat "$out/bench_8_views.log" "$out/bench_32_views.log" 2> /dev/null
exit $failed
