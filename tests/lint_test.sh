#!/usr/bin/env bash
# What scripts/lint is to find is planted in a copy of the sources: lint_test.sh SOURCE_DIR
set -euo pipefail
source_dir=$1
copy=$(mktemp -d "${TMPDIR:-/tmp}/ipcq-lint.XXXXXX")
trap 'rm -rf "$copy"' EXIT
failed=0

# expect NAME TEXT...: the lint fails and says each of them; without any, it is content. The copy is whole again then.
expect() {
  local name=$1 said rc=0 text
  shift
  said=$("$source_dir/scripts/lint" --rooms "$copy/src" 2>&1) || rc=$?
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
  rm -rf "$copy/src"
  cp -r "$source_dir/libipcq/src" "$copy/src"
}

fresh
expect "the sources as they are"
echo '#include "broker/broker_core.hpp"' >>"$copy/src/protocol/ring.hpp"
expect "an include of a room above" 'protocol/ring.hpp: includes "broker/broker_core.hpp"' "ROOMS lets 'protocol'"
echo '  #  include "client/session_core.hpp"' >>"$copy/src/broker/broker_core.cpp"
expect "an include of a room beside" 'broker/broker_core.cpp: includes "client/session_core.hpp"'
echo '#include "ring.hpp"' >>"$copy/src/repair/repair.cpp"
expect "an include that names no room" 'repair/repair.cpp: includes "ring.hpp" without its room'
touch "$copy/src/stray.cpp"
expect "a source in no room" 'stray.cpp lies in no room'
mkdir "$copy/src/attic"
touch "$copy/src/attic/old.hpp"
expect "a room that is not in the table" 'attic/old.hpp lies in no room'
exit "$failed"
