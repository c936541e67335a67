#!/usr/bin/env python3
"""The part of scripts/lint that reads the documents: lint_documents.py ROOT <FILES

FILES are the project's files by their paths from ROOT, one a line. Prints what is wrong, a line each; then returns 1.
"""
import os
import re
import sys

sys.dont_write_bytecode = True  # in the folder of the sources
import lint_common  # noqa: E402
from lint_common import complain, read  # noqa: E402

MAP = "docs/design/README.md"
SOURCES = "libipcq/src/"
SOURCE_NAME = r"[\w/.]+\.(?:hpp|cpp|cuh|cu)"


def path_of(document, target):
    """The path from the root that a link means; None if it leads out of the project or to a place in the document."""
    target = target.partition("#")[0]
    if not target or "://" in target or target.startswith("mailto:"):
        return None
    return os.path.normpath(target.lstrip("/") if target.startswith("/") else
                            os.path.join(os.path.dirname(document), target))


def check_links(root, document, text):
    prose = re.sub(r"^ *```.*?(^ *```[^\n]*$|\Z)", "", text, flags=re.M | re.S)
    for target in re.findall(r"\]\(([^) \n]+)", re.sub(r"`[^`\n]*`", "", prose)):
        path = path_of(document, target)
        if path and not os.path.exists(os.path.join(root, path)):
            complain(f"{document}: broken link to {path}")
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\[[^]]+\]:( *$|.*\[[^]]+\]:)", line):
            complain(f"{document}:{number}:{line[:50]}: a link's definition needs a line of its own")


def has_symbol(text, symbol):
    """Whether a source has a name; `Ring::claim` it must have so, or as a member in the body of Ring."""
    owner, _, name = symbol.rpartition("::")
    owner = owner.rpartition("::")[2]
    if not owner or re.search(rf"\b{owner}::{name}\b", text):
        return re.search(rf"\b{name}\b", text)
    body = rf"^([ \t]*)(?:class|struct|union|enum class|namespace) (?:\w+ )?{owner}\b[^;{{]*{{(.*?)^\1}}"
    return any(re.search(rf"\b{name}\b", inner) for _, inner in re.findall(body, text, re.M | re.S))


def check_symbols(root, document, text):
    """A link whose text is a name of the code, such as `Ring::claim`, leads to a source that has it."""
    for symbol, target in re.findall(r"\[`([A-Za-z_][\w:]*)`\]\(([^) \n]+)", text):
        path = path_of(document, target)
        if path and os.path.isfile(os.path.join(root, path)) and not has_symbol(read(root, path), symbol):
            complain(f"{document}: there is no '{symbol}' in {path}")


def check_map(root, files):
    """Each file that a row of the map's tables names lies in the row's folder: the room of the first cell, folders that
    the row links to, else the broker. The rows name each source of libipcq/src, and of any other folder that they name
    sources of, or its header."""
    named = {}  # by folder: without their extensions
    for row in re.findall(r"^\|.*", read(root, MAP), re.M):
        folders = [f for f in (path_of(MAP, t) for t in re.findall(r"\]\(([^)]+)\)", row))
                   if f and os.path.isdir(os.path.join(root, f))]
        room = re.match(r"\| *`(\w+)`", row)
        folders = folders or [SOURCES + (room[1] if room else "broker")]
        for name in re.findall(rf"`({SOURCE_NAME})`", re.sub(r"\[[^]]*\]\([^)]*\)", "", row)):
            folder = next((f for f in folders if f"{f}/{name}" in files), None)
            if folder is None:
                complain(f"{MAP}: there is no {name} in {' or '.join(folders)}")
            else:
                named.setdefault(folder, set()).add(os.path.splitext(name)[0])
    for file in sorted(files):
        folder, name = os.path.split(file)
        if (file.startswith(SOURCES) or folder in named) and re.fullmatch(SOURCE_NAME, name) and \
                os.path.splitext(name)[0] not in named.get(folder, ()):
            complain(f"{MAP}: no row of the tables names {file}")


def main():
    root = sys.argv[1]
    files = set(sys.stdin.read().splitlines())
    for document in sorted(f for f in files if f.endswith(".md")):
        text = read(root, document)
        check_links(root, document, text)
        check_symbols(root, document, text)
    check_map(root, files)
    return lint_common.failed


if __name__ == "__main__":
    sys.exit(main())
