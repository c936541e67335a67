#!/usr/bin/env bash
# Runs one test program with a run directory of its own, so that tests never meet each other's brokers.
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

"${launcher[@]}" "$@"
