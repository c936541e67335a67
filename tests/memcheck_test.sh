#!/usr/bin/env bash
# memcheck_test.sh BIN_DIR: a short producer and a short consumer below valgrind's memcheck, against a real broker that
# runs without it. Exit code 77: there is no valgrind.
set -euo pipefail

bin=$1
command -v valgrind >/dev/null || {
  echo "memcheck_test: skipped: no valgrind here (scripts/install-deps test installs it)"
  exit 77
}
source "$(dirname "$0")/own_broker.sh"
export XDG_RUNTIME_DIR=$work
fail() {
  echo "memcheck_test: $*" >&2
  cat "$work"/*.log >&2 || true
  exit 1
}
# memcheck PROGRAM ARGUMENT...: bounded; any finding, a leak too, is a failure.
memcheck() {
  timeout 240 valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,possible "$bin/$@"
}

mkfifo "$work/ready"
"$bin/ipcq-broker" --name checked --queue q=4KiB,slots=64 --queue small=inline --ready-fd 3 \
  3>"$work/ready" 2>"$work/broker.log" &
broker_pid=$!
timeout 60 head -c 1 "$work/ready" >/dev/null || fail "the broker does not come up"
export IPCQ_BROKER=checked

for queue in q small; do
  echo "== $queue"
  seq 1 40 >"$work/sent"
  memcheck ipcq-producer "$queue" --lines --input "$work/sent" 2>"$work/producer.log" || fail "the producer: exit code $?"
  memcheck ipcq-consumer "$queue" --output "$work/received" 2>"$work/consumer.log" || fail "the consumer: exit code $?"
  cmp "$work/sent" "$work/received" || fail "$queue: not all arrived"
done
memcheck ipcq stats >"$work/stats.log" 2>&1 || fail "ipcq stats: exit code $?"
kill -0 "$broker_pid" || fail "the broker has ended"
