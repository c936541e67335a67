#!/usr/bin/env bash
# life_cycle_test.sh BIN_DIR
#
# Queues of a running broker from a shell: created, paused, drained and deleted, and what is said where that cannot be.
set -euo pipefail

bin=$1
source "$(dirname "$0")/../own_broker.sh"
run_dir=$work
export XDG_RUNTIME_DIR=$run_dir XDG_CONFIG_HOME=$run_dir HOME=$run_dir
unset IPCQ_BROKER IPCQ_QUEUES IPCQ_POOLS IPCQ_CONFIG IPCQ_BACKEND IPCQ_DRAIN_SECONDS
source "$(dirname "$0")/expect.sh"

# does PROGRAM ARGUMENT...: it ends with 0, and says nothing.
does() {
  timeout 60 "$bin/$1" "${@:2}" </dev/null >"$run_dir/said" 2>&1 && [[ ! -s $run_dir/said ]] && return
  echo "life_cycle_test: $*: failed, or says:" >&2
  cat "$run_dir/said" >&2
  failures=$((failures + 1))
}
send() { printf '%s\n' "$@" | timeout 60 "$bin/ipcq-producer" q --lines -q; }
# What is received of the queue: everything that comes within half a second.
received() { timeout 60 "$bin/ipcq-consumer" q --timeout 0.5 -q --output - 2>"$run_dir/end" | tr '\n' ' '; }
expect_received() {
  local text
  text=$(received) || true
  [[ $text == "$1" ]] && return
  echo "life_cycle_test: received '$text' instead of '$1'" >&2
  failures=$((failures + 1))
}

expect 2 "begin with none \(--empty\)" ipcq-broker
mkfifo "$run_dir/ready"
"$bin/ipcq-broker" --empty --max-queues 2 --max-memory 8MiB -q --ready-fd 9 9<>"$run_dir/ready" &
broker_pid=$!
read -r -t 60 <"$run_dir/ready"

does ipcq create q=4KiB,slots=8,paused=yes,backend=host,handler=upper
expect 2 "queue 'q': exists already" ipcq create q=4KiB
expect 2 "queue 'r', slots: 'x' is not a whole number" ipcq create r=4KiB,slots=x
expect 2 "queue 'r': needs .*, and of the 8.0 MiB .* are free" ipcq create r=1MiB,slots=64
does ipcq create p=4KiB,slots=4 --pool
does ipcq create r=pool=p
expect 2 "has 2 queues, of 2 that it may have \(max-queues\)" ipcq create s=inline
expect 2 "pool 'p': queue 'r' has its slots there" ipcq delete p --pool
does ipcq delete r
does ipcq delete p --pool
expect 3 "has no such pool; it has q" ipcq delete p --pool

send one two
expect 0 "queue q: open, paused" ipcq stats q
expect_received ""
expect 2 "queue 'q': has 2 messages not taken yet" ipcq delete q
expect 4 "2 messages left" ipcq drain q --timeout 0
expect 0 "queue q: draining, paused" ipcq stats q
does ipcq resume q
expect_received "ONE TWO "
expect 3 "group 'x': queue 'q' has no such group; it has default" ipcq pause q --group x
does ipcq pause q --group default
send three
expect_received ""
expect 0 "durable,paused" ipcq stats q
does ipcq resume q --group default
expect_received "THREE "
does ipcq drain q --timeout 60
expect 1 "closed" ipcq-producer q --generate zero --count 1
does ipcq resume q
send four
expect 0 "1 message went with it" ipcq delete q --force
expect 3 "queue 'q'" ipcq delete q
expect 3 "none answers" ipcq pause q --broker other

# The guide's program.
if ! timeout 60 "$bin/../tests/life_cycle_program" >"$run_dir/said" 2>&1 || [[ $(<"$run_dir/said") != "2 left" ]]; then
  echo "life_cycle_test: the guide's program failed, or does not say '2 left':" >&2
  cat "$run_dir/said" >&2
  failures=$((failures + 1))
fi
expect 3 "has no queue 'jobs'" ipcq stats jobs

((failures == 0)) || exit 1
echo "life_cycle_test: passed"
