"""Signals and forks."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time

import ipcq
import pytest
from conftest import WAIT, eventually, group_stats

WAITS = {
    "receive": "c = session.consumer('q'); call = c.receive",
    "receive_many": "c = session.consumer('q'); call = c.receive_many",
    "receive_records": "c = session.consumer('q'); call = c.receive_records",
    "receive_bytes": "c = session.consumer('q'); call = c.receive_bytes",
    "receive_into": "c = session.consumer('q'); call = lambda: c.receive_into(bytearray(99))",
    "a loop": "c = session.consumer('q'); call = lambda: list(c)",
    "receive of a spinning consumer": "c = session.consumer('q', wait='spin'); call = c.receive",
    "send": "p = session.producer('full'); call = lambda: [p.send(b'x') for _ in range(9)]",
    "send_many": "p = session.producer('full'); call = lambda: p.send_many([b'x'] * 9)",
    "send_array": "p = session.producer('q'); call = lambda: [p.send_array(bytearray(200)) for _ in range(9)]",
    "loan": "p = session.producer('q'); loans = []; call = lambda: [loans.append(p.loan()) for _ in range(9)]",
    "publish": "p = session.producer('full'); call = lambda: [p.loan().publish(1) for _ in range(9)]",
    "connect": "call = lambda: ipcq.connect('nobody', wait_for=None)",
    "stats": "call = lambda: ipcq.stats('nobody', wait_for=None)",
    "producer": "call = lambda: session.producer('nowhere', wait_for=None)",
    "consumer": "call = lambda: session.consumer('nowhere', wait_for=None)",
    "get of a pool of buffers": "pool = ipcq.BufferPool(1, (4,)); kept = pool.get(); call = pool.get",
    "drain": "p = session.producer('q'); p.send(b'x'); call = lambda: own.drain('q')",
    "drain of a running broker": "p = session.producer('q'); p.send(b'x'); call = lambda: ipcq.drain('q', broker=own_name)",  # noqa: E501
    "stop": "c = session.consumer('q'); p = session.producer('q'); p.send(b'x'); call = lambda: own.stop(drain_for=None)",  # noqa: E501
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_a_keyboard_interrupt_ends_a_wait(start, wait):
    child = start(
        f"""
        own_name = name + "-own"
        own = ipcq.Broker(own_name)
        own.create("q", slots=2)
        own.create("full", slots=9, lines=2)
        session = ipcq.connect(own_name)
        {wait}
        try:
            say("ready")
            call()
        except KeyboardInterrupt:
            say("interrupted")
            session.close()
        """
    )
    assert child.line() == "ready"
    time.sleep(0.15)  # it is in the wait by then; one signal is enough wherever it comes
    child.signal(signal.SIGINT)
    assert child.line() == "interrupted"
    child.finish()


def test_a_handler_that_returns_lets_the_wait_go_on(start, session):
    child = start(
        """
        session = ipcq.connect(name)
        consumer = session.consumer("q")
        signal.signal(signal.SIGUSR1, lambda *_: say("handled"))
        say("ready")
        say(bytes(consumer.receive()).decode())
        session.close()
        """
    )
    assert child.line() == "ready"
    for _ in range(3):
        child.signal(signal.SIGUSR1)
        assert child.line() == "handled"
    with session.producer("q") as producer:
        producer.send(b"message")
    assert child.line() == "message"
    child.finish()


def test_a_handler_may_use_the_endpoint_that_waits(start, session, broker):
    child = start(
        """
        session = ipcq.connect(name)
        consumer, producer = session.consumer("q"), session.producer("q")
        def handle(*_):
            assert consumer.try_receive() is None
            producer.send(b"by the handler")
            say("handled", consumer.schema, consumer.closed)
        signal.signal(signal.SIGUSR1, handle)
        say("ready")
        message = consumer.receive()
        say(bytes(message).decode())
        message.release()
        signal.signal(signal.SIGUSR1, lambda *_: consumer.close())
        say("ready")
        try:
            consumer.receive()
        except ipcq.ClosedError:
            say("closed")
        session.close()
        """
    )
    assert session.connected
    for said in (["handled  False", "by the handler"], ["closed"]):
        assert child.line() == "ready"
        child.signal(signal.SIGUSR1)
        assert [child.line() for _ in said] == said
    child.finish()
    assert group_stats(broker).delivered == 1


def test_an_exception_of_a_handler_loses_nothing(start, session, broker):
    child = start(
        """
        class Stop(Exception): pass
        def handle(*_): raise Stop
        signal.signal(signal.SIGUSR1, handle)
        session = ipcq.connect(name)
        consumer = session.consumer("q")
        got = 0
        say("ready")
        while True:
            try:
                for message in consumer:
                    got += 1
                break
            except Stop:
                say("stopped")
        say(got)
        session.close()
        """
    )
    assert child.line() == "ready"
    with session.producer("q") as producer:
        for number in range(300):
            producer.send(b"x" * 200, timeout=WAIT)
            if number % 100 == 50:
                child.signal(signal.SIGUSR1)
                assert child.line() == "stopped"
    counted = int(child.line())
    child.finish()
    stats = group_stats(broker)
    assert stats.delivered == 300
    assert counted >= 300  # a message that was given back is counted again


def test_a_forked_child_is_told_what_to_do(start, session):
    child = start(
        """
        own_name = name + "-own"
        own = ipcq.Broker(own_name)
        own.create("q", slots=4)
        session = ipcq.connect(own_name)
        producer, consumer = session.producer("q"), session.consumer("q")
        producer.send(b"x" * 1000)
        message, slot = consumer.receive(), producer.loan()
        def refused(call):
            try:
                call()
            except ipcq.UsageError as error:
                text = str(error)
                return "spawn" in text or "connect" in text or "fork" in text
            return False
        pid = os.fork()
        if pid == 0:
            calls = dict(producer=lambda: session.producer("q"), consumer=lambda: session.consumer("q"),
                send=lambda: producer.send(b"x"), try_send=lambda: producer.try_send(b"x"), loan=producer.loan,
                many=lambda: producer.send_many([b"x"]), array=lambda: producer.send_array(b"x"),
                receive=consumer.receive, try_receive=consumer.try_receive, bytes=consumer.receive_bytes,
                records=consumer.receive_records, into=lambda: consumer.receive_into(bytearray(9)),
                fileno=consumer.fileno, iterate=lambda: next(iter(consumer)), interrupt=session.interrupt,
                stats=own.stats, create=lambda: own.create("other"), publish=lambda: slot.publish(1))
            say("not refused:", [what for what, call in calls.items() if not refused(call)], session.connected)
            for ends in (message, slot, consumer, producer, session, own):
                getattr(ends, "close", getattr(ends, "stop", lambda: None))()
            del message, slot, consumer, producer, session, own
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        say(status, session.connected, bytes(message) == b"x" * 1000)
        message.release(); slot.publish(1); consumer.receive().release()
        say([queue.empty for queue in own.stats().queues])
        session.close(); own.stop()
        """
    )
    assert child.line() == "not refused: [] False"
    assert child.line() == "0 True True"
    assert child.line() == "[4]"
    child.finish()
    assert session.connected


def test_a_forked_child_connects_anew(start, session, broker):
    child = start(
        """
        session = ipcq.connect(name)
        producer = session.producer("q")
        pid = os.fork()
        if pid == 0:
            with ipcq.connect(name) as mine, mine.producer("q") as own:
                own.send(b"child")
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        producer.send(b"parent")
        session.close()
        """
    )
    child.finish()
    with session.consumer("q") as consumer:
        assert [bytes(message) for message in consumer] == [b"child", b"parent"]
    assert broker.stats().deaths == 0


def _use(endpoint):
    endpoint.receive(timeout=1)


def test_what_belongs_to_a_process_is_not_pickled(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(b"x")
        message, slot = consumer.receive(timeout=1), producer.loan()
        for one in (session, producer, consumer):
            with pytest.raises(TypeError, match="connect"):
                pickle.dumps(one)
        for one in (message, slot):
            with pytest.raises(TypeError):
                pickle.dumps(one)
        process = multiprocessing.get_context("spawn").Process(target=_use, args=(consumer,))
        with pytest.raises(TypeError, match="connect"):
            process.start()
        message.release()


def _send_from_another_process(broker, count):
    with ipcq.connect(broker, wait_for=WAIT) as session, session.producer("q") as producer:
        for number in range(count):
            producer.send(f"{os.getppid()} {number}".encode(), timeout=WAIT)


def test_spawned_processes_open_their_own(session, name, broker):
    process = multiprocessing.get_context("spawn").Process(target=_send_from_another_process, args=(name, 50))
    process.start()
    with session.consumer("q") as consumer:
        got = [consumer.receive_bytes(timeout=WAIT) for _ in range(50)]
        with pytest.raises(ipcq.EndOfStream):
            consumer.receive(timeout=WAIT)
    process.join(WAIT)
    assert process.exitcode == 0
    assert got == [f"{os.getpid()} {number}".encode() for number in range(50)]
    eventually(lambda: broker.stats().clients == 1, "the process has detached")
    assert broker.stats().deaths == 0
