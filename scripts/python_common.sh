# Sourced by the scripts of the Python package, behind common.sh: interpreters and virtual environments.

# Nothing of Python's may be written beside the sources, and pip asks nothing.
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV

# check_python PYTHON: it is one that can build and test the package.
check_python() {
  command -v "$1" >/dev/null || die "there is no $1; run scripts/install-deps python"
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$1 is Python $(version_of "$1"), and the package needs 3.10 or later; name another one with --python"
  "$1" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$1 cannot make virtual environments (no ensurepip); run scripts/install-deps python"
}

# has_headers PYTHON: whether an extension module can be compiled for it.
has_headers() { [[ -e $("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h ]]; }

version_of() { "$1" -c 'import platform; print(platform.python_version())'; }

# make_environment PYTHON DIR: a virtual environment, made anew where it is of another interpreter.
make_environment() {
  local origin
  origin=$("$1" -c 'import sys; print(sys.executable, sys.version)')
  if [[ ! -x $2/bin/python || $(cat "$2/origin" 2>/dev/null) != "$origin" ]]; then
    rm -rf "$2"
    "$1" -m venv "$2" >&2 || die "$1 could not make a virtual environment in $2"
    echo "$origin" >"$2/origin"
  fi
}

# install_into DIR ARGUMENT...: by the pip of a virtual environment; only wheels, since nobody has looked at what would be
# compiled.
install_into() {
  local dir=$1 log
  shift
  log=$(mktemp)
  "$dir/bin/python" -m pip install --quiet --only-binary :all: "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    rm -f "$log"
    die "pip could not install: $* (is the package index within reach?)"
  }
  rm -f "$log"
}
