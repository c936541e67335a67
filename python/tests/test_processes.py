"""Producers, consumers and brokers in processes of their own, and what their ends and deaths do."""

from __future__ import annotations

import signal
import time

import ipcq
import pytest
from conftest import WAIT, eventually, group_stats, queue_stats

STRICT = ("-X", "dev", "-W", "error")  # an interpreter that complains of everything


def body(number, length=1000):
    """What message `number` has: bytes that say which one it is, and that change from place to place."""
    return bytes((number * 31 + place * 7) % 256 for place in range(length))


BODY = """
def body(number, length=1000):
    return bytes((number * 31 + place * 7) % 256 for place in range(length))
"""


def test_every_byte_passes_between_two_processes(start, broker):
    consumer = start(
        BODY
        + """
with ipcq.connect(name, wait_for=20) as session, session.consumer("q", wait_for=20) as consumer:
    say("ready")
    count = 0
    for message in consumer:
        assert bytes(message) == body(count, 1 + count * 37 % 4096), count
        assert message.sequence == count
        count += 1
say(count)
""",
        *STRICT,
    )
    assert consumer.line() == "ready"
    producer = start(
        BODY
        + """
with ipcq.connect(name, wait_for=20) as session, session.producer("q", wait_for=20) as producer:
    for number in range(300):
        data = body(number, 1 + number * 37 % 4096)
        if number % 3:
            producer.send(data, timeout=20)
        else:
            with producer.loan(20) as slot:
                slot.write(data)
                slot.publish(len(data), 20)
""",
        *STRICT,
    )
    for child in (producer, consumer):
        out, errors = child.finish()
        assert errors == ""
    assert out == "300"
    stats = broker.stats()
    assert (group_stats(broker).delivered, queue_stats(broker).empty, stats.deaths) == (300, 4, 0)


def test_a_message_of_a_killed_consumer_goes_to_another(start, session, broker):
    victim = start(
        """
        session = ipcq.connect(name)
        consumer = session.consumer("q")
        message = consumer.receive()
        view = memoryview(message)
        say("holds", message.redeliveries)
        consumer.receive()
        """
    )
    with session.producer("q") as producer:
        producer.send(body(1))
        assert victim.line() == "holds 0"
        victim.signal(signal.SIGKILL)
        victim.finish(-signal.SIGKILL)
        with session.consumer("q") as consumer, consumer.receive(timeout=WAIT) as again:
            assert (bytes(again), again.redeliveries) == (body(1), 1)
    eventually(lambda: broker.stats().deaths == 1, "the broker has seen the death")
    assert queue_stats(broker).empty == 4


def test_a_killed_producer_does_not_end_the_stream(start, session, broker):
    victim = start(
        """
        session = ipcq.connect(name)
        producer = session.producer("q")
        slots = [producer.loan(), producer.loan()]
        producer.send(b"last words")
        say("sent")
        time.sleep(1000)
        """
    )
    assert victim.line() == "sent"
    victim.signal(signal.SIGKILL)
    victim.finish(-signal.SIGKILL)
    with session.consumer("q") as consumer:
        assert consumer.receive_bytes(timeout=WAIT) == b"last words"
        eventually(lambda: queue_stats(broker).producers_lost == 1, "the broker has seen the death")
        with pytest.raises(ipcq.TimeoutError):
            consumer.receive(timeout=0.1)
        assert queue_stats(broker).empty == 4  # its loans are back
        broker.end_of_stream("q")
        with pytest.raises(ipcq.EndOfStream):
            consumer.receive(timeout=WAIT)


def test_a_killed_broker_is_told_to_everybody(start, name):
    child = start(
        """
        broker = ipcq.Broker(name)
        broker.create("q", slots=2)
        broker.create("full", slots=0, lines=2)
        broker.create("calls", calls=4)
        say("ready")
        time.sleep(1000)
        """
    )
    assert child.line() == "ready"
    clients = start(
        """
        import asyncio
        session = ipcq.connect(name)
        producer, consumer = session.producer("q"), session.consumer("q")
        full = session.producer("full")
        while full.try_send(b"x"): pass
        producer.send(b"y" * 1000)
        message = consumer.receive()
        view = memoryview(message)
        calls = [consumer.receive, lambda: next(iter(session.consumer("q"))), lambda: full.send(b"x"),
            lambda: [producer.loan() for _ in range(3)].sort(),
            lambda: session.server("calls").serve(bytes), lambda: next(iter(session.server("calls"))),
            lambda: asyncio.run(session.server("calls").serve_async(bytes))]
        def call(of):
            try:
                of()
            except ipcq.PeerDeadError as error:
                say("dead", "successor" in str(error), error.status.name)
        threads = [threading.Thread(target=call, args=(one,)) for one in calls]
        for thread in threads: thread.start()
        time.sleep(0.2)
        say("waits")
        for thread in threads: thread.join()
        say(bytes(view) == b"y" * 1000, session.connected)
        for call in (consumer.receive, consumer.receive_bytes, lambda: full.send(b"x")):
            try:
                call()
            except ipcq.PeerDeadError:
                say("still dead")
        try:
            session.consumer("q")
        except ipcq.Error as error:
            say(type(error).__name__)
        view.release()
        message.release()
        session.close()
        say("closed")
        """
    )
    assert clients.line() == "waits"
    child.signal(signal.SIGKILL)
    child.finish(-signal.SIGKILL)
    assert [clients.line() for _ in range(7)] == ["dead True PEER_DEAD"] * 7
    assert clients.line() == "True False"
    assert [clients.line() for _ in range(3)] == ["still dead"] * 3
    assert clients.line() in ("SystemError", "NotFoundError")
    assert clients.line() == "closed"
    clients.finish()
    with ipcq.Broker(name) as successor:  # what the dead one left does not hinder it
        successor.create("q")


def test_a_stopped_process_holds_nobody_up_for_good(start, session, broker):
    child = start(
        """
        session = ipcq.connect(name)
        consumer = session.consumer("q")
        message = consumer.receive()
        say("holds")
        time.sleep(1000)
        """
    )
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(b"held")
        while (message := consumer.try_receive()) is not None:  # this one was quicker
            message.nack()
            time.sleep(0.01)
        assert child.line() == "holds"
        child.signal(signal.SIGSTOP)
        producer.send(b"next")
        assert consumer.receive_bytes(timeout=WAIT) == b"next"
        eventually(lambda: "stopped" in {one.state for one in queue_stats(broker).endpoints}, "its state is shown")
        child.signal(signal.SIGKILL)
        assert consumer.receive_bytes(timeout=WAIT) == b"held"
