#!/usr/bin/env bash
# gpu_bench_test.sh GPU_BENCH RUNNER COMPILER SOFT_GPU_DIR
#
# gpu_bench tells its cases without a GPU, and leaves no folder behind, however it fails. The case that fails runs on the
# soft GPU.
set -euo pipefail

gpu_bench=$1 runner=$2 compiler=$3 soft_gpu=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -m 700 "$work/run" "$work/tmp"
export XDG_RUNTIME_DIR=$work/run TMPDIR=$work/tmp IPCQ_RUNNER=$runner

fail() {
  echo "gpu_bench_test: $*" >&2
  exit 1
}

# No runner: as without a GPU, also where there is one.
IPCQ_RUNNER=/bin/false "$gpu_bench" --benchmark_list_tests >"$work/said" 2>&1 ||
  fail "--benchmark_list_tests fails: $(cat "$work/said")"
grep -q '^handlers/start' "$work/said" || fail "--benchmark_list_tests does not tell handlers/start: $(cat "$work/said")"

# fails COMPILER TEXT: handlers/start ends with code 1, TEXT and nothing left, where COMPILER makes the handlers.
fails() {
  local code=0
  LD_LIBRARY_PATH=$soft_gpu IPCQ_COMPILER=$1 "$gpu_bench" --benchmark_filter=handlers/start >"$work/said" 2>&1 || code=$?
  [[ $code == 1 ]] && grep -q -- "$2" "$work/said" || fail "it ends with $code, not with 1 and '$2': $(cat "$work/said")"
  [[ -z $(ls "$TMPDIR") ]] || fail "it leaves $(ls "$TMPDIR") ('$2')"
}

printf '#!/bin/sh\necho "cannot do that" >&2\nexit 1\n' >"$work/refuses"
# The source that the benchmark has written, without what it does.
printf '#!/bin/bash\nsed -i "s/return ~w/return w/" "$TMPDIR"/*/invert.cu\nexec "%s" "$@"\n' "$compiler" >"$work/changes"
chmod +x "$work/refuses" "$work/changes"
fails "$work/refuses" 'cannot do that'
fails "$work/changes" 'the first message of quick was not inverted'
echo "gpu_bench_test: passed"
