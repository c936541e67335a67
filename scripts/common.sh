# Sourced by the scripts beside it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Messages go to stderr; stdout is for data.
say() { echo "$(basename "$0"): $*" >&2; }
die() { say "$1"; exit "${2:-1}"; }

# The project's files, whether committed or new, by git patterns ('*.cpp').
project_files() {
  git -C "$root" ls-files --cached --others --exclude-standard --deduplicate -- "$@" | while read -r file; do
    [[ -f $root/$file ]] && echo "$file"
  done
}
