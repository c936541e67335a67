"""The programs of docs/guide/redis.md, word for word but for the server's address."""

import subprocess
import sys

import pytest
from conftest import WAIT
from redis_fixtures import server  # noqa: F401 - fixture
from test_guide import COMPLAINTS, programs_of

PROGRAMS = list(programs_of("docs/guide/redis.md"))


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_a_program_of_the_guide_prints_what_the_text_says(program, server, name, tmp_path, monkeypatch):
    monkeypatch.setenv("IPCQ_BROKER", name)
    assert "redis://127.0.0.1:6379" in program.source
    script = tmp_path / "program.py"
    script.write_text(program.source.replace("redis://127.0.0.1:6379", server.url))
    command = [sys.executable, "-X", "dev", str(script)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT)
    assert (ran.returncode, ran.stdout) == (0, program.prints), ran.stderr
    assert [complaint for complaint in COMPLAINTS if complaint in ran.stderr] == [], ran.stderr


def test_the_guide_has_a_program():
    assert [program.heading for program in PROGRAMS] == ["From Python"]
