#!/usr/bin/env python3
"""The part of scripts/lint that reads the sources' structure: lint_sources.py ROOT <FILES

FILES are the project's files by their paths from ROOT, one a line. Prints what is wrong, a line each; then returns 1.
"""
import graphlib
import os
import re
import sys

sys.dont_write_bytecode = True  # in the folder of the sources
import lint_common  # noqa: E402
from lint_common import complain, read  # noqa: E402

ROOMS = "libipcq/src/ROOMS"
SOURCES = "libipcq/src/"
PUBLIC = "libipcq/include/"
# Where the paths of includes begin, besides the folder of the file that includes.
INCLUDED_FROM = (SOURCES, PUBLIC, "libipcq/cuda/", "runner/", "compiler/", "tools/", "bench/", "bridge/")
# Whose sources ROOMS speaks of. Tests include whatever they test.
BUILT = ("libipcq/", "runner/", "host_runner/", "compiler/", "tools/", "broker/", "consumer/", "producer/", "bridge/",
         "bench/", "examples/", "python/src/")
EXTENSIONS = (".hpp", ".cpp", ".cuh", ".cu", ".h", ".cc", ".inc", ".ipp", ".hpp.in")

LONGEST_FILE = 350
SIZED = re.compile(r"(^|/)(CMakeLists\.txt|[^/]+\.(hpp|cpp|cuh|cu|h|cc|inc|ipp|py|sh|cmake|in))$|^scripts/|^\.ci/")

# Sources of libipcq, runner, compiler, bridge and Python module without a header of their name, and why.
NO_HEADER = {
    "libipcq/cuda/receives_watch.cpp": "the part of receives.hpp's class that runs in the poll thread",
    "libipcq/src/broker/registry_losses.cpp": "the part of registry.hpp's class for runners that die",
    "libipcq/src/broker/registry_removal.cpp": "the part of registry.hpp's class for removal and limits",
    "runner/main.cpp": "the program's entry",
    "host_runner/main.cpp": "the program's entry",
    "compiler/main.cpp": "the program's entry",
    "bridge/main.cpp": "the program's entry",
    "python/src/module.cpp": "the module's entry",
}


def read_rooms(root, files):
    """What each room (`base`) and each other folder (`runner/`) may include, by the table."""
    allowed = {}
    if ROOMS not in files:
        complain(f"{ROOMS} is missing")
        return allowed
    for line in read(root, ROOMS).splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, below = line.partition(":")
        if not os.path.isdir(os.path.join(root, name if name.endswith("/") else SOURCES + name)):
            complain(f"ROOMS names '{name}', and there is no such folder")
        for other in below.split():
            if "." not in other and other not in allowed:
                complain(f"ROOMS lets '{name}' include of '{other}', which stands in no line before it")
        allowed[name] = below.split()
    return allowed


def place_of(file, allowed):
    """The room or folder of the table in which a file lies, or None."""
    if file.startswith(SOURCES):
        room, slash, _ = file[len(SOURCES):].partition("/")
        return room if slash and room in allowed else None
    folder = os.path.dirname(file)
    while folder and folder + "/" not in allowed:
        folder = os.path.dirname(folder)
    return folder + "/" if folder else None


def included_file(file, name, files):
    """The project's file that an include means, or None. A room's sources are found from libipcq/src only."""
    own = () if file.startswith(SOURCES) else (os.path.dirname(file) + "/",)
    for folder in own + INCLUDED_FROM:
        for path in (folder + name, folder + name + ".in"):
            if path in files:
                return path
    return None


def includes_of(root, file):
    """The delimiter and the path of each include; None for one that has neither."""
    for line in re.findall(r"^[ \t]*#[ \t]*include\b(.*)", read(root, file), re.M):
        found = re.match(r'[ \t]*(["<])([^">]+)[">]', line)
        yield found.groups() if found else (None, line.strip())


def check_includes(root, files):
    """Includes of a place's sources: of the place itself or what the table allows. Returns whom each unit includes."""
    allowed = read_rooms(root, files)
    units = {}
    for file in sorted(files):
        if not file.startswith(BUILT) or not file.endswith(EXTENSIONS):
            continue
        shown = file.removeprefix(SOURCES)
        place = place_of(file, allowed)
        if place is None:
            complain(f"{shown} lies in no room that ROOMS names")
            continue
        unit = units.setdefault(os.path.splitext(file)[0], set())
        for delimiter, name in includes_of(root, file):
            if delimiter is None:
                complain(f"{shown}: #include {name}: neither \"...\" nor <...>")
            elif {".", ".."} & set(name.split("/")):
                complain(f'{shown}: includes "{name}": no "." or ".." in paths of includes')
            elif target := included_file(file, name, files):
                to = place_of(target, allowed)
                if to not in (place, PUBLIC, *allowed[place]) and name not in allowed[place]:
                    complain(f'{shown}: includes "{name}", and ROOMS lets \'{place}\' include of: '
                             f'{" ".join(allowed[place]) or "nothing else"}')
                unit.add(os.path.splitext(target)[0])
            elif delimiter == '"':
                complain(f'{shown}: includes "{name}" ' + ("without its room" if file.startswith(SOURCES) else
                                                           "which is no file of the project"))
    return units


def check_circles(units):
    """A unit is a header and its source; none includes one that includes it, by whatever way."""
    try:
        graphlib.TopologicalSorter({u: below - {u} for u, below in units.items()}).prepare()
    except graphlib.CycleError as e:
        circle = " ".join(u.removeprefix(SOURCES) for u in reversed(e.args[1]))
        complain(f"these units include each other in a circle: {circle}")


def check_units(files):
    """A source has a header of its name, beside it or public."""
    for file in sorted(files):
        if file.startswith((SOURCES, "libipcq/cuda/", "runner/", "compiler/", "bridge/", "python/src/")) and file.endswith(".cpp") and file not in NO_HEADER:
            public = PUBLIC + "ipcq/" + os.path.basename(file)[:-4] + ".hpp"
            if file[:-4] + ".hpp" not in files and public not in files:
                complain(f"{file} has no header of its name; NO_HEADER in scripts/lint_sources.py may say why")
    for file in sorted(set(NO_HEADER) - files):
        complain(f"NO_HEADER in scripts/lint_sources.py names {file}, which is not there")


def check_sizes(root, files):
    """No file is too long for a reader. The public members of a type are not counted: that takes a compiler, and
    clang-tidy has no check for it."""
    for file in sorted(filter(SIZED.search, files)):
        lines = read(root, file).count("\n")
        if lines > LONGEST_FILE:
            complain(f"{file} has {lines} lines, more than {LONGEST_FILE}")


def main():
    root = sys.argv[1]
    files = set(sys.stdin.read().splitlines())
    check_circles(check_includes(root, files))
    check_units(files)
    check_sizes(root, files)
    return lint_common.failed


if __name__ == "__main__":
    sys.exit(main())
