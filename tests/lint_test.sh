#!/usr/bin/env bash
# What scripts/lint is to find is planted in a copy of the project: lint_test.sh SOURCE_DIR
set -euo pipefail
source_dir=$1
copy=$(mktemp -d "${TMPDIR:-/tmp}/ipcq-lint.XXXXXX")
trap 'rm -rf "$copy"' EXIT
failed=0

# expect NAME TEXT...: the lint of the copy fails and says each of them; without any, it is content. The copy is whole
# again then. expect_of does the same with other options, which stand in `options`.
expect() {
  options=(--sources "$copy/project")
  expect_of "$@"
}
expect_of() {
  local name=$1 said rc=0 text
  shift
  said=$("$source_dir/scripts/lint" "${options[@]}" 2>&1) || rc=$?
  if ((rc != ($# > 0))); then
    echo "$name: exit code $rc, having said: $said"
    failed=1
  fi
  for text in "$@"; do
    [[ $said == *"$text"* ]] || { echo "$name: does not say '$text', but: $said"; failed=1; }
  done
  fresh
}
fresh() {
  rm -rf "$copy/project"
  mkdir "$copy/project"
  cp -r "$source_dir"/{libipcq,runner,tools,broker,consumer,producer,bench} "$copy/project"
}
src=$copy/project/libipcq/src

fresh
expect "the sources as they are"
echo '#include "broker/broker_core.hpp"' >>"$src/protocol/ring.hpp"
expect "an include of a room above" 'protocol/ring.hpp: includes "broker/broker_core.hpp"' "ROOMS lets 'protocol'"
echo '  #  include "client/session_core.hpp"' >>"$src/broker/broker_core.cpp"
expect "an include of a room beside" 'broker/broker_core.cpp: includes "client/session_core.hpp"'
echo '#include "ring.hpp"' >>"$src/repair/repair.cpp"
expect "an include that names no room" 'repair/repair.cpp: includes "ring.hpp" without its room'
echo '#include"broker/server.hpp"' >>"$src/base/os.hpp"
expect "an include without a space" 'base/os.hpp: includes "broker/server.hpp"'
printf '\t#\tinclude\t"broker/server.hpp"\n' >>"$src/base/os.hpp"
expect "an include behind a tab" 'base/os.hpp: includes "broker/server.hpp"'
echo '#include <broker/server.hpp>' >>"$src/base/os.hpp"
expect "an include in angle brackets" 'base/os.hpp: includes "broker/server.hpp"'
echo '#include "base/../broker/server.hpp"' >>"$src/base/os.hpp"
expect "an include by way of .." 'base/os.hpp: includes "base/../broker/server.hpp": no "." or ".."'
printf '#define IPCQ_HEADER "broker/server.hpp"\n#include IPCQ_HEADER\n' >>"$src/base/os.hpp"
expect "an include of a macro" 'base/os.hpp: #include IPCQ_HEADER: neither "..." nor <...>'
mkdir "$src/base/deep"
echo '#include "broker/server.hpp"' >"$src/base/deep/deep.hpp"
expect "a file in a folder of a room" 'base/deep/deep.hpp: includes "broker/server.hpp"'
touch "$src/stray.cpp"
expect "a source in no room" 'stray.cpp lies in no room'
mkdir "$src/attic"
touch "$src/attic/old.hpp"
expect "a room that is not in the table" 'attic/old.hpp lies in no room'
above=(libipcq/cuda/loans.{hpp,cpp} libipcq/cuda/device/{line.cuh,deliver.cu} libipcq/include/ipcq/queue/new.hpp
  runner/gpu.hpp tools/program/json.hpp tools/doctor.cpp broker/plan.hpp bench/gpu_bench.hpp)
mkdir "$copy/project/libipcq/include/ipcq/queue"
for file in "${above[@]}"; do
  echo '#include "broker/server.hpp"' >>"$copy/project/$file"
done
expect "includes of the broker" "${above[@]/%/: includes \"broker/server.hpp\"}"
echo '#include "client/session_core.hpp"' >>"$copy/project/tools/program/json.hpp"
expect "an include of the client in a program" 'tools/program/json.hpp: includes "client/session_core.hpp"'
echo '#include <layout/layout.hpp>' >>"$copy/project/tools/program/json.hpp"
expect "a header beside the one that is allowed" 'tools/program/json.hpp: includes "layout/layout.hpp"'
echo '#include "loans.hpp"' >>"$copy/project/runner/gpu.hpp"
expect "an include of a folder beside" 'runner/gpu.hpp: includes "loans.hpp"'

sed -i 's/^protocol: base layout/& executor/' "$src/ROOMS"
expect "a table that points up" "ROOMS lets 'protocol' include of 'executor', which stands in no line before it"
sed -i 's/^protocol: base layout/& protocol/' "$src/ROOMS"
expect "a table that names a room itself" "ROOMS lets 'protocol' include of 'protocol'"
echo 'attic: base' >>"$src/ROOMS"
expect "a room without a folder" "ROOMS names 'attic', and there is no such folder"
echo '#include "broker/server.hpp"' >>"$src/broker/groups.cpp"
expect "units that include each other" 'include each other in a circle' 'broker/groups' 'broker/endpoints'
echo '#include "base/sha256.hpp"' >"$src/base/crc32.hpp"
echo '#include "base/crc32.hpp"' >"$src/base/sha256.hpp"
expect "units with digits in a circle" 'include each other in a circle: base/' 'base/crc32' 'base/sha256'
echo '#include "loans.hpp"' >>"$copy/project/libipcq/cuda/spare_memory.hpp"
expect "units of the CUDA side in a circle" 'include each other in a circle: libipcq/cuda/'

touch "$src/queue/loose.cpp" "$copy/project/runner/loose.cpp" "$copy/project/libipcq/cuda/loose.cpp"
expect "sources without a header" {libipcq/src/queue,runner,libipcq/cuda}'/loose.cpp has no header of its name'
touch "$src/client/wait.cpp"
expect "a source of a public header"
rm "$copy/project/libipcq/cuda/receives_watch.cpp"
expect "an exception for a file that is gone" 'names libipcq/cuda/receives_watch.cpp, which is not there'

echo '// SYNC alone (release): nobody looks.' >>"$src/base/os.cpp"
expect "a label with one end" 'SYNC alone lacks a release or an acquire end' 'os.cpp'
printf '// SYNC both (release)\n// SYNC both (release)\n' >>"$src/base/os.cpp"
expect "a label with one end twice" 'SYNC both lacks a release or an acquire end'
printf '// SYNC pair (release)\n// SYNC pair (acquire)\n' >>"$src/base/os.cpp"
expect "a label with both ends"

options=(--test-sources "$copy/tests")
mkdir -p "$copy/tests/unit"
one_test=$copy/tests/unit/one_test.cpp
echo '#include <gtest/gtest.h>' >"$copy/tests/fixture.hpp"
printf '#include "fixture.hpp"\nTEST(One, Test) { EXPECT_TRUE(true); }\n' >"$one_test"
expect_of "a test whose fixture includes GoogleTest"
echo 'TEST(One, Test) { EXPECT_TRUE(true); }' >"$one_test"
expect_of "a test that finds GoogleTest only precompiled" 'unit/one_test.cpp: uses GoogleTest without gtest/gtest.h'
printf '#include "fixture.hpp"\nTEST(One, Test) { EXPECT_THAT(1, testing::Gt(0)); }\n' >"$one_test"
expect_of "a test that finds GoogleMock only precompiled" 'unit/one_test.cpp: uses GoogleMock without gmock/gmock.h'
echo '#include <gmock/gmock.h>' >"$copy/tests/fixture.hpp"
expect_of "a test whose fixture includes GoogleMock"

if command -v git >/dev/null; then
  export GIT_DIR=$copy/history GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
  git init -q --bare "$GIT_DIR"
  options=(--commits HEAD)
  tree=$(git hash-object -t tree -w --stdin </dev/null)
  commit() { git update-ref --no-deref HEAD "$(printf '%s\n' "$@" | git commit-tree "$tree")"; }
  commit "Say why" "" "Since a reader asks."
  expect_of "a commit as it should be"
  commit "Say it in one line only"
  expect_of "a commit without a body" 'has no body that says why: Say it in one line only'
  commit "Say so much in the subject of a commit that no list of commits can show it whole" "" "Why."
  expect_of "a long subject" 'its subject has 80 characters'
fi
exit "$failed"
