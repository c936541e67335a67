"""The programs of the guide, word for word: each in a process of its own, and what it prints is what the text says.

A program is a block of ```python; the block of ```text behind it is what it prints. A first line `# needs: GPU, torch`
names what else must be there.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import dump_all, gpu_or_skip

ROOT = Path(__file__).parents[2]
GUIDES = tuple(f"docs/guide/{name}.md" for name in ("python", "python-from-others", "handlers-in-python", "actors"))
LIMIT = 50.0  # seconds; below the limit that pytest has
LIBRARIES = ("numpy", "torch", "cupy", "numba", "tqdm")
COMPLAINTS = ("Traceback", "ResourceWarning", "Exception ignored")  # on standard error, where the log may be


@dataclass(frozen=True)
class Program:
    """A program of a document."""

    document: str
    heading: str
    number: int
    source: str
    prints: str | None

    @property
    def needs(self) -> list[str]:
        marked = re.match(r"# needs: (.*)\n", self.source)
        named = re.split(r",\s*", marked[1]) if marked else []
        return [*named, *("numpy" for _ in re.findall(r"^import numpy\b", self.source, re.MULTILINE))]

    def __str__(self) -> str:
        return f"{Path(self.document).stem}-{self.number}-{self.heading}"


def programs_of(document: str) -> Iterator[Program]:
    heading, number = "", 0
    parts = re.findall(r"^## ([^\n]*)$|^```(\w+)\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    blocks = []
    for title, language, text in parts:
        heading = title or heading
        if language:
            blocks.append((heading, language, text))
    for block, behind in zip(blocks, [*blocks[1:], ("", "", "")], strict=True):
        if block[1] == "python":
            number += 1
            yield Program(document, block[0], number, block[2], behind[2] if behind[1] == "text" else None)


if not all((ROOT / document).exists() for document in GUIDES):
    pytest.skip("the guide is in the source tree, which these tests are not in here", allow_module_level=True)
PROGRAMS = [program for document in GUIDES for program in programs_of(document)]
OVERVIEW = list(programs_of("README.md"))


def skip_without(what: str) -> None:
    if what in ("c++", "numba") and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("there is no C++ compiler in PATH")
    if what == "c++":
        return
    if what in LIBRARIES:
        if importlib.util.find_spec(what) is None:
            pytest.skip(f"{what} is not installed")
    elif what == "GPU":
        gpu_or_skip("frameworks do not run on the played GPU")
    else:
        pytest.fail(f"the guide has a program that needs '{what}', which this test does not know")


@pytest.mark.parametrize("program", [*PROGRAMS, *OVERVIEW], ids=str)
def test_a_program_of_the_guide_prints_what_the_text_says(program, name, tmp_path):
    for what in program.needs:
        skip_without(what)
    script = tmp_path / "program.py"
    script.write_text(program.source)
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", script],
        cwd=tmp_path,
        env={**os.environ, "IPCQ_BROKER": name},  # its broker, which it does not name
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        state = dump_all(name)
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it has started
        out, errors = process.communicate()
        pytest.fail(f"not within {LIMIT:.0f} s; it printed {out!r}\n{errors}\n{state}")
    assert process.returncode == 0, errors
    if program.prints is not None:
        assert out == program.prints, errors
    assert [complaint for complaint in COMPLAINTS if complaint in errors] == [], errors


@pytest.mark.parametrize("document", GUIDES)
def test_the_guide_says_of_each_program_what_it_prints(document):
    programs = [program for program in PROGRAMS if program.document == document]
    assert len(programs) >= 4
    assert [str(program) for program in programs if not program.prints] == []


@pytest.mark.parametrize("document", GUIDES)
def test_what_a_program_of_the_guide_imports_is_said(document):
    """A library that is not marked would fail where it is not installed."""
    for program in programs_of(document):
        for library in re.findall(r"^(?:import|from) (\w+)", program.source, re.MULTILINE):
            assert library in ("ipcq", *program.needs) or library in sys.stdlib_module_names, str(program)
