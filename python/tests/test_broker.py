"""Brokers, embedded and running elsewhere, and what is said about them."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import ipcq
import pytest
from conftest import WAIT, InThread, eventually, group_stats, queue_stats
from ipcq import _programs

HEADER = Path(__file__).parents[2] / "libipcq/include/ipcq/stats.hpp"


def test_a_broker_serves_until_it_stops(name):
    with ipcq.Broker(name) as broker:
        assert Path(broker.socket_path).is_socket()
        assert ipcq.stats(name).name == name
        with pytest.raises(ipcq.UsageError, match=name):
            ipcq.Broker(name)
    assert not Path(broker.socket_path).exists()
    with pytest.raises(ipcq.NotFoundError, match=name):
        ipcq.stats(name)
    with pytest.raises(ipcq.UsageError, match="stopped"):
        broker.create("late")
    assert broker.stop() == 0
    ipcq.Broker(name).stop()  # the name is free


def test_a_broker_may_be_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ipcq.Broker("./b.sock") as broker, ipcq.connect("./b.sock") as session:
        broker.create("q")
        assert session.connected
        assert Path(broker.socket_path).samefile(tmp_path / "b.sock")
        assert ipcq.stats(str(tmp_path / "b.sock")).pid == os.getpid()


def test_the_environment_names_the_broker(name, monkeypatch):
    monkeypatch.setenv("IPCQ_BROKER", name)
    with ipcq.Broker() as broker, ipcq.connect() as session:
        broker.create("q")
        session.producer("q").close()
        assert ipcq.stats().name == broker.stats().name == name
        ipcq.create_queue("other")
        assert "other" in ipcq.dump("other")
        assert ipcq.remove_queue("other") == 0


def test_list_brokers_shows_live_and_dead_ones(name, start):
    def mine():  # brokers of other run directories are listed, too
        return {one.name: one for one in ipcq.list_brokers() if name in one.name}

    child = start("broker = ipcq.Broker(name + '-dead'); broker.create('q'); os.kill(os.getpid(), 9)")
    child.finish(-9)
    with ipcq.Broker(name) as broker:
        found = mine()
        assert set(found) == {name, f"{name}-dead"}
        assert (found[name].alive, found[name].pid, found[name].socket_path) == (True, os.getpid(), broker.socket_path)
        assert not found[f"{name}-dead"].alive
    ipcq.Broker(f"{name}-dead").stop()  # it tidies up
    assert not mine()


def test_queues_of_one_pool_share_its_slots(broker, session):
    broker.create_pool("p", slots=3, slot_bytes="1KiB")
    broker.create("a", pool="p")
    broker.create("b", pool="p")
    with session.producer("a") as first, session.producer("b") as second:
        assert first.slot_bytes == second.slot_bytes == 1024
        loans = [first.loan(), second.loan(), first.loan()]
        with pytest.raises(ipcq.Full):
            second.loan(0)
        assert {queue_stats(broker, queue).claimed for queue in "ab"} == {3}
        assert {queue_stats(broker, queue).pool for queue in "ab"} == {"p"}
        del loans
    with pytest.raises(ipcq.UsageError, match=r"'a'|'b'|a, b"):
        broker.remove_pool("p")
    broker.remove("a")
    broker.remove("b")
    broker.remove_pool("p")
    with pytest.raises(ipcq.NotFoundError):
        broker.remove_pool("p")


def admin(broker, name, kind):
    """The same calls of the embedded broker, and of a running one that is named."""
    if kind == "embedded":
        return broker.create, broker.remove, broker.pause, broker.resume, broker.drain, broker.dump

    def call(function):
        return lambda *arguments, **options: function(*arguments, broker=name, **options)

    functions = (ipcq.create_queue, ipcq.remove_queue, ipcq.pause, ipcq.resume, ipcq.drain, ipcq.dump)
    return tuple(call(function) for function in functions)


@pytest.mark.parametrize("kind", ["embedded", "running"])
def test_a_queue_lives_from_create_to_remove(broker, name, session, kind):
    create, remove, _, _, _, dump = admin(broker, name, kind)
    create("new", slots=2)
    with pytest.raises(ipcq.UsageError, match="new"):
        create("new")
    producer, consumer = session.producer("new"), session.consumer("new")
    producer.send(b"x")
    assert "new" in dump("new")
    with pytest.raises(ipcq.UsageError, match=str(os.getpid())):
        remove("new")
    assert remove("new", at_once=True) == 1
    with pytest.raises(ipcq.ClosedError):
        producer.send(b"x")
    with pytest.raises(ipcq.ClosedError):
        consumer.receive(timeout=WAIT)
    for call in (remove, dump, session.producer):
        with pytest.raises(ipcq.NotFoundError, match="new"):
            call("new")
    create("new", slots=3)  # the name is free


@pytest.mark.parametrize("kind", ["embedded", "running"])
def test_a_paused_queue_keeps_its_messages_until_it_goes_on(broker, name, session, kind):
    _, _, pause, resume, _, _ = admin(broker, name, kind)
    broker.create("groups", groups=["a", "b"])
    with session.producer("groups") as producer:
        first, second = session.consumer("groups", group="a"), session.consumer("groups", group="b")
        pause("groups")
        producer.send(b"1")
        for consumer in (first, second):
            with pytest.raises(ipcq.TimeoutError):
                consumer.receive(timeout=0.05)
        assert queue_stats(broker, "groups").paused
        resume("groups")
        assert first.receive_bytes(timeout=WAIT) == second.receive_bytes(timeout=WAIT) == b"1"
        pause("groups", "b")
        producer.send(b"2")
        assert first.receive_bytes(timeout=WAIT) == b"2"
        with pytest.raises(ipcq.TimeoutError):
            second.receive(timeout=0.05)
        assert group_stats(broker, "b", "groups").paused
        resume("groups", group="b")
        assert second.receive_bytes(timeout=WAIT) == b"2"
    for call in (pause, resume):
        with pytest.raises(ipcq.NotFoundError, match="nowhere"):
            call("nowhere")
        with pytest.raises(ipcq.NotFoundError, match="nobody"):
            call("groups", "nobody")


@pytest.mark.parametrize("kind", ["embedded", "running"])
def test_a_drained_queue_takes_nothing_more_and_waits_for_what_is_there(broker, name, session, kind):
    _, _, _, resume, drain, _ = admin(broker, name, kind)
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(b"1")
        producer.send(b"2")
        assert drain("q", 0) == 2
        assert drain("q", timeout=0.15) == 2
        with pytest.raises(ipcq.ClosedError):
            producer.send(b"3")
        assert queue_stats(broker).state == "draining"
        draining = InThread(lambda: drain("q"))
        for _ in range(2):
            assert draining.is_alive()
            consumer.receive_bytes(timeout=WAIT)
        assert draining.result() == 0
        resume("q")
        producer.send(b"4")
        assert consumer.receive_bytes(timeout=WAIT) == b"4"


def test_stop_waits_for_what_is_there_as_long_as_it_is_told(name):
    broker = ipcq.Broker(name)
    broker.create("q")
    with ipcq.connect(name) as session:
        producer, consumer = session.producer("q"), session.consumer("q")
        producer.send(b"x")
        stopping = InThread(lambda: broker.stop(drain_for=None))
        assert consumer.receive_bytes(timeout=WAIT) == b"x"
        assert stopping.result() == 0
    other = ipcq.Broker(name)
    other.create("q")
    with ipcq.connect(name) as session:
        session.producer("q").send_many([b"x"] * 3)
        assert other.stop() == 3
        assert other.stop(5) == 3


def test_statistics_say_who_is_there_and_what_passed(broker, session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        for _ in range(3):
            producer.send(b"x" * 1000)
        consumer.receive(timeout=1).release()
        message = consumer.receive(timeout=1)
        stats = broker.stats()
        assert (stats.pid, stats.clients, stats.deaths, stats.version) == (os.getpid(), 1, 0, ipcq.__version__)
        assert stats.abi == ipcq.build_info().abi
        assert stats.uptime_ns > 0
        assert stats.shm_bytes > 4 * 4096
        queue = queue_stats(broker)
        assert (queue.published, queue.reading, queue.empty, queue.state) == (3, 1, 2, "open")
        group = group_stats(broker)
        assert (group.published, group.waiting, group.held, group.delivered, group.members) == (3, 1, 1, 1, 1)
        ends = {one.role: one for one in queue.endpoints}
        assert (ends["producer"].messages, ends["producer"].bytes, ends["producer"].id) == (3, 3000, producer.id)
        assert (ends["consumer"].group, ends["consumer"].held, ends["consumer"].pid) == ("default", 1, os.getpid())
        assert ipcq.stats(stats.name).queues[0].published == 3
        message.release()


@pytest.mark.skipif(not HEADER.exists(), reason="the header is in the source tree, which these tests are not in here")
@pytest.mark.parametrize("kind", [ipcq.GroupStats, ipcq.EndpointStats, ipcq.QueueStats, ipcq.BrokerStats])
def test_statistics_have_exactly_the_fields_of_the_header(kind):
    text = re.sub(r"//.*", "", HEADER.read_text())
    body = re.search(rf"struct {kind.__name__} {{(.*?)}};", text, re.DOTALL)
    assert body
    types = {"std::string": "str", "bool": "bool", "double": "float"}
    expected = {}
    for declaration in body[1].split(";"):
        match = re.fullmatch(r"(\S+) (.*)", declaration.strip(), re.DOTALL)
        if match is None:
            continue
        vector = re.fullmatch(r"std::vector<(\w+)>", match[1])
        type_ = f"list[{vector[1]}]" if vector else types.get(match[1], "int")
        for one in match[2].split(","):
            expected[one.split("=")[0].strip()] = type_
    assert len(expected) > 8
    assert {field.name: field.type for field in dataclasses.fields(kind)} == expected


def test_what_the_library_reports_goes_to_the_logger(session, caplog):
    caplog.set_level(logging.DEBUG, "ipcq")
    session.producer("q").break_off()
    eventually(lambda: [one for one in caplog.records if one.name == "ipcq"], "the loss of a producer is reported")
    record = next(one for one in caplog.records if one.name == "ipcq")
    assert record.levelno == logging.WARNING
    assert "'q'" in record.getMessage()
    assert "producer" in record.getMessage()


def test_a_logging_handler_that_uses_the_broker_does_not_hang(broker, session):
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append((record.getMessage(), broker.stats().clients, session.connected))

    handler = Handler()
    logging.getLogger("ipcq").addHandler(handler)
    try:
        session.producer("q").break_off()
        eventually(lambda: seen, "it was called")
    finally:
        logging.getLogger("ipcq").removeHandler(handler)


def test_build_info_says_what_this_package_is():
    info = ipcq.build_info()
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", info.version)
    assert info.version == ipcq.__version__
    assert info.abi > 0
    assert info.backends[0] == "host"
    assert bool(info.architectures) == ("cuda" in info.backends)
    assert info.compiler
    assert info.python == sys.version.split()[0]


def _has_driver():
    return bool(ipcq.devices())


@pytest.mark.skipif(_has_driver(), reason="there is a GPU here")
def test_where_there_is_no_gpu_the_text_says_what_is_missing(broker):
    with pytest.raises(ipcq.BackendError, match="driver|without CUDA"):
        ipcq.device(0)
    with pytest.raises(ipcq.BackendError, match=r"(?i)cuda|driver|gpu"):
        broker.create("gpu", backend="cuda")


def test_the_module_reports_what_it_finds(broker, name):
    ran = subprocess.run([sys.executable, "-W", "error", "-m", "ipcq"], capture_output=True, text=True, timeout=WAIT)
    assert (ran.returncode, ran.stderr) == (0, "")
    for text in (ipcq.__version__, "backends: host", "GPUs:", f"{name}: process {os.getpid()}", "numpy"):
        assert text in ran.stdout
    assert broker.stats().clients == 0


@pytest.mark.parametrize("program", ["ipcq", "ipcq-broker", "ipcq-producer", "ipcq-consumer", "ipcq-redis"])
def test_the_programs_are_there_and_of_this_version(program):
    path = _programs.program_path(program)
    if not path.exists():
        pytest.skip(f"this package was built without its programs: there is no {path}")
    ran = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=WAIT)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ipcq.__version__ in ran.stdout


def test_the_console_scripts_become_the_programs():
    if not _programs.program_path("ipcq").exists():
        pytest.skip("this package was built without its programs")
    for entry in ("ipcq", "ipcq_broker", "ipcq_producer", "ipcq_consumer"):
        script = f"import sys, ipcq._programs as p; sys.argv[1:] = ['--version']; p.{entry}()"
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=WAIT)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ipcq.__version__ in ran.stdout


def test_the_package_has_what_it_says():
    assert len(set(ipcq.__all__)) == len(ipcq.__all__)
    for name in ipcq.__all__:
        assert getattr(ipcq, name) is not None


@pytest.mark.parametrize(
    "kind",
    [ipcq.Broker, ipcq.Session, ipcq.Producer, ipcq.Consumer, ipcq.Message, ipcq.Loan],
    ids=lambda kind: kind.__name__,
)
def test_everything_public_says_what_it_does(kind):
    assert kind.__doc__
    assert [key for key in dir(kind) if not key.startswith("_") and not getattr(kind, key).__doc__] == []
