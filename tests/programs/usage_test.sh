#!/usr/bin/env bash
# usage_test.sh BIN_DIR
#
# What the programs themselves make of a command line: each case gives exit code and text.
set -euo pipefail

bin=$1
source "$(dirname "$0")/../own_broker.sh"
run_dir=$work
export XDG_RUNTIME_DIR=$run_dir XDG_CONFIG_HOME=$run_dir HOME=$run_dir
unset IPCQ_BROKER IPCQ_QUEUES IPCQ_POOLS IPCQ_CONFIG IPCQ_BACKEND IPCQ_DRAIN_SECONDS IPCQ_WAIT IPCQ_WAIT_FOR IPCQ_RUNNER

source "$(dirname "$0")/expect.sh"

# Numbers are decimal, and none wraps.
huge=18446744073709551617
for number in 0 -1 0x10 1.5 $huge; do
  expect 2 "--count: '$number' is not a whole number" ipcq-producer q --generate zero --count $number
  expect 2 "--batch: '$number' is not a whole number" ipcq-producer q --generate zero --batch $number
  expect 2 "--count: '$number' is not a whole number" ipcq-consumer q --count $number
  expect 2 "--batch: '$number' is not a whole number" ipcq-consumer q --batch $number
done
for number in -1 0x10 $huge; do
  expect 2 "--device: '$number' is not a whole number" ipcq-producer q --generate zero --device $number
  expect 2 "--ready-fd: '$number' is not a whole number" ipcq-broker --queue q=4KiB --ready-fd $number
  expect 2 "slots: '$number' is not a whole number" ipcq-broker --queue q=4KiB,slots=$number
done
for number in -1 0x10 nan inf 1e999 5s; do
  expect 2 "--rate: '$number' is not a number above 0" ipcq-producer q --generate zero --rate $number
  expect 2 "--timeout: '$number' is not a number above 0" ipcq-consumer q --timeout $number
  expect 2 "--wait-for: '$number' is not a number, 0 or more" ipcq-consumer q --wait-for $number
  expect 2 "--watch: '$number' is not a number above 0" ipcq stats --watch $number
  expect 2 "--drain-seconds: '$number' is not a number, 0 or more" ipcq-broker --queue q=4KiB --drain-seconds $number
  IPCQ_WAIT_FOR=$number expect 2 "IPCQ_WAIT_FOR: '$number' is not a number" ipcq-consumer q
  IPCQ_DRAIN_SECONDS=$number expect 2 "IPCQ_DRAIN_SECONDS: '$number' is not" ipcq-broker --queue q=4KiB
done
IPCQ_WAIT=fast expect 2 "wait strategy 'fast'" ipcq-consumer q
IPCQ_WAIT=fast expect 3 "none answers" ipcq-consumer q --wait spin --wait-for 0

# State and handlers of a live queue.
expect 2 "ACTION: sa not in" ipcq state q sa file
expect 2 "FILE is required" ipcq state q save
expect 3 "none answers" ipcq state q save file
expect 3 "none answers" ipcq handler replace q mine.cu
expect 2 "queue 'q', state_file: .*has no size" ipcq-broker --queue q=4KiB,handler=mine.cu,state_file=x
expect 2 "queue 'q', isolate: .*name one" ipcq-broker --queue q=4KiB,isolate=yes
expect 2 "queue 'q', state: is of a handler from a file" ipcq-broker --queue q=4KiB,handler=upper,state=4KiB

# One source says one thing of a queue; what cannot be read is not empty.
expect 2 "command line: queue 'q' is given twice" ipcq-broker --queue q=4KiB --queue q=8KiB
expect 2 "command line: pool 'p' is given twice" ipcq-broker --pool p=4KiB --pool p=4KiB --queue q=pool=p
IPCQ_QUEUES="q=4KiB q=8KiB" expect 2 "environment: queue 'q' is given twice" ipcq-broker
expect 2 "cannot read configuration '$run_dir': Is a directory" ipcq-broker --config "$run_dir" --queue q=4KiB
expect 2 "nothing stands behind the '='" ipcq-broker --queue q=,slots=1

# An empty text says nothing, neither as a word of its own nor behind a '='. Only an empty variable counts as none.
empty='is empty; give it a value, or leave it out'
for option in --group --handler --output --broker; do
  expect 2 "$option: $empty" ipcq-consumer q $option ""
  expect 2 "$option: $empty" ipcq-consumer q $option=
  expect 2 "$option: $empty" ipcq-consumer $option= q
done
for option in --input --broker; do
  expect 2 "$option: $empty" ipcq-producer q --lines $option ""
  expect 2 "$option: $empty" ipcq-producer q $option= --lines
done
expect 2 "--block: $empty" ipcq-producer q --block ""
expect 2 "--size: $empty" ipcq-producer q --generate zero --size ""
expect 2 "--generate: .*not in" ipcq-producer q --generate ""
for option in --name --config --unix-group; do
  expect 2 "$option: $empty" ipcq-broker --queue q=4KiB $option ""
  expect 2 "$option: $empty" ipcq-broker $option= --queue q=4KiB
done
for option in --backend --queue --pool; do
  expect 2 "$option|queue ''|pool ''" ipcq-broker --queue q=4KiB $option ""
done
for program in ipcq-consumer "ipcq-producer --lines"; do
  expect 2 "QUEUE: $empty" $program ""
  expect 2 "''" $program q --wait ""
done
for command in stats dump end executor; do
  kind=$([[ $command != executor ]] || echo stream)
  expect 2 "QUEUE: $empty" ipcq $command "" $kind
  expect 2 "--broker: $empty" ipcq $command q $kind --broker ""
done
expect 2 "--queue: $empty" ipcq stats --queue ""
expect 2 "--queue: $empty" ipcq stats --queue=

# A name that cannot be is not one that is not there.
for name in "a b" .q a/b $(printf 'a%.0s' {1..64}); do
  expect 2 "QUEUE: '$name': use 1 to 63" ipcq-consumer "$name"
  expect 2 "QUEUE: '$name': use 1 to 63" ipcq-producer "$name" --lines
  expect 2 "QUEUE: '$name': use 1 to 63" ipcq stats "$name"
  expect 2 "QUEUE: '$name': use 1 to 63" ipcq end "$name"
  expect 2 "--queue: '$name': use 1 to 63" ipcq stats --queue "$name"
  expect 2 "--group: '$name': use 1 to 63" ipcq-consumer q --group "$name"
done
echo 'name = ""' >"$run_dir/nameless.toml"
echo 'group = ""' >"$run_dir/groupless.toml"
expect 2 ":1: 'name' is empty" ipcq-broker --queue q=4KiB --config "$run_dir/nameless.toml"
expect 2 ":1: 'group' is empty" ipcq-broker --queue q=4KiB --config "$run_dir/groupless.toml"
IPCQ_WAIT= IPCQ_WAIT_FOR=0 IPCQ_BROKER= expect 3 "broker 'default': none answers" ipcq-consumer q
IPCQ_CONFIG= IPCQ_UNIX_GROUP= IPCQ_BROKER= IPCQ_BACKEND= expect 2 "no queue to create" ipcq-broker

# The rest of the table of exit codes.
expect 1 "No space left|/dev/shm" ipcq-broker --queue q=4GB,slots=1000000
IPCQ_RUNNER=$run_dir/none expect 6 "IPCQ_RUNNER.*$run_dir/none" ipcq-broker --queue q=4KiB,handler=upper,backend=cuda

# Nothing of what a user says reaches a terminal but by its code.
evil=$'\e[31mX\nforged'
seen='\\x1b\[31mX\\x0aforged'
plainly() {
  expect "$@"
  ! grep -q -e $'\e' -e '^forged' "$run_dir/said" || { echo "usage_test: ${*:3}: raw control characters" >&2; failures=$((failures + 1)); }
}
plainly 2 "$seen" ipcq-producer q --generate "$evil"
plainly 2 "$seen" ipcq-consumer q --count "$evil"
plainly 2 "$seen" ipcq-consumer q "$evil"
plainly 2 "$seen" ipcq stats q "$evil"
plainly 2 "$seen" ipcq-broker --queue "$evil"
plainly 2 "$seen" ipcq-broker --queue q=4KiB --config "$run_dir/$evil"
plainly 2 "$seen" ipcq-producer q --lines --input "$run_dir/$evil"
plainly 3 "$seen" ipcq stats --broker "$run_dir/$evil"

mkfifo "$run_dir/ready"
"$bin/ipcq-broker" --queue words=4KiB --queue other=4KiB,group=must,group=lossy:lossy --ready-fd 9 9<>"$run_dir/ready" \
  2>"$run_dir/broker.log" &
broker_pid=$!
read -r -t 60 <"$run_dir/ready" || { cat "$run_dir/broker.log" >&2; exit 1; }
expect 0 "10 messages" ipcq-producer words --generate zero --size 8 --count 010
plainly 2 "$seen" ipcq-consumer words --output "$run_dir/none/$evil"
plainly 2 "$seen" ipcq-consumer words --handler "$evil" --verify --timeout 0.1
expect 0 "^queue words:" ipcq stats words
! grep -q "^queue other:" "$run_dir/said" || { echo "usage_test: ipcq stats words shows others too" >&2; failures=$((failures + 1)); }
expect 0 '"name":"words"' ipcq stats words --json
expect 0 "^queue words:" ipcq stats --queue words
expect 3 "has no queue 'none'" ipcq stats none
expect 2 "group 'must' .*not lossy" ipcq-consumer other --group must --lossy --timeout 0.1
expect 4 "no message came in time" ipcq-consumer other --group lossy --lossy --timeout 0.1
expect 4 "no message came in time" ipcq-consumer other --group lossy --timeout 0.1
kill -TERM "$broker_pid"
wait "$broker_pid" || { cat "$run_dir/broker.log" >&2; exit 1; }
broker_pid=

((failures == 0)) || exit 1
echo "usage_test: passed"
