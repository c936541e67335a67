"""How interpreters end: with streams that end or do not, with threads that wait, and quietly."""

from __future__ import annotations

import ipcq
import pytest
from conftest import WAIT

STRICT = ("-X", "dev", "-W", "error")  # an interpreter that complains of everything


def unexpected(errors):
    """What a script has said that its embedded broker does not have to say at its end."""
    said = ("stopped with", "has not ended its stream")
    return [line for line in errors.splitlines() if not any(words in line for words in said)]


ENDS = {
    "falls off its end": ("", 0),
    "sys.exit()": ("sys.exit()", 0),
    "an uncaught exception": ("raise KeyError('mine')", 1),
    "an uncaught interrupt": ("raise KeyboardInterrupt", None),
    "an exception that was handled before": ("try: 1 / 0\nexcept ZeroDivisionError: pass", 0),
    "os._exit()": ("os._exit(0)", 0),
}


@pytest.mark.parametrize(("source", "code"), ENDS.values(), ids=ENDS.keys())
def test_the_interpreters_end_does_not_end_a_stream(start, session, source, code):
    """A producer that is never closed has not ended its stream, however the program ends."""
    child = start(
        f"""
session = ipcq.connect(name)
producer, other = session.producer("q"), session.consumer("q", group="other")
producer.send(b"x" * 1000)
message = other.receive()
view = memoryview(message)
slot = producer.loan()
writable = memoryview(slot)
say("sent")
{source}
"""
    )
    assert child.line() == "sent"
    _, errors = child.finish(code)
    assert "Segmentation" not in errors
    if code == 0:
        assert errors == ""
    with session.consumer("q") as consumer:
        assert consumer.receive_bytes(timeout=WAIT) == b"x" * 1000
        with pytest.raises(ipcq.TimeoutError):
            consumer.receive(timeout=0.3)


def test_an_exit_with_an_error_code_does_not_end_the_stream(start, session):
    """``sys.exit("what went wrong")`` is how scripts say that they have failed."""
    child = start(
        """
        session = ipcq.connect(name)
        producer = session.producer("q")
        producer.send(b"half of it")
        sys.exit("input.txt is not there")
        """
    )
    child.finish(1)
    with session.consumer("q") as consumer:
        assert consumer.receive_bytes(timeout=WAIT) == b"half of it"
        with pytest.raises(ipcq.TimeoutError):
            consumer.receive(timeout=0.3)


def test_an_exit_without_an_error_ends_the_stream_of_a_with_block(start, session):
    child = start(
        """
        with ipcq.connect(name) as session, session.producer("q") as producer:
            producer.send(b"all of it")
            sys.exit()
        """
    )
    child.finish()
    with session.consumer("q") as consumer:
        assert consumer.receive_bytes(timeout=WAIT) == b"all of it"
        with pytest.raises(ipcq.EndOfStream):
            consumer.receive(timeout=1)


WAITS = [
    "consumer.receive()",
    "list(consumer)",
    "consumer.receive_bytes()",
    "full.send(b'x')",
    "full.loan()",
    "session.consumer('nowhere', wait_for=None)",
    "session.producer('nowhere', wait_for=None)",
    "ipcq.connect('nobody', wait_for=None)",
    "ipcq.drain('full', broker=name)",
    "own.stop(drain_for=None)",
]


@pytest.mark.parametrize("waits", WAITS)
def test_the_interpreter_ends_while_a_thread_waits(start, waits):
    child = start(
        f"""
        own = ipcq.Broker(name)
        own.create("q", slots=1)
        own.create("full", slots=1, lines=2)
        session = ipcq.connect(name)
        consumer, full, slots = session.consumer("q"), session.producer("full"), []
        while full.try_send(b"x"): pass
        slots.append(full.loan())
        others = session.consumer("full")
        def work():
            try:
                {waits}
            except ipcq.Error:
                pass
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.15)
        """,
        *STRICT,
    )
    _, errors = child.finish()
    assert unexpected(errors) == []


@pytest.mark.parametrize("waits", ["consumer.receive()", "full.send(b'x')"])
def test_the_interpreter_ends_while_a_thread_waits_for_another_process(start, broker, waits):
    broker.create("full", slots=0, lines=2)
    child = start(
        f"""
        session = ipcq.connect(name)
        consumer, full = session.consumer("q"), session.producer("full")
        while full.try_send(b"x"): pass
        def work():
            try:
                {waits}
            except ipcq.Error:
                pass
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.15)
        """,
        *STRICT,
    )
    _, errors = child.finish()
    assert errors == ""
    assert broker.stats().deaths == 0


def test_threads_that_are_no_daemons_are_waited_for(start, session):
    child = start(
        """
        session = ipcq.connect(name)
        consumer = session.consumer("q")
        def work():
            for message in consumer:
                say(bytes(message).decode())
        threading.Thread(target=work).start()
        say("end of the script")
        """,
        *STRICT,
    )
    assert child.line() == "end of the script"
    with session.producer("q") as producer:
        producer.send(b"after it")
    assert child.line() == "after it"
    _, errors = child.finish()
    assert errors == ""


@pytest.mark.parametrize("order", ["broker, session", "session, broker"])
def test_a_script_that_closes_nothing_ends_quietly(start, order):
    child = start(
        f"""
        broker = ipcq.Broker(name)
        broker.create("q", slots=4)
        session = ipcq.connect(name)
        producer, consumer = session.producer("q"), session.consumer("q")
        producer.send(b"x" * 1000)
        message = consumer.receive()
        view = memoryview(message)
        slot = producer.loan()
        writable = memoryview(slot)
        sys.ends = [view, writable, {order}]  # outlive this module
        say("end")
        """,
        *STRICT,
    )
    assert child.line() == "end"
    _, errors = child.finish()
    # A message of a group is lost by a broker that stops, which it says; nothing else.
    assert unexpected(errors) == []


def test_a_script_that_closes_everything_ends_quietly(start):
    child = start(
        """
        import asyncio
        async def take(consumer):
            return [bytes(message) async for message in consumer]
        with ipcq.Broker(name) as broker, ipcq.connect(name) as session:
            broker.create("q", slots=4)
            with session.consumer("q") as consumer:
                with session.producer("q") as producer:
                    producer.send(b"x" * 1000)
                    producer.send_array(memoryview(b"abc"))
                say(len(asyncio.run(take(consumer))))
        """,
        *STRICT,
    )
    assert child.line() == "2"
    out, errors = child.finish()
    assert (out, errors) == ("", "")
