"""ipcq.redis.Bridge: the program as a child process, from its start to its end."""

import dataclasses
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import ipcq
import ipcq.redis
import pytest
from conftest import WAIT, eventually
from ipcq.redis import Bridge, BridgeError, Counters, SourceSizes, Summary, _bridge, _options, _reports, call
from redis_fixtures import Server, bridge, client, is_alive, server, work  # noqa: F401 - fixtures


def command_line(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def test_a_bridge_works_counts_and_ends(client, work, bridge):
    with bridge() as one:
        assert one.is_running
        assert (one.queue, is_alive(one.pid)) == ("work", True)
        assert repr(one) == f"<ipcq.redis.Bridge of 'work', process {one.pid}>"
        assert one.metrics_url.startswith("http://127.0.0.1:")
        with pytest.raises(ipcq.UsageError, match=r"counters\(\) has"):
            one.summary()
        assert call(client, "tasks", b"a", timeout=5) == b"A"
        eventually(lambda: one.counters().done == 1, "it is confirmed")
        counters = one.counters()
        assert (counters.read, counters.dead, counters.unfinished, counters.result_bytes) == (1, 0, 0, 1)
        assert counters.connected is counters.attached is True
        assert (counters.finished, counters.buckets[-1]) == (1, (float("inf"), 1))
        assert 0 < counters.total_seconds < WAIT
        assert counters.servers is None
        client.xadd("tasks:dead", {"payload": "x"})
        knows = not client.info("server")["redis_version"].startswith("6.")
        asked = (SourceSizes("tasks", 0 if knows else None, 0, 0, 1),)
        eventually(lambda: one.counters().sources == asked, "it has asked what there is")
    assert (one.is_running, one.wait(), repr(one)) == (False, 0, "<ipcq.redis.Bridge of 'work', ended>")
    assert not is_alive(one.pid)
    assert (one.summary().queue, one.summary().read, one.summary().done) == ("work", 1, 1)
    assert one.summary().seconds > 0
    with pytest.raises(ipcq.ClosedError, match=r"summary\(\) has"):
        one.counters()
    assert one.stop() is True


def test_reports_are_those_of_the_program(client, work, bridge):
    """Each counter and each sum that it says has a field of its own, and no field has none."""
    with bridge() as one:
        page = _reports.fetch_metrics(one.metrics_url)
        shown = set(re.findall(r"^ipcq_redis_(\w+)\{", page, re.MULTILINE))
    known = {*_reports._COUNTER_NAMES.values(), "connected", "attached", "task_seconds_sum", "task_seconds_bucket"}
    sizes = {f"source_{name}" for name in _reports._SIZES}  # when they were asked for
    assert shown | sizes == known | sizes
    assert set(json.loads(one._process.output)) == {field.name for field in dataclasses.fields(Summary)}
    others = {"connected", "attached", "servers", "sources", "total_seconds", "buckets"}
    assert set(_reports._COUNTER_NAMES) | others == {field.name for field in dataclasses.fields(Counters)}


def test_labels_with_braces_and_blanks_are_no_counters():
    page = 'ipcq_redis_tasks_read_total{queue="q",group="a\\"b} 7"} 3\n# HELP x y\nelse 4\n'
    page += 'ipcq_redis_task_seconds_bucket{queue="q",group="g",le="0.5"} 2\n'
    counters = _reports.parse_metrics(page)
    assert (counters.read, counters.done, counters.buckets) == (3, 0, ((0.5, 2),))


def test_sizes_are_read_by_source():
    page = r"""
ipcq_redis_servers{queue="q",group="g"} 2
ipcq_redis_source_waiting{queue="q",group="g",source="a\"b\\\nc"} 3
ipcq_redis_source_dead{queue="q",group="g",source="a\"b\\\nc"} 1
ipcq_redis_source_waiting{queue="q",group="g",source="0"} 4
"""
    counters = _reports.parse_metrics(page)
    assert counters.servers == 2
    assert counters.sources == (SourceSizes("0", 4, None, None, None), SourceSizes('a"b\\\nc', 3, None, None, 1))


def test_options_are_those_of_the_program(server, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    program = _bridge._find_program()
    said = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=WAIT, check=True).stdout
    there = set(re.findall(r"^  (?:-\w,)?--([\w-]+)", said, re.MULTILINE))
    there -= {"help", "version", "verbose", "quiet", "json", "queue", "drain-for"}  # which it gives by itself
    ours = set(_options.BridgeOptions.__annotations__) - {"password", "drain_for", "die_with_parent"}
    names = {name.lstrip("-"): plural for plural, name in _options._REPEATED.items()}
    assert {names.get(name, name.replace("-", "_")) for name in there} == ours


def test_every_option_is_an_argument_and_no_password_is(monkeypatch):
    monkeypatch.delenv("IPCQ_REDIS_METRICS", raising=False)
    monkeypatch.setenv("IPCQ_REDIS_PASSWORD", "of the environment")
    options = {
        "redis": "redis://user:secret@host/1",
        "streams": ["a,priority=1", "-b"],
        "lists": "c",
        "rate": 0.5,
        "claim_after": 10,
        "trim": True,
        "until_empty": False,
        "group": None,
        "wait_for": None,
        "config": os.fspath("x.toml"),
        "drain_for": 1.0,
        "die_with_parent": False,
    }
    assert _options.arguments_of("q", options) == [
        "--queue=q",
        "--json",
        "--stream=a,priority=1",
        "--stream=-b",
        "--list=c",
        "--rate=0.5",
        "--claim-after=10",
        "--trim",
        "--until-empty=false",
        "--config=x.toml",
        "--wait-for=1000000000.0",
        "--metrics=127.0.0.1:0",
    ]
    environment = _options.environment_of(options)
    assert (environment["IPCQ_REDIS_URL"], "IPCQ_REDIS_PASSWORD" in environment) == (
        "redis://user:secret@host/1",
        False,
    )
    assert _options.environment_of({"password": "p"})["IPCQ_REDIS_PASSWORD"] == "p"
    assert _options.environment_of({"redis": "redis://h"})["IPCQ_REDIS_PASSWORD"] == "of the environment"
    monkeypatch.setenv("IPCQ_REDIS_METRICS", ":9400")
    assert "--metrics=:9400" in _options.arguments_of("q", {})


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"attempts": 0}, "--attempts: '0' is not a whole number"),
        ({"streams": ["a", "a"]}, "'a' is given twice"),
        ({"lists": ["l"]}, "has sources of one kind"),
        ({"redis": "rediss://host"}, "rediss:// asks for TLS"),
        ({"results": "nowhere"}, "'nowhere' names no place"),
        ({"stream": "a"}, "no option 'stream'; did you mean streams"),
        ({"clam_after": 1}, "did you mean claim_after"),
        ({"zzz": 1}, "there are attempts, "),
        ({"streams": 3}, "streams: 3 is no value"),
        ({"attempts": True}, "attempts: True is no value"),
        ({"wait": "sit"}, "sit"),
    ],
)
def test_a_wrong_option_is_refused_in_the_programs_words(work, bridge, options, what):
    with pytest.raises(ipcq.UsageError, match=re.escape(what)):
        bridge(**options)


def test_what_is_not_there_is_said(server, work, bridge, name, tmp_path, monkeypatch):
    with pytest.raises(ipcq.NotFoundError, match="no Redis or Valkey server"):
        bridge(redis=f"unix://{tmp_path}/none", wait_for=0)
    with pytest.raises(ipcq.NotFoundError, match="broker 'elsewhere'"):
        bridge(broker="elsewhere", wait_for=0)
    with pytest.raises(ipcq.UsageError, match="takes messages and no calls"):
        work.create("plain")
        Bridge("plain", broker=name, redis=server.url, wait_for=0.1)
    monkeypatch.setattr(_bridge, "program_path", lambda name: tmp_path / name)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ipcq.NotFoundError, match="ipcq-redis is neither in this package .* nor in PATH"):
        bridge()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a program in the place of ipcq-redis: what a shell is to do."""

    def program(text):
        file = tmp_path / "bin" / "ipcq-redis"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        monkeypatch.setattr(_bridge, "program_path", lambda name: tmp_path / name)
        monkeypatch.setenv("PATH", str(file.parent), prepend=":")

    return program


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        ("echo 'ipcq-redis: error: not today' >&2; exit 3", ipcq.NotFoundError, "^not today$"),
        ("echo 'ipcq-redis: error: not you' >&2; exit 5", ipcq.PermissionError, "^not you$"),
        ("echo no library >&2; exit 127", BridgeError, "exit code 127: no library"),
        ("exit 0", BridgeError, "exit code 0$"),
        ("kill -9 $$", BridgeError, "exit code -9$"),
    ],
)
def test_a_program_that_does_not_start_says_why(program, text, kind, what):
    program(f"#!/bin/sh\n{text}\n")
    with pytest.raises(kind, match=what) as raised:
        Bridge("work")
    if kind is BridgeError:
        assert raised.value.exit_code == int(re.search(r"exit code (-?\d+)", str(raised.value))[1])


def test_a_program_that_says_nothing_is_not_waited_for(program, monkeypatch):
    monkeypatch.setattr(_bridge, "_FIRST_WORD", 0.2)
    program("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(BridgeError, match="has said nothing within"):
        Bridge("work")


@pytest.mark.parametrize("with_parent", [True, False])
def test_a_program_that_cannot_be_run_is_an_error(program, with_parent):
    program("no program\n")
    with pytest.raises((ipcq.SystemError, BridgeError), match="Exec format error"):
        Bridge("work", die_with_parent=with_parent)


def test_a_password_is_in_no_command_line(tmp_path, work, name):
    server = Server(tmp_path, "--requirepass", "top secret")
    try:
        url = server.url
        with pytest.raises((ipcq.PermissionError, ipcq.NotFoundError, BridgeError), match="(?i)auth|password"):
            Bridge("work", broker=name, redis=url, wait_for=0)
        for options in (
            {"redis": url, "password": "top secret"},
            {"redis": url.replace("unix://", "unix://default:top%20secret@")},
        ):
            with Bridge("work", broker=name, streams=["tasks"], **options) as one:
                assert call(server.client(password="top secret"), "tasks", b"a", timeout=5) == b"A"
                assert not [word for word in command_line(one.pid) if b"secret" in word]
    finally:
        server.stop()


def test_what_it_says_goes_to_the_logger(client, work, bridge, caplog):
    caplog.set_level(logging.DEBUG, "ipcq.redis")
    with bridge(attempts=1) as one:
        assert b"--verbose" in command_line(one.pid)
        client.xadd("tasks", {"no": "payload"})
        eventually(lambda: client.xlen("tasks:dead") == 1, "it is dead")
    said = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "ipcq.redis"]
    assert [level for level, text in said if "working on" in text] == ["INFO"]
    assert [level for level, text in said if "it has no field 'payload'" in text] == ["WARNING"]
    assert not [text for _, text in said if text.startswith("ipcq-redis")]


def test_a_logging_handler_cannot_hang_it(client, work, bridge):
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            if one is not None:
                try:
                    one.stop()
                except ipcq.UsageError as error:
                    seen.append(str(error))

    one = None
    handler = Handler()
    logging.getLogger("ipcq.redis").addHandler(handler)
    try:
        one = bridge()
        client.xadd("tasks", {"no": "payload"})
        assert one.wait(WAIT) == 0  # it was told to stop all the same
    finally:
        logging.getLogger("ipcq.redis").removeHandler(handler)
    assert "cannot wait" in seen[0]


def test_it_needs_no_client_library(work, start, server):
    child = start(
        f"""
        sys.modules["redis"] = None
        with ipcq.redis.Bridge("work", broker=name, redis={server.url!r}, until_empty=True) as one:
            say(one.wait(10))
        try:
            ipcq.redis.Producer(None, "tasks")
        except TypeError as error:
            say(error)
        """
    )
    assert child.line() == "0"
    assert "pip install 'ipcq[redis]'" in child.line()
    child.finish()


def test_the_console_script_becomes_the_program_or_says_why_not():
    from ipcq import _programs

    script = "import sys, ipcq._programs as p; sys.argv[1:] = ['--version']; p.ipcq_redis()"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=WAIT)
    if _programs.program_path("ipcq-redis").exists():
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ipcq.__version__ in ran.stdout
    else:
        assert (ran.returncode, ran.stderr[:12]) == (1, "ipcq-redis: ")
        assert "built without it" in ran.stderr
