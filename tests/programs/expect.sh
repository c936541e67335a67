# Sourced by the tests beside it that try command lines. They set `bin` and `run_dir` before, and look at `failures` at
# their end.

failures=0
# expect CODE TEXT PROGRAM ARGUMENT...: it ends with that code, and says TEXT (a pattern) on stdout or stderr.
expect() {
  local wanted=$1 text=$2 code=0
  shift 2
  timeout 60 "$bin/$1" "${@:2}" </dev/null >"$run_dir/said" 2>&1 || code=$?
  if [[ $code != "$wanted" ]] || ! grep -qE -- "$text" "$run_dir/said"; then
    echo "$(basename "$0" .sh): $*: exit code $code instead of $wanted, or '$text' is not in:" >&2
    cat "$run_dir/said" >&2
    failures=$((failures + 1))
  fi
}
