"""Forwarding: a received message goes on to another queue."""

from __future__ import annotations

import ipcq
import pytest
from conftest import InThread, eventually, group_stats, queue_stats

PAYLOAD = bytes(range(250)) * 4


@pytest.fixture
def shared(broker, session):
    """Two queues that share a pool of one slot, which only a forward without a copy gets along with."""
    broker.create_pool("p", slots=1, slot_bytes=1000, metadata=16)
    broker.create("a", pool="p")
    broker.create("b", pool="p", lines=2)
    ends = [session.producer("a"), session.consumer("a"), session.producer("b"), session.consumer("b")]
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def apart(broker, session):
    """Two queues, each with a pool of its own."""
    broker.create("a", slots=2)
    broker.create("b", slots=2, lines=2)
    ends = [session.producer("a"), session.consumer("a"), session.producer("b"), session.consumer("b")]
    yield ends
    for end in ends:
        end.close()


@pytest.fixture(params=["shared", "apart"])
def ends(request):
    return request.getfixturevalue(request.param)


def test_a_message_goes_on_with_its_metadata(broker, ends):
    first, receiver, second, last = ends
    slot = first.loan()
    slot.write(PAYLOAD)
    slot.set_metadata(b"beside")
    slot.publish(1000)
    message = receiver.receive(timeout=1)
    second.forward(message, timeout=1)
    assert not message.held
    assert group_stats(broker, queue="a").delivered == 1
    with last.receive(timeout=1) as forwarded:
        assert (bytes(forwarded), forwarded.metadata) == (PAYLOAD, b"beside")
        assert forwarded.producer == second.id


def test_a_shared_pool_passes_the_slot_on(broker, shared):
    first, receiver, second, last = shared
    for _ in range(5):
        first.send(PAYLOAD, timeout=1)
        second.forward(receiver.receive(timeout=1), timeout=1)
        assert queue_stats(broker, "b").empty == 0
        assert last.receive_bytes(timeout=1) == PAYLOAD
        assert queue_stats(broker, "b").empty == 1


def test_a_message_with_live_views_is_not_forwarded(ends):
    first, receiver, second, last = ends
    first.send(PAYLOAD)
    message = receiver.receive(timeout=1)
    view = memoryview(message)
    with pytest.raises(BufferError, match=r"forward.*1 view"):
        second.forward(message)
    assert message.held
    assert last.try_receive() is None
    assert bytes(view) == PAYLOAD
    view.release()
    second.forward(message, timeout=1)
    assert last.receive_bytes(timeout=1) == PAYLOAD


def test_a_message_that_has_ended_is_not_forwarded(ends):
    first, receiver, second, _ = ends
    first.send(b"x")
    message = receiver.receive(timeout=1)
    message.release()
    with pytest.raises(ipcq.UsageError, match="not held"):
        second.forward(message)
    for other in (b"bytes", None, "text"):
        with pytest.raises(TypeError):
            second.forward(other)


def test_a_message_stays_held_where_there_is_no_room(ends):
    first, receiver, second, last = ends
    while second.try_send(b"old"):
        pass
    first.send(PAYLOAD)
    with receiver.receive(timeout=1) as message:
        with pytest.raises(ipcq.Full):
            second.forward(message, timeout=0)
        with pytest.raises(ipcq.TimeoutError):
            second.forward(message, timeout=0.05)
        assert message.held
        assert bytes(message) == PAYLOAD
        waiting = InThread(lambda: second.forward(message))
        while last.receive_bytes(timeout=1) != PAYLOAD:
            pass
        waiting.result()
        assert not message.held


def test_a_message_within_a_loop_is_forwarded(broker, ends):
    first, receiver, second, last = ends
    first.send_many([b"0", b"1"])
    first.close()
    for message in receiver:
        second.forward(message, timeout=1)
    assert [last.receive_bytes(timeout=1), last.receive_bytes(timeout=1)] == [b"0", b"1"]
    assert group_stats(broker, queue="a").delivered == 2


def test_a_waiting_forward_does_not_hold_up_other_messages(session, ends):
    first, receiver, second, last = ends
    while second.try_send(b"old"):
        pass
    for _ in range(2):
        first.send(b"short")
    message, other = receiver.receive(timeout=1), receiver.receive(timeout=1)
    waiting = InThread(lambda: second.forward(message))
    InThread(other.release).result()
    assert receiver.try_receive() is None
    assert last.receive_bytes(timeout=1) == b"old"
    waiting.result()
    assert session.connected


def test_a_detached_message_is_forwarded_as_any(broker, ends):
    first, receiver, second, last = ends
    first.send(PAYLOAD)
    message = receiver.receive(timeout=1).detach()
    second.forward(message, timeout=1)
    assert last.receive_bytes(timeout=1) == PAYLOAD
    del message
    eventually(lambda: group_stats(broker, queue="a").held == 0, "it is released in its own queue")
