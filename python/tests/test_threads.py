"""Threads that share endpoints, and calls that wait while others run."""

from __future__ import annotations

import sys
import threading
import time

import ipcq
import pytest
from conftest import WAIT, InThread, eventually, group_stats, queue_stats


@pytest.fixture
def wide(broker):
    broker.create("wide", slots=0, lines=64)
    return broker


def test_threads_share_a_producer_and_a_consumer(wide, session):
    count, threads = 500, 4
    got: list[list[bytes]] = [[] for _ in range(threads)]
    with session.producer("wide") as producer, session.consumer("wide") as consumer:

        def send(of):
            for number in range(count):
                producer.send(f"{of} {number}".encode(), timeout=WAIT)

        def receive(of):
            while True:
                try:
                    got[of].append(consumer.receive_bytes(timeout=WAIT))
                except ipcq.EndOfStream:
                    return

        receivers = [InThread(lambda of=of: receive(of)) for of in range(threads)]
        senders = [InThread(lambda of=of: send(of)) for of in range(threads)]
        for thread in senders:
            thread.result()
        producer.close()
        for thread in receivers:
            thread.result()
    everything = [one for part in got for one in part]
    assert sorted(everything) == sorted(f"{of} {number}".encode() for of in range(threads) for number in range(count))
    for part in got:  # each thread sees each sender's in order
        for of in range(threads):
            mine = [int(one.split()[1]) for one in part if one.startswith(f"{of} ".encode())]
            assert mine == sorted(mine)
    assert group_stats(wide, queue="wide").delivered == count * threads


def test_close_from_another_thread_ends_every_wait(session):
    for kind in (lambda c: c.receive(), lambda c: next(iter(c)), lambda c: c.receive(timeout=1000)):
        consumer = session.consumer("q")
        waiting = [InThread(lambda kind=kind, consumer=consumer: kind(consumer)) for _ in range(3)]
        time.sleep(0.02)
        InThread(consumer.close).result()
        for thread in waiting:
            with pytest.raises(ipcq.ClosedError):
                thread.result()


def test_close_from_another_thread_ends_a_wait_for_room(wide, session):
    assert wide is not None
    producer = session.producer("wide")
    while producer.try_send(b"x"):
        pass
    waiting = [InThread(lambda: producer.send(b"x")) for _ in range(3)]
    time.sleep(0.02)
    producer.close()
    for thread in waiting:
        with pytest.raises(ipcq.ClosedError):
            thread.result()


def test_closing_the_session_ends_the_waits_of_all_its_endpoints(session, name):
    with ipcq.connect(name) as other:
        consumers = [other.consumer("q") for _ in range(3)]
        waiting = [InThread(consumer.receive) for consumer in consumers]
        time.sleep(0.02)
    for thread in waiting:
        with pytest.raises(ipcq.ClosedError):
            thread.result()
    assert session.connected


def test_other_threads_run_while_a_call_waits(wide, session):
    assert wide is not None
    producer, consumer = session.producer("wide"), session.consumer("q")
    while producer.try_send(b"x"):
        pass
    calls = [
        lambda: consumer.receive(timeout=0.3),
        lambda: consumer.receive_many(timeout=0.3),
        lambda: consumer.receive_bytes(timeout=0.3),
        lambda: producer.send(b"x", timeout=0.3),
        lambda: producer.send_many([b"x"], timeout=0.3),
        lambda: session.consumer("nowhere", wait_for=0.3),
        lambda: session.producer("nowhere", wait_for=0.3),
        lambda: ipcq.connect("nobody", wait_for=0.3),
        lambda: ipcq.stats("nobody", wait_for=0.3),
    ]
    for call in calls:
        waiting = InThread(call)
        steps = 0
        while waiting.is_alive():  # a call that keeps the GIL would let this thread go on only at its end
            steps += 1
            time.sleep(0.001)
        assert steps > 20
        with pytest.raises((ipcq.TimeoutError, ipcq.NotFoundError)):
            waiting.result()


def test_a_thread_that_waits_does_not_hold_up_the_others(wide, session):
    producer, consumer = session.producer("wide"), session.consumer("wide")
    for _ in range(3):
        producer.send(b"x")
    messages = consumer.receive_many(3)
    waiting = InThread(lambda: consumer.receive())
    time.sleep(0.02)
    for _ in range(20):  # each is answered although the consumer is in a call that waits
        assert consumer.try_receive() is None
        assert consumer.metadata_bytes == 0
        assert consumer.schema == ""
    messages.pop().release()
    messages.pop().nack()
    waiting.result().release()
    assert (group_stats(wide, queue="wide").held, group_stats(wide, queue="wide").delivered) == (1, 2)


def test_turns_within_one_endpoint_disturb_no_other(wide, session):
    """Threads that want the turn of one endpoint neither end nor shorten waits of the session's other endpoints."""
    consumer, other = session.consumer("wide"), session.consumer("q")
    opening = InThread(lambda: session.consumer("late", wait_for=WAIT))
    opening_too = InThread(lambda: session.producer("late", wait_for=None))
    waiting, waiting_here = InThread(lambda: other.receive()), InThread(lambda: consumer.receive())
    before = time.monotonic()
    timed = InThread(lambda: session.consumer("q", group="more").receive(timeout=0.4))
    while time.monotonic() - before < 0.3:
        consumer.try_receive()
    for thread in (opening, opening_too, waiting, waiting_here):
        assert thread.is_alive()
    with pytest.raises(ipcq.TimeoutError):
        timed.result()
    assert time.monotonic() - before >= 0.4
    wide.create("late")
    opening.result()
    opening_too.result()
    for queue in ("q", "wide"):
        with session.producer(queue) as producer:
            producer.send(b"x")
    waiting.result().release()
    waiting_here.result().release()


def test_an_interrupt_by_the_user_holds_while_threads_take_turns(session):
    consumer = session.consumer("q")
    waiting = InThread(lambda: consumer.receive())
    time.sleep(0.02)
    for _ in range(50):
        consumer.try_receive()
    session.interrupt()
    with pytest.raises(ipcq.InterruptedError):
        waiting.result()
    for _ in range(50):
        with pytest.raises(ipcq.InterruptedError):
            consumer.receive(timeout=1)
    session.resume()
    waiting = InThread(lambda: consumer.receive(timeout=0.05))
    for _ in range(50):
        consumer.try_receive()
    with pytest.raises(ipcq.TimeoutError):
        waiting.result()


def test_endpoints_open_and_close_in_many_threads(broker, session):
    def work():
        for _ in range(10):
            with session.producer("q") as producer, session.consumer("q", group="default") as consumer:
                producer.send(b"x", timeout=WAIT)
                consumer.receive_bytes(timeout=WAIT)

    threads = [InThread(work) for _ in range(4)]
    for thread in threads:
        thread.result()
    eventually(lambda: not queue_stats(broker).endpoints, "all endpoints are closed")
    assert group_stats(broker).delivered == 40


def test_a_session_closes_while_threads_use_it(name, broker):
    for _ in range(5):
        session = ipcq.connect(name)
        producer, consumer = session.producer("q"), session.consumer("q")

        def work(producer=producer, consumer=consumer):
            while True:
                producer.send(b"x", timeout=WAIT)
                with consumer.receive(timeout=WAIT) as message:
                    bytes(message)

        threads = [InThread(work) for _ in range(3)]
        time.sleep(0.02)
        session.close()
        for thread in threads:
            with pytest.raises((ipcq.ClosedError, ipcq.EndOfStream, ipcq.UsageError)):
                thread.result()
        assert not queue_stats(broker).endpoints


def test_a_consumer_is_dropped_while_a_thread_waits_in_it(session):
    consumer = session.consumer("q")
    waiting = InThread(lambda receive=consumer.receive: receive(timeout=0.3))
    del consumer
    with pytest.raises(ipcq.TimeoutError):
        waiting.result()


def test_the_interpreters_switch_interval_does_not_matter(wide, session):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with session.producer("wide") as producer, session.consumer("wide") as consumer:
            threads = [InThread(lambda: [producer.send(b"x", timeout=WAIT) for _ in range(200)]) for _ in range(2)]
            threads += [
                InThread(lambda: [consumer.receive(timeout=WAIT).release() for _ in range(200)]) for _ in range(2)
            ]
            for thread in threads:
                thread.result()
    finally:
        sys.setswitchinterval(interval)
    assert group_stats(wide, queue="wide").delivered == 400


def test_one_message_released_by_many_threads_is_released_once(broker, session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        for _ in range(20):
            producer.send(b"x" * 1000)
            message = consumer.receive(timeout=1)
            barrier = threading.Barrier(4)

            def release(message=message, barrier=barrier):
                barrier.wait(WAIT)
                try:
                    message.release()
                except ipcq.UsageError:
                    return 0
                return 1

            threads = [InThread(release) for _ in range(4)]
            assert sum(thread.result() for thread in threads) == 1
        assert (queue_stats(broker).empty, group_stats(broker).delivered) == (4, 20)
