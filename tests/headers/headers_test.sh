#!/usr/bin/env bash
# headers_test.sh CXX INCLUDE_DIR...
#
# Compiles each public header by itself behind Xlib's macros, which are the same afterwards, and sees that the other
# std::string of libstdc++ is refused in one line.
set -euo pipefail

cxx=$1
shift
headers=("$1"/ipcq/*.hpp)
flags=(-std=c++20 -fsyntax-only -Wall -Wextra -Werror -x c++)
for directory; do flags+=("-I$directory"); done
names=$(cd "$(dirname "$0")" && pwd)/xlib_names.hpp
work=$(mktemp -d "${TMPDIR:-/tmp}/ipcq-headers.XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
  echo "headers_test: $*" >&2
  exit 1
}

((${#headers[@]} > 10)) || fail "there are ${#headers[@]} headers only in $1"
for header in "${headers[@]}"; do
  header=ipcq/$(basename "$header")
  cat >"$work/behind.cpp" <<SOURCE
#include "$names"
#include <$header>
#include <type_traits>
static_assert(std::is_same_v<Status, int>);
#undef Status
#undef None
#include <$header>
SOURCE
  "$cxx" "${flags[@]}" "$work/behind.cpp" || fail "$header does not compile behind Xlib's names"
done

# The C contract of handlers is C.
printf '#include <ipcq/handler.h>\nint32_t f(void* data, uint64_t length, const struct ipcq_context* context);\n' \
  >"$work/handler.c"
"$cxx" -x c -std=c99 -fsyntax-only -Wall -Wextra -Werror -pedantic "-I$1" "$work/handler.c" ||
  fail "ipcq/handler.h is no C"

# Named once the macro is gone.
cat >"$work/named.cpp" <<SOURCE
#include "$names"
#include <ipcq/ipcq.hpp>
#undef Status
bool good(ipcq::Status status) { return status == ipcq::Status::ok; }
SOURCE
"$cxx" "${flags[@]}" "$work/named.cpp" || fail "ipcq::Status cannot be named"

strings() { # the value of _GLIBCXX_USE_CXX11_ABI by default; nothing with another standard library
  printf '#include <cstddef>\n_GLIBCXX_USE_CXX11_ABI\n' | "$cxx" -std=c++20 -x c++ -E - | tail -1
}
case $(strings) in
  0) other=1 ;;
  1) other=0 ;;
  *) echo "headers_test: not libstdc++, so there is one std::string"; exit 0 ;;
esac
for header in ipcq/ipcq.hpp ipcq/status.hpp ipcq/broker.hpp; do
  echo "#include <$header>" >"$work/strings.cpp"
  if "$cxx" "${flags[@]}" "-D_GLIBCXX_USE_CXX11_ABI=$other" "$work/strings.cpp" 2>"$work/said"; then
    fail "$header compiles with the other std::string"
  fi
  grep -q "error.*this libipcq has the std::string of .*-D_GLIBCXX_USE_CXX11_ABI=0" "$work/said" ||
    fail "$header with the other std::string: $(cat "$work/said")"
done
