#!/usr/bin/env bash
# clean_test.sh BIN_DIR
#
# What `ipcq list` and `ipcq clean` say and end with. They cover all brokers of a user: so they run where /dev/shm is
# this test's alone. Ends with 77 where that cannot be.
set -euo pipefail

bin=$1
if [[ ${2:-} != inside ]]; then
  own=(unshare --mount)
  "${own[@]}" true 2>/dev/null || own=(unshare --map-root-user --mount)
  if ! "${own[@]}" mount -t tmpfs tmpfs /dev/shm 2>/dev/null; then
    echo "clean_test: skipped, no mount namespace for this user"
    exit 77
  fi
  exec "${own[@]}" "$0" "$bin" inside
fi
mount -t tmpfs tmpfs /dev/shm
run_dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcq-clean.XXXXXX")
trap 'rm -rf "$run_dir"' EXIT
export XDG_RUNTIME_DIR=$run_dir XDG_CONFIG_HOME=$run_dir HOME=$run_dir
unset IPCQ_BROKER IPCQ_QUEUES IPCQ_POOLS IPCQ_CONFIG IPCQ_BACKEND
socket=$run_dir/ipcq/cam.sock
lock=$socket.ipcq-lock

source "$(dirname "$0")/expect.sh"

kill_a_broker() {
  mkfifo "$run_dir/ready"
  "$bin/ipcq-broker" --name cam --queue q=4KiB,slots=4 -q --ready-fd 9 9<>"$run_dir/ready" &
  read -r -t 60 <"$run_dir/ready"
  kill -KILL $!
  wait $! 2>/dev/null || true
  rm "$run_dir/ready"
}

expect 0 "nothing to clean" ipcq clean
kill_a_broker
expect 0 "removed what was left of broker 'cam': 2 segments" ipcq clean
expect 0 "nothing to clean" ipcq clean

# What stands in the way is named, each time, and nothing is said to be removed.
for obstacle in file directory; do
  kill_a_broker
  rm "$lock"
  if [[ $obstacle == file ]]; then echo precious >"$lock"; else mkdir "$lock"; fi
  for arguments in "" "" --json; do
    expect 2 "$lock is a .*; move it away, and clean again" ipcq clean $arguments
    ! grep -q "removed what was left" "$run_dir/said" || { echo "clean_test: says that it removed" >&2; failures=1; }
    expect 0 "cam +dead" ipcq list
  done
  [[ $obstacle == directory || $(cat "$lock") == precious ]] || { echo "clean_test: $lock was changed" >&2; failures=1; }
  expect 2 "$lock is a .*move it away, or choose another --name" ipcq-broker --name cam --queue q=4KiB
  rm -r "$lock"
  expect 0 "removed what was left of broker 'cam'" ipcq clean
  expect 0 "nothing to clean" ipcq clean
done

# A file is not removed for its name.
echo precious >"/dev/shm/ipcq+$(id -u)+my+notes+are+here.txt"
expect 0 "no broker of this user" ipcq list
expect 0 "nothing to clean" ipcq clean
[[ $(cat /dev/shm/*notes*) == precious ]] || { echo "clean_test: the notes are gone" >&2; failures=1; }

# A run directory that is none, and a path that leads through a file.
rm -rf "$run_dir/ipcq"
echo notes >"$run_dir/notes.txt"
expect 2 "$run_dir/notes.txt is a regular file.*choose another place" ipcq-broker --name "$run_dir/notes.txt/x" --queue q=4KiB
echo notes >"$run_dir/ipcq"
for command in "ipcq-broker --queue q=4KiB" "ipcq list" "ipcq clean" "ipcq stats"; do
  expect 2 "$run_dir/ipcq: is no directory; remove it, or set XDG_RUNTIME_DIR" $command
done

((failures == 0)) || exit 1
echo "clean_test: passed"
