"""Time-outs, what a call raises that had nothing to do, and what a producer does when there is no room."""

from __future__ import annotations

import builtins
import copy
import fractions
import pickle
import queue
import time

import ipcq
import pytest
from conftest import InThread, eventually, group_stats

RECEIVING = {
    "receive": lambda consumer, timeout: consumer.receive(timeout=timeout),
    "receive_many": lambda consumer, timeout: consumer.receive_many(8, timeout=timeout),
    "receive_bytes": lambda consumer, timeout: consumer.receive_bytes(timeout=timeout),
    "receive_records": lambda consumer, timeout: consumer.receive_records(8, timeout=timeout),
    "receive_into": lambda consumer, timeout: consumer.receive_into(bytearray(64), timeout=timeout),
}
SENDING = {
    "send": lambda producer, timeout: producer.send(b"x", timeout=timeout),
    "send_many": lambda producer, timeout: producer.send_many([b"x"], timeout=timeout),
}
receiving = pytest.mark.parametrize("receive", RECEIVING.values(), ids=RECEIVING.keys())
sending = pytest.mark.parametrize("send", SENDING.values(), ids=SENDING.keys())


@pytest.fixture
def full(broker, session):
    """A producer of a queue that has no room, and a consumer of it."""
    broker.create("full", slots=0, lines=2)
    producer, consumer = session.producer("full"), session.consumer("full")
    while producer.try_send(b"old"):
        pass
    return producer, consumer


@receiving
@pytest.mark.parametrize("timeout", [0, 0.0, -1, -0.5, float("-inf"), False])
def test_zero_and_less_do_not_wait_for_a_message(session, receive, timeout):
    with session.consumer("q") as consumer, session.producer("q"):
        with pytest.raises(ipcq.Empty, match="queue 'q'") as caught:
            receive(consumer, timeout)
        assert caught.value.status is ipcq.Status.EMPTY
        assert isinstance(caught.value, queue.Empty)


@receiving
def test_a_wait_for_a_message_takes_its_time_and_then_says_so(session, receive):
    with session.consumer("q") as consumer, session.producer("q"):
        before = time.monotonic()
        with pytest.raises(ipcq.TimeoutError, match=r"0\.15") as caught:
            receive(consumer, 0.15)  # longer than one slice of a wait
        assert time.monotonic() - before >= 0.15
        assert caught.value.status is ipcq.Status.TIMEOUT
        assert isinstance(caught.value, builtins.TimeoutError)


@receiving
@pytest.mark.parametrize("timeout", [None, 1, 30.0, fractions.Fraction(30), float("inf"), 1e300, True], ids=repr)
def test_what_is_a_number_of_seconds_or_none_is_taken(session, receive, timeout):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(b"x")
        receive(consumer, timeout)
        waiting = InThread(lambda: receive(consumer, timeout))
        producer.send(b"x")
        waiting.result()


@receiving
def test_a_wait_without_limit_outlasts_its_slices(session, receive):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        waiting = InThread(lambda: receive(consumer, None))
        time.sleep(0.35)  # some slices of a wait
        assert waiting.is_alive()
        producer.send(b"x")
        waiting.result()


@pytest.mark.parametrize(("timeout", "error"), [(float("nan"), ValueError), ("1", TypeError), ([], TypeError)])
def test_what_is_no_number_of_seconds_is_refused(broker, session, timeout, error):
    assert broker is not None
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(b"x")
        calls = [lambda call=call: call(consumer, timeout) for call in RECEIVING.values()]
        calls += [lambda call=call: call(producer, timeout) for call in SENDING.values()]
        calls += [
            lambda: producer.loan(timeout),
            lambda: producer.loan().publish(1, timeout),
            lambda: producer.send_array(b"x", timeout),
            lambda: session.producer("q", wait_for=timeout),
            lambda: session.consumer("q", wait_for=timeout),
            lambda: ipcq.connect("none", wait_for=timeout),
            lambda: ipcq.stats("none", wait_for=timeout),
            lambda: ipcq.drain("q", timeout),
            lambda: broker.drain("q", timeout),
            lambda: broker.stop(timeout),
        ]
        for call in calls:
            with pytest.raises(error):
                call()
        assert consumer.receive_bytes() == b"x"


def test_try_receive_returns_none_where_there_is_nothing(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        assert consumer.try_receive() is None
        producer.send(b"x")
        with consumer.try_receive() as message:
            assert bytes(message) == b"x"


@sending
def test_zero_does_not_wait_for_room(full, send):
    producer, _ = full
    with pytest.raises(ipcq.Full, match="lag") as caught:
        send(producer, 0)
    assert caught.value.status is ipcq.Status.FULL
    assert isinstance(caught.value, queue.Full)
    assert not producer.try_send(b"x")


@sending
def test_a_wait_for_room_takes_its_time_and_then_says_so(full, send):
    producer, _ = full
    before = time.monotonic()
    with pytest.raises(ipcq.TimeoutError, match="room"):
        send(producer, 0.15)
    assert time.monotonic() - before >= 0.15


@sending
def test_a_producer_that_waits_goes_on_when_there_is_room(full, send):
    producer, consumer = full
    waiting = InThread(lambda: send(producer, None))
    time.sleep(0.15)
    assert waiting.is_alive()
    assert consumer.receive_bytes() == b"old"
    waiting.result()


def test_a_loan_waits_for_a_slot(session):
    with session.producer("q") as producer:
        loans = [producer.loan() for _ in range(4)]
        with pytest.raises(ipcq.Full):
            producer.loan(0)
        with pytest.raises(ipcq.TimeoutError):
            producer.loan(0.05)
        waiting = InThread(lambda: producer.loan(None))
        del loans[0]
        assert waiting.result().held


def test_publishing_waits_for_a_line_and_the_loan_stays(broker, session):
    broker.create("lines", slots=8, lines=2)
    with session.producer("lines") as producer, session.consumer("lines") as consumer, producer.loan() as slot:
        while producer.try_send(b"old"):
            pass
        slot.write(b"new")
        with pytest.raises(ipcq.Full):
            slot.publish(3, timeout=0)
        with pytest.raises(ipcq.TimeoutError):
            slot.publish(3, timeout=0.05)
        assert slot.held
        waiting = InThread(lambda: slot.publish(3))
        got = [consumer.receive_bytes(timeout=1)]
        waiting.result()
        while got[-1] != b"new":
            got.append(consumer.receive_bytes(timeout=1))
        assert not slot.held


def test_a_queue_that_rejects_says_full_whatever_the_timeout(broker, session):
    broker.create("reject", slots=0, lines=2, backpressure="reject")
    with session.producer("reject") as producer:
        while producer.try_send(b"x"):
            pass
        for timeout in (None, 5, 0):
            with pytest.raises(ipcq.Full):
                producer.send(b"x", timeout=timeout)


def test_a_queue_that_drops_keeps_the_newest_and_counts_the_others(broker, session):
    broker.create("drop", slots=0, lines=4, backpressure="drop-oldest")
    with session.producer("drop") as producer, session.consumer("drop") as consumer:
        for number in range(50):
            producer.send(bytes([number]), timeout=1)
        producer.close()
        got = [bytes(message)[0] for message in consumer]
        assert got == list(range(50 - len(got), 50))
        assert group_stats(broker, queue="drop").dropped == 50 - len(got) > 0


def test_send_many_says_how_many_it_has_sent(broker, session):
    broker.create("few", slots=0, lines=4)
    with session.producer("few") as producer, session.consumer("few") as consumer:
        for timeout, error in ((0, ipcq.Full), (0.05, ipcq.TimeoutError)):
            with pytest.raises(error) as caught:
                producer.send_many([bytes([number]) for number in range(10)], timeout=timeout)
            got = []
            while (message := consumer.try_receive()) is not None:
                got.append(bytes(message)[0])
                message.release()
            assert got == list(range(caught.value.done))
            assert 0 < caught.value.done < 10
            assert str(caught.value.done) in str(caught.value)


def test_interrupt_ends_waits_until_resume(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        waiting = InThread(lambda: consumer.receive())
        time.sleep(0.05)
        session.interrupt()
        with pytest.raises(ipcq.InterruptedError, match="resume") as caught:
            waiting.result()
        assert isinstance(caught.value, builtins.InterruptedError)
        with pytest.raises(ipcq.InterruptedError):
            consumer.receive(timeout=5)
        producer.send(b"x")  # what can be done at once is done
        consumer.receive(timeout=5).release()
        session.resume()
        with pytest.raises(ipcq.TimeoutError):
            consumer.receive(timeout=0.01)


def test_a_queue_that_is_removed_ends_waits(broker, session):
    consumer = session.consumer("q")
    waiting = InThread(lambda: consumer.receive())
    eventually(lambda: group_stats(broker).members == 1, "the consumer is a member")
    broker.remove("q", at_once=True)
    with pytest.raises(ipcq.ClosedError, match="removed"):
        waiting.result()


def test_exceptions_belong_to_one_family_and_to_those_of_the_language():
    bases = {
        ipcq.UsageError: ValueError,
        ipcq.NotFoundError: LookupError,
        ipcq.PermissionError: builtins.PermissionError,
        ipcq.BackendError: RuntimeError,
        ipcq.SystemError: OSError,
        ipcq.Empty: queue.Empty,
        ipcq.Full: queue.Full,
        ipcq.TimeoutError: builtins.TimeoutError,
        ipcq.InterruptedError: builtins.InterruptedError,
        ipcq.PeerDeadError: ipcq.ClosedError,
        ipcq.EndOfStream: ipcq.StatusError,
        ipcq.LayoutError: ipcq.Error,
    }
    for kind, base in bases.items():
        assert issubclass(kind, base)
        assert issubclass(kind, ipcq.Error)
    assert not issubclass(ipcq.EndOfStream, ipcq.ClosedError)


@pytest.mark.parametrize(
    "error",
    [
        ipcq.Empty("text", ipcq.Status.EMPTY),
        ipcq.TimeoutError("text", ipcq.Status.TIMEOUT, 3),
        ipcq.InterruptedError("text", ipcq.Status.INTERRUPTED),
        ipcq.PeerDeadError("text", ipcq.Status.PEER_DEAD),
        ipcq.SystemError(28, "text"),
        ipcq.UsageError("text"),
        ipcq.PermissionError("text"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_survive_a_copy_and_a_pickle(error):
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert str(other) == str(error)
        for attribute in ("status", "done", "errno"):
            assert getattr(other, attribute, None) == getattr(error, attribute, None)
