# Sourced by tests that start a broker: a directory of this test's own in $work, and the broker's process, once it is
# there, in $broker_pid. Both end with the test.
work=$(mktemp -d "${TMPDIR:-/tmp}/ipcq-$(basename "$0" .sh).XXXXXX")
broker_pid=
end_broker() {
  if [[ -n $broker_pid ]]; then
    kill -TERM "$broker_pid" 2>/dev/null || true
    wait "$broker_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap end_broker EXIT
