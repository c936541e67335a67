#!/usr/bin/env bash
# Runs one test program with a run directory of its own, so that tests never meet each other's brokers. With
# IPCQ_SKIP_CODE it ends with that code when every test was skipped.
set -euo pipefail

run_dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcq-test.XXXXXX")
trap 'rm -rf "$run_dir"' EXIT
export XDG_RUNTIME_DIR=$run_dir
unset IPCQ_BROKER

# ThreadSanitizer of GCC before 14 cannot place its shadow memory where the kernel randomises more than 28 bits.
launcher=()
if [[ $(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0) -gt 28 ]] && setarch "$(uname -m)" -R true 2>/dev/null; then
  launcher=(setarch "$(uname -m)" -R)
fi

if [[ -z ${IPCQ_SKIP_CODE:-} ]]; then
  "${launcher[@]}" "$@"
  exit
fi
"${launcher[@]}" "$@" | tee "$run_dir/output"
if grep -qE '^\[  PASSED  \] 0 tests' "$run_dir/output"; then exit "$IPCQ_SKIP_CODE"; fi
