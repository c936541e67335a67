#!/usr/bin/env bash
# install_test.sh BUILD_DIR CMAKE CXX LIBDIR GENERATOR MAKE_PROGRAM
#
# Installs the build into a fresh prefix, builds client/ against it by find_package and by pkg-config, and lets the
# results exchange messages through the installed ipcq-broker. The installed examples are built and run likewise.
set -euo pipefail

build_dir=$1 cmake=$2 cxx=$3 libdir=$4 generator=$5 make_program=$6
client_dir=$(cd "$(dirname "$0")/client" && pwd)
source "$(dirname "$0")/../own_broker.sh"

fail() {
  echo "install_test: $*" >&2
  exit 1
}

prefix=$work/prefix
"$cmake" --install "$build_dir" --prefix "$prefix" >"$work/install.log" || fail "$(cat "$work/install.log")"

echo "== find_package"
configure() {
  "$cmake" -G "$generator" -DCMAKE_MAKE_PROGRAM="$make_program" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_BUILD_TYPE=Debug "$@"
}
configure -S "$client_dir" -B "$work/client" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror"
"$cmake" --build "$work/client"

echo "== components"
components=$client_dir/../components
# find_component CODE TEXT COMPONENTS...: configuring ends so, and says TEXT.
find_component() {
  local wanted=$1 text=$2 code=0
  shift 2
  rm -rf "$work/components"
  configure -S "$components" -B "$work/components" -DCMAKE_PREFIX_PATH="$prefix" -DCOMPONENTS="$*" >"$work/said" 2>&1 ||
    code=1
  tr -s ' \n' ' ' <"$work/said" >"$work/line"  # CMake breaks its lines
  [[ $code == "$wanted" ]] && grep -q -- "$text" "$work/line" ||
    fail "find_package with '$*' ended with $code and said: $(cat "$work/said")"
}
if [[ -e $prefix/include/ipcq/cuda.hpp ]]; then
  find_component 0 "" "COMPONENTS;cuda"
else
  find_component 1 "component 'cuda' is missing: this ipcq was built without CUDA" "COMPONENTS;cuda"
  find_component 0 "component 'cuda' is missing" "OPTIONAL_COMPONENTS;cuda"
fi
find_component 1 "there is no component 'python'" "COMPONENTS;python"

echo "== a build on PATH"
# Programs of a build first on PATH, those that are installed behind: find_package takes what is installed.
rm -rf "$work/components"
PATH=$build_dir/bin:$prefix/bin:$PATH configure -S "$components" -B "$work/components" -DEXPECTED_DIR="$prefix" \
  >"$work/said" 2>&1 || fail "find_package with a build on PATH: $(cat "$work/said")"

echo "== a handler"
# The installed compiler has its headers in itself, and finds the library that it links.
printf '%s\n' '#include <ipcq/handler.hpp>' 'struct Nothing {' '  static constexpr bool accepts(std::uint64_t) { return true; }' \
  '  template <class Team> void operator()(std::byte*, std::uint64_t, Team) const {}' '};' 'IPCQ_HANDLER(Nothing)' \
  >"$work/nothing.cu"
IPCQ_CXX=$cxx "$prefix/bin/ipcq" handler check "$work/nothing.cu" --backend host >"$work/said" 2>&1 ||
  fail "ipcq handler check: $(cat "$work/said")"

echo "== the examples"
# The sources that are installed, against the library that is.
examples=$(dirname "$(find "$prefix" -path '*/examples/vector_add.cpp')")
configure -S "$examples" -B "$work/examples" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" \
  -DCMAKE_CUDA_ARCHITECTURES=90
"$cmake" --build "$work/examples"
mkdir -m 700 "$work/examples/run"
# run_example NAME COUNT TEXT: says TEXT of so many messages.
run_example() {
  IPCQ_CXX=$cxx XDG_RUNTIME_DIR=$work/examples/run XDG_CACHE_HOME=$work/examples/cache \
    "$work/examples/examples/$1" host "$2" >"$work/said" 2>&1 || fail "$1: $(cat "$work/said")"
  grep -q "^$2 $3" "$work/said" || fail "$1 said: $(cat "$work/said")"
}
run_example vector_add 500 tasks
run_example histogram 500 frames
if [[ -e $prefix/bin/ipcq-runner ]]; then
  "$prefix/bin/ipcq" handler check "$work/examples/examples/libhistogram.so" --arch sm_90 >"$work/said" 2>&1 ||
    fail "ipcq handler check: $(cat "$work/said")"
fi

echo "== a handler that is built ahead"
# For the host alone, and for a GPU where this build has found nvcc.
handler_dir=$client_dir/../handler
configure -S "$handler_dir" -B "$work/handler" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" \
  -DHOST_ONLY=HOST_ONLY
"$cmake" --build "$work/handler"
add_step=$work/handler/libadd_step.so
"$prefix/bin/ipcq" handler check "$add_step" --backend host >"$work/said" 2>&1 ||
  fail "ipcq handler check: $(cat "$work/said")"
if "$prefix/bin/ipcq" handler check "$add_step" --arch sm_90 >"$work/said" 2>&1; then
  fail "a handler for the host alone is taken for a GPU: $(cat "$work/said")"
fi
if [[ -e $prefix/bin/ipcq-runner ]]; then
  configure -S "$handler_dir" -B "$work/gpu_handler" -DCMAKE_PREFIX_PATH="$prefix"
  "$cmake" --build "$work/gpu_handler"
  "$prefix/bin/ipcq" handler check "$work/gpu_handler/libadd_step.so" --arch sm_90 >"$work/said" 2>&1 ||
    fail "ipcq handler check: $(cat "$work/said")"
  if "$cmake" --build "$work/gpu_handler" --target unmarked >"$work/said" 2>&1; then
    fail "a handler whose kernels leave out what it calls was built"
  fi
  grep -q 'unmarked.cu(11): error: calling a __host__ function' "$work/said" || fail "of an unmarked function: $(cat "$work/said")"
fi

echo "== pkg-config"
read -ra flags < <(PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig pkg-config --cflags --libs ipcq)
"$cxx" -std=c++20 "$client_dir/consumer.cpp" "${flags[@]}" -o "$work/consumer_pc"

export XDG_RUNTIME_DIR=$work/run
export LD_LIBRARY_PATH=$prefix/$libdir  # for consumer_pc; the others carry an RPATH
mkdir -m 700 "$XDG_RUNTIME_DIR"
unset IPCQ_BROKER

# exchange CONSUMER: what the installed producer sends must arrive at CONSUMER, in order, through a fresh broker.
# exchange CONSUMER KEYS EXPECTED: the queue has these keys more, and makes of the numbers what the file holds.
exchange() {
  echo "== exchange with $(basename "$1")${2:+, $2}"
  "$prefix/bin/ipcq-broker" --queue "words=4KiB,slots=16${2:+,$2}" >"$work/broker.log" 2>&1 &
  broker_pid=$!
  timeout 30 "$1" >"$work/out" &
  local consumer_pid=$!
  seq -f "message %g" 1000 >"$work/in"
  timeout 30 "$work/client/producer" <"$work/in" || fail "the producer failed; broker: $(cat "$work/broker.log")"
  wait "$consumer_pid" || fail "the consumer failed; broker: $(cat "$work/broker.log")"
  cmp "${3:-$work/in}" "$work/out" || fail "the messages that arrived differ from those sent"
  kill -TERM "$broker_pid"
  wait "$broker_pid" || fail "the broker did not end cleanly: $(cat "$work/broker.log")"
  broker_pid=
}

exchange "$work/client/consumer"
exchange "$work/client/consumer_static"
exchange "$work/consumer_pc"
# Three further: of "message 1" "phvvdjh#4".
seq -f "message %g" 1000 | tr ' 0-9a-z' '#3-9:;<d-z{|}' >"$work/stepped"
exchange "$work/client/consumer" "backend=host,handler=$add_step" "$work/stepped"

echo "install_test: passed"
