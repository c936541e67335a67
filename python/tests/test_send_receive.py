"""One message at a time: what can be sent, what arrives, and to whom."""

from __future__ import annotations

import array
import ctypes
import mmap
import time

import ipcq
import pytest
from conftest import group_stats, queue_stats

np = pytest.importorskip("numpy", reason="NumPy is not installed: its arrays are sent as bytes here")


class _Bytes(bytes):
    pass


def _mapped() -> mmap.mmap:
    mapped = mmap.mmap(-1, 16)
    mapped[:] = bytes(range(16))
    return mapped


BUFFERS = {
    "bytes": b"abc",
    "a subclass of bytes": _Bytes(b"abc"),
    "bytearray": bytearray(b"abc"),
    "memoryview": memoryview(b"abc"),
    "a part of a memoryview": memoryview(bytearray(b"abcdef"))[2:5],
    "array of ints": array.array("i", [1, -2, 3]),
    "array of doubles": array.array("d", [1.5, -2.5]),
    "NumPy array": np.arange(12, dtype=np.int16).reshape(3, 4),
    "NumPy scalar": np.float64(1.5),
    "NumPy records": np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
    "ctypes array": (ctypes.c_uint32 * 3)(1, 2, 3),
    "mapped memory": _mapped(),
}


@pytest.mark.parametrize("payload", BUFFERS.values(), ids=BUFFERS.keys())
def test_what_has_a_buffer_arrives_as_its_bytes(session, payload):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(payload)
        with consumer.receive(timeout=1) as message:
            assert bytes(message) == message.tobytes() == bytes(memoryview(payload).cast("B"))
            assert len(message) == message.nbytes == memoryview(payload).nbytes


def test_text_is_refused_and_the_error_says_what_to_do(session):
    with session.producer("q") as producer:
        for call in (producer.send, producer.try_send):
            with pytest.raises(TypeError, match="encode"):
                call("text")


@pytest.mark.parametrize("payload", [None, 1, 1.5, [1, 2], {}, object()], ids=repr)
def test_what_has_no_buffer_is_refused(session, payload):
    with session.producer("q") as producer, pytest.raises(TypeError):
        producer.send(payload)


@pytest.mark.parametrize(
    "payload",
    [memoryview(b"abcdef")[::2], np.zeros((4, 4))[:, 1], np.zeros((2, 3)).T],
    ids=["every second byte", "a column", "transposed"],
)
def test_elements_that_do_not_lie_one_after_the_other_are_refused(session, payload):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        with pytest.raises(BufferError, match="copy"):
            producer.send(payload)
        assert consumer.try_receive() is None


def test_a_buffer_is_free_again_when_send_has_returned(session):
    data = bytearray(b"abc")
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(data)
        data[:] = b"longer than before"  # BufferError while a view of it is alive
        with pytest.raises(ipcq.StatusError):
            producer.send(bytearray(5000))
        assert consumer.receive_bytes() == b"abc"


def test_a_message_without_bytes_is_a_message(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(b"")
        with producer.loan() as slot:
            slot.publish(0)
        for _ in range(2):
            with consumer.receive(timeout=1) as message:
                assert (len(message), bytes(message), message.shape) == (0, b"", (0,))
                assert memoryview(message).nbytes == 0
                assert np.asarray(message).shape == (0,)


@pytest.mark.parametrize("length", [1, 95, 96, 97, 4095, 4096])
def test_short_messages_need_no_slot_and_long_ones_have_the_time(broker, session, length):
    payload = bytes(i % 251 for i in range(length))
    with session.producer("q") as producer, session.consumer("q") as consumer:
        assert (producer.inline_bytes, producer.slot_bytes, producer.max_bytes) == (96, 4096, 4096)
        before = time.monotonic_ns()
        producer.send(payload)
        with consumer.receive(timeout=1) as message:
            assert bytes(message) == payload
            if length <= producer.inline_bytes:
                assert message.published_at_ns == 0
                assert queue_stats(broker).empty == 4
            else:
                assert before <= message.published_at_ns <= time.monotonic_ns()
                assert queue_stats(broker).empty == 3
        assert queue_stats(broker).empty == 4


def test_a_message_that_is_too_large_is_refused_and_the_next_is_not(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        for call in (producer.send, producer.try_send):
            with pytest.raises(ipcq.StatusError, match="max_bytes") as caught:
                call(bytes(4097))
            assert caught.value.status is ipcq.Status.TOO_LARGE
        producer.send(bytes(4096))
        assert consumer.receive_bytes() == bytes(4096)


def test_a_queue_without_slots_takes_what_fits_into_its_lines(broker, session):
    broker.create("lines", slots=0, line=1088)
    with session.producer("lines") as producer, session.consumer("lines") as consumer:
        assert (producer.max_bytes, producer.slot_bytes) == (1056, 0)
        producer.send(b"x" * 1056)
        assert consumer.receive_bytes() == b"x" * 1056
        with pytest.raises(ipcq.StatusError) as caught:
            producer.loan()
        assert caught.value.status is ipcq.Status.TOO_LARGE


def test_messages_say_whose_they_are_and_which(session):
    with session.producer("q") as first, session.producer("q") as second, session.consumer("q") as consumer:
        for producer in (first, second, first):
            producer.send(b"x")
        messages = consumer.receive_many(3)
        assert [m.producer for m in messages] == [first.id, second.id, first.id]
        assert [m.sequence for m in messages] == [0, 0, 1]
        assert [m.ticket - messages[0].ticket for m in messages] == [0, 1, 2]
        assert {m.redeliveries for m in messages} == {m.record for m in messages} == {0}
        assert all(m.processed and not m.failed and m.failure == 0 for m in messages)
        assert "ticket" in repr(messages[0])
        assert "'q'" in repr(messages[0])


def test_a_nacked_message_comes_again_before_newer_ones(broker, session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        for payload in (b"first", b"second"):
            producer.send(payload)
        message = consumer.receive(timeout=1)
        message.nack()
        assert not message.held
        assert "not held" in repr(message)
        with consumer.receive(timeout=1) as again:
            assert (bytes(again), again.redeliveries) == (b"first", 1)
        assert consumer.receive_bytes() == b"second"
        assert group_stats(broker).redelivered == 1


def test_what_has_ended_is_not_held_and_says_so(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(b"x")
        message = consumer.receive(timeout=1)
        assert message.held
        message.release()
        assert (message.held, message.nbytes) == (False, 0)
        for call in (message.release, message.nack, message.detach, message.tobytes, message.__enter__):
            with pytest.raises(ipcq.UsageError, match="not held"):
                call()
        for attribute in ("shape", "dtype", "metadata"):
            with pytest.raises(ipcq.UsageError, match="not held"):
                getattr(message, attribute)
        with pytest.raises(BufferError, match="not held"):
            memoryview(message)


def test_each_group_gets_every_message_and_its_members_share_them(broker, session):
    broker.create("groups", groups=["a", "b"])
    with session.producer("groups") as producer:
        first, second = session.consumer("groups", group="a"), session.consumer("groups", group="a")
        other = session.consumer("groups", group="b")
        for payload in (b"0", b"1", b"2"):
            producer.send(payload)
        assert [first.receive_bytes(), second.receive_bytes(), first.receive_bytes()] == [b"0", b"1", b"2"]
        assert [other.receive_bytes() for _ in range(3)] == [b"0", b"1", b"2"]


def test_an_ephemeral_group_gets_what_comes_from_now_on(session):
    with session.producer("q") as producer:
        producer.send(b"before")
        with session.consumer("q", group="preview") as consumer:
            producer.send(b"after")
            assert consumer.receive_bytes() == b"after"
            assert consumer.try_receive() is None


def test_a_lossy_group_loses_its_oldest_messages_and_holds_nobody_up(broker, session):
    broker.create("preview", slots=0, lines=4, groups=[ipcq.Group("preview", policy="lossy")])
    with session.producer("preview") as producer, session.consumer("preview", group="preview") as consumer:
        for number in range(20):
            producer.send(bytes([number]), timeout=1)
        got = []
        while (message := consumer.try_receive()) is not None:
            got.append(bytes(message)[0])
            message.release()
        assert got == list(range(20 - len(got), 20))
        assert group_stats(broker, "preview", "preview").dropped == 20 - len(got) > 0


def test_who_asks_for_lossy_in_a_group_that_is_not_is_refused(session):
    with pytest.raises(ipcq.UsageError, match="lossy"):
        session.consumer("q", lossy=True)
    with session.consumer("q", group="preview", lossy=True):
        pass


@pytest.mark.parametrize("length", [0, 96, 2048, 2049, 4096])
def test_receive_bytes_returns_small_and_large_messages_and_holds_none(broker, session, length):
    payload = bytes(i % 253 for i in range(length))
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(payload)
        got = consumer.receive_bytes(timeout=1)
        assert type(got) is bytes
        assert got == payload
        stats = group_stats(broker)
        assert (stats.held, stats.waiting, stats.delivered, queue_stats(broker).empty) == (0, 0, 1, 4)


@pytest.mark.parametrize(
    "buffer",
    [bytearray(200), memoryview(bytearray(200)), np.zeros(25, dtype=np.float64), array.array("B", bytes(200))],
    ids=["bytearray", "memoryview", "NumPy", "array"],
)
def test_receive_into_fills_the_beginning_of_a_buffer(session, buffer):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        for payload in (b"short", bytes(range(150))):
            producer.send(payload)
            assert consumer.receive_into(buffer, timeout=1) == len(payload)
            assert bytes(memoryview(buffer).cast("B"))[: len(payload)] == payload


def test_receive_into_refuses_what_it_cannot_write(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(b"x")
        for buffer in (b"read-only", memoryview(b"read-only"), memoryview(bytearray(8))[::2]):
            with pytest.raises(BufferError):
                consumer.receive_into(buffer)
        with pytest.raises(TypeError):
            consumer.receive_into("text")
        assert consumer.receive_bytes() == b"x"


@pytest.mark.parametrize("length", [5, 4000])
def test_a_message_that_exceeds_the_buffer_is_the_next_as_before(session, length):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        producer.send(b"x" * length)
        with pytest.raises(ipcq.StatusError) as caught:
            consumer.receive_into(bytearray(4), timeout=1)
        assert caught.value.status is ipcq.Status.TOO_LARGE
        assert consumer.receive_bytes(timeout=1) == b"x" * length


def test_a_consumer_that_holds_all_it_may_is_told_so(broker, session):
    broker.create("few", held=2)
    with session.producer("few") as producer, session.consumer("few") as consumer:
        for _ in range(3):
            producer.send(b"x")
        first = consumer.receive()
        second = consumer.receive()
        with pytest.raises(ipcq.Full, match="held"):
            consumer.receive(timeout=1)
        first.release()
        consumer.receive(timeout=1).release()
        second.release()


def test_a_handler_works_on_every_message_and_says_which_it_refused(broker, session):
    assert "invert" in ipcq.handler_names()
    broker.create("inverted", slots=4, handler="invert")
    with session.producer("inverted") as producer, session.consumer("inverted") as consumer:
        for length in (3, 1000):
            producer.send(bytes(length))
            with consumer.receive(timeout=5) as message:
                assert bytes(message) == b"\xff" * length
                assert message.processed
    broker.create("vectors", slots=4, handler="vector_add")
    with session.producer("vectors") as producer, session.consumer("vectors") as consumer:
        producer.send(b"odd")
        with consumer.receive(timeout=5) as message:
            assert bytes(message) == b"odd"
            assert not message.processed
            assert not message.failed
