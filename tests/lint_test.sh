#!/usr/bin/env bash
# What scripts/lint is to find is planted in a copy of the project: lint_test.sh SOURCE_DIR
set -euo pipefail
source_dir=$1
copy=$(mktemp -d "${TMPDIR:-/tmp}/ipcq-lint.XXXXXX")
trap 'rm -rf "$copy"' EXIT
failed=0

project=$copy/project
mkdir "$project"
find "$source_dir" -maxdepth 1 -type f -exec cp -t "$project" {} +
cp -r "$source_dir"/{libipcq,runner,host_runner,compiler,tools,bridge,broker,consumer,producer,bench,examples,python,tests,scripts,docs,cmake} "$project"
src=libipcq/src
map=docs/design/README.md

# append FILE LINE... and change FILE SED... plant something in the copy; expect() takes it out again.
planted=()
append() {
  planted+=("$1")
  mkdir -p "$(dirname "$project/$1")"
  touch "$project/$1"
  [[ $# == 1 ]] || printf '%s\n' "${@:2}" >>"$project/$1"
}
change() {
  local sed before
  planted+=("$1")
  for sed in "${@:2}"; do
    before=$(<"$project/$1")
    sed -i "$sed" "$project/$1"
    [[ $(<"$project/$1") != "$before" ]] || { echo "nothing in $1 is what '$sed' changes"; failed=1; }
  done
}

# expect NAME TEXT...: the lint of the copy fails and says each of them; without any, it is content. `options` says what
# it looks at.
expect() {
  local name=$1 said rc=0 text file
  shift
  said=$("$source_dir/scripts/lint" "${options[@]}" 2>&1) || rc=$?
  if ((rc != ($# > 0))); then
    echo "$name: exit code $rc, having said: $said"
    failed=1
  fi
  for text in "$@"; do
    [[ $said == *"$text"* ]] || { echo "$name: does not say '$text', but: $said"; failed=1; }
  done
  for file in "${planted[@]}"; do
    rm -f "$project/$file"
    [[ ! -f $source_dir/$file ]] || cp "$source_dir/$file" "$project/$file"
  done
  planted=()
}

options=(--sources "$project")
expect "the sources as they are"
append $src/protocol/ring.hpp '#include "broker/broker_core.hpp"'
expect "an include of a room above" 'protocol/ring.hpp: includes "broker/broker_core.hpp"' "ROOMS lets 'protocol'"
append $src/broker/broker_core.cpp '  #  include "client/session_core.hpp"'
expect "an include of a room beside" 'broker/broker_core.cpp: includes "client/session_core.hpp"'
append $src/repair/repair.cpp '#include "ring.hpp"'
expect "an include that names no room" 'repair/repair.cpp: includes "ring.hpp" without its room'
append $src/base/os.hpp '#include"broker/server.hpp"'
append $src/base/fork.hpp $'\t#\tinclude\t"broker/server.hpp"'
append $src/base/peer.hpp '#include <broker/server.hpp>'
append $src/base/thread.hpp '#include "base/../broker/server.hpp"'
append $src/base/poll_set.hpp '#define IPCQ_HEADER "broker/server.hpp"' '#include IPCQ_HEADER'
append $src/base/deep/deep.hpp '#include "broker/server.hpp"'
expect "other spellings" 'base/'{os,fork,peer}'.hpp: includes "broker/server.hpp", and ROOMS' \
  'base/thread.hpp: includes "base/../broker/server.hpp": no "." or ".."' \
  'base/poll_set.hpp: #include IPCQ_HEADER: neither "..." nor <...>' \
  'base/deep/deep.hpp: includes "broker/server.hpp"'
append $src/stray.cpp
append $src/attic/old.hpp
expect "sources in no room" 'stray.cpp lies in no room' 'attic/old.hpp lies in no room'
above=(libipcq/cuda/loans.{hpp,cpp} libipcq/cuda/device/{line.cuh,deliver.cu} libipcq/include/ipcq/queue/new.hpp
  runner/gpu.hpp tools/program/json.hpp tools/doctor.cpp broker/plan.hpp bench/gpu_bench.hpp examples/process.hpp
  python/src/session.hpp)
for file in "${above[@]}"; do append "$file" '#include "broker/server.hpp"'; done
expect "includes of the broker" "${above[@]/%/: includes \"broker/server.hpp\"}"
append tools/program/json.hpp '#include "client/session_core.hpp"' '#include <layout/layout.hpp>'
append python/src/session.hpp '#include "layout/layout.hpp"'
append runner/gpu.hpp '#include "loans.hpp"'
expect "includes outside the library" 'tools/program/json.hpp: includes "client/session_core.hpp"' \
  'tools/program/json.hpp: includes "layout/layout.hpp"' 'runner/gpu.hpp: includes "loans.hpp"' \
  'python/src/session.hpp: includes "layout/layout.hpp"'

change $src/ROOMS 's/^protocol: base layout/& executor/' 's/^queue: base/& queue/'
append $src/ROOMS 'loft: base'
expect "a table that points up" "ROOMS lets 'protocol' include of 'executor', which stands in no line before it" \
  "ROOMS lets 'queue' include of 'queue'" "ROOMS names 'loft', and there is no such folder"
append $src/broker/groups.cpp '#include "broker/server.hpp"'
expect "units that include each other" 'include each other in a circle' 'broker/groups' 'broker/server'
append $src/base/crc32.hpp '#include "base/sha256.hpp"'
append $src/base/sha256.hpp '#include "base/crc32.hpp"'
expect "units with digits in a circle" 'include each other in a circle: base/' 'base/crc32' 'base/sha256'
append libipcq/cuda/spare_memory.hpp '#include "loans.hpp"'
expect "units of the CUDA side in a circle" 'include each other in a circle: libipcq/cuda/'
append runner/gpu_arbiter.hpp '#include "queue_runner.hpp"'
expect "units of the runner in a circle" 'include each other in a circle: runner/'

for file in $src/queue/loose.cpp runner/loose.cpp {libipcq/cuda,python/src}/loose.cpp; do append "$file"; done
expect "sources without a header" {$src/queue,runner,libipcq/cuda,python/src}'/loose.cpp has no header of its name'
append $src/client/wait.cpp
expect "a source of a public header"
append libipcq/cuda/receives_watch.cpp
rm "$project/libipcq/cuda/receives_watch.cpp"
expect "an exception for a file that is gone" 'names libipcq/cuda/receives_watch.cpp, which is not there'

mapfile -t lines < <(printf '#\n%.0s' {1..351})
long=($src/base/os.hpp libipcq/cuda/device/line.cuh tests/CMakeLists.txt tests/own_broker.sh scripts/demo
  python/ipcq/_options.py)
for file in "${long[@]}"; do append "$file" "${lines[@]}"; done
expect "long files" "${long[@]/%/ has }" ' lines, more than 350'

append $src/base/os.cpp '// SYNC alone (release): nobody looks.'
expect "a label with one end" 'SYNC alone lacks a release or an acquire end' 'os.cpp'
append $src/base/os.cpp '// SYNC both (release)' '// SYNC both (release)'
expect "a label with one end twice" 'SYNC both lacks a release or an acquire end'
pair=('// SYNC pair (release): what is said here' '// takes two lines.' 'word.store(one_value_or_another,  // of two'
  '           std::memory_order_release);' '// SYNC pair (acquire)' 'return word.load(std::memory_order_acquire);')
append $src/base/os.cpp "${pair[@]}"
expect "a label with both ends"
append $src/base/os.cpp "${pair[@]/%_acquire);/_relaxed);}"
expect "a label beside a weaker order" 'os.cpp:' 'SYNC pair: the statement behind it has no access of order acquire'
append $src/base/os.cpp "${pair[@]}" '// SYNC pair (acquire)' 'int other = 0;' "${pair[5]}"
expect "a label beside another statement" 'SYNC pair: the statement behind it has no access of order acquire'
append $src/base/os.cpp "${pair[@]}" '// SYNC pair (acquire, release)' 'word.cas(a, b, std::memory_order_relaxed);'
expect "a relaxed swap" 'SYNC pair: the statement behind it has no access of order acquire, release'
append $src/base/os.cpp "${pair[@]}" '// SYNC pair: to whom it may concern.' "${pair[5]}"
expect "a label without an order" 'SYNC pair names none of: acquire release'

options=(--documents "$project")
expect "the documents as they are"
change $map 's/`ring.hpp`, /&`rang.hpp`, /' 's/`repair.hpp`, /&`ring.hpp`, /' 's/, `stream.cuh`,/, `steam.cuh`,/'
expect "files of the map that are not there" 'there is no rang.hpp in libipcq/src/protocol' \
  'there is no ring.hpp in libipcq/src/repair' 'there is no steam.cuh in libipcq/cuda/device'
append $src/base/sha256.hpp
append libipcq/cuda/device/more.cu
expect "sources that the map does not name" 'no row of the tables names libipcq/src/base/sha256.hpp' \
  'no row of the tables names libipcq/cuda/device/more.cu'
change $map 's/`Deadline::outcome`/`Nonsense::outcome`/' 's/`PoolMap::payload`/`PoolMap::executed`/'
expect "members of another class" "there is no 'Nonsense::outcome' in libipcq/src/base/deadline.hpp" \
  "there is no 'PoolMap::executed' in libipcq/src/queue/pool_map.hpp"
change $map 's/`Server::run`/`Server::walk`/' 's/`client_died`/`client_dies`/'
expect "names that are not there" "there is no 'Server::walk' in libipcq/src/broker/server.cpp" "no 'client_dies'"
append $map 'See [this](nowhere.md) and `[that](code.md)`.'
expect "a broken link" 'docs/design/README.md: broken link to docs/design/nowhere.md'

options=(--test-sources "$copy/tests")
mkdir -p "$copy/tests/unit"
one_test=$copy/tests/unit/one_test.cpp
echo '#include <gtest/gtest.h>' >"$copy/tests/fixture.hpp"
printf '#include "fixture.hpp"\nTEST(One, Test) { EXPECT_TRUE(true); }\n' >"$one_test"
expect "a test whose fixture includes GoogleTest"
echo 'TEST(One, Test) { EXPECT_TRUE(true); }' >"$one_test"
expect "a test that finds GoogleTest only precompiled" 'unit/one_test.cpp: uses GoogleTest without gtest/gtest.h'
printf '#include "fixture.hpp"\nTEST(One, Test) { EXPECT_THAT(1, testing::Gt(0)); }\n' >"$one_test"
expect "a test that finds GoogleMock only precompiled" 'unit/one_test.cpp: uses GoogleMock without gmock/gmock.h'
echo '#include <gmock/gmock.h>' >"$copy/tests/fixture.hpp"
expect "a test whose fixture includes GoogleMock"

if command -v git >/dev/null; then
  export GIT_DIR=$copy/history GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
  git init -q --bare "$GIT_DIR"
  options=(--commits nowhere..HEAD)
  expect "commits that are not there" "git knows no commits 'nowhere..HEAD'"
  options=(--commits HEAD)
  tree=$(git hash-object -t tree -w --stdin </dev/null)
  commit() { git update-ref --no-deref HEAD "$(printf '%s\n' "$@" | git commit-tree "$tree")"; }
  commit "Say why" "" "Since a reader asks for it."
  expect "a commit as it should be"
  commit "Say it in one line only"
  expect "a commit without a body" 'has no body that says why: Say it in one line only'
  commit "Say who it was only" "" "Signed-off-by: A Person Of Some Name <person@example.org>"
  expect "a commit whose body is a trailer" 'has no body that says why: Say who it was only'
  commit "Say nothing" "" "." "" "Signed-off-by: A Person Of Some Name <person@example.org>"
  expect "a commit whose body is a full stop" 'has no body that says why: Say nothing'
  commit "Say why and who" "" "Broker::create asks for it." "" "Signed-off-by: A Person Of Some Name <person@example.org>"
  expect "a commit with a body and a trailer"
  commit "Say so much in the subject of a commit that no list of commits can show it whole" "" "Since a reader asks for it."
  expect "a long subject" 'its subject has 80 characters'
fi
exit "$failed"
