"""Many messages at once, and records: many payloads in one message."""

from __future__ import annotations

import array

import ipcq
import pytest
from conftest import group_stats, queue_stats

np = pytest.importorskip("numpy", reason="NumPy is not installed: rows of its arrays are sent here")


@pytest.fixture
def ends(broker, session):
    """A producer and a consumer of a queue with room for 64 messages in slots and 1024 in lines."""
    broker.create("many")
    with session.producer("many") as producer, session.consumer("many") as consumer:
        yield producer, consumer


@pytest.fixture
def records(broker, session):
    """The same of a queue whose batches travel as records."""
    broker.create("records", slots=16, batch="records")
    with session.producer("records") as producer, session.consumer("records") as consumer:
        yield producer, consumer


def test_receive_many_takes_what_is_there_and_waits_for_no_more(ends):
    producer, consumer = ends
    for number in range(5):
        producer.send(bytes([number]))
    first = consumer.receive_many(3)
    rest = consumer.receive_many(300, timeout=1)
    assert [bytes(m)[0] for m in first + rest] == list(range(5))
    assert all(m.held for m in first + rest)
    for message in first + rest:
        message.release()


def test_receive_many_takes_256_at_most(broker, session):
    broker.create("held", held=512)
    with session.producer("held") as producer, session.consumer("held") as consumer:
        producer.send_many([b"x"] * 300)
        assert len(consumer.receive_many(300)) == 256
        assert len(consumer.receive_records(300)) == 44


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(ends, limit):
    _, consumer = ends
    for call in (consumer.receive_many, consumer.receive_records):
        with pytest.raises((ValueError, TypeError)):
            call(limit)


def test_messages_of_a_list_end_one_by_one(broker, ends):
    producer, consumer = ends
    producer.send_many([bytes([number]) * 200 for number in range(4)])
    messages = consumer.receive_many(4)
    assert group_stats(broker, queue="many").held == 4
    messages[2].nack()
    del messages[2]
    with consumer.receive(timeout=1) as again:
        assert (bytes(again)[0], again.redeliveries) == (2, 1)
    del messages[:]  # dropped messages are released
    assert group_stats(broker, queue="many").held == 0
    assert queue_stats(broker, "many").empty == 64


@pytest.mark.parametrize("length", [8, 1000])
def test_receive_records_copies_what_is_there_and_holds_nothing(broker, ends, length):
    producer, consumer = ends
    payloads = [bytes([number]) * length for number in range(10)]
    producer.send_many(payloads)
    got = consumer.receive_records(4)
    got += consumer.receive_records()
    assert got == payloads
    assert all(type(one) is bytes for one in got)
    assert group_stats(broker, queue="many").held == 0


@pytest.mark.parametrize(
    "batch",
    [
        [b"a", bytearray(b"bc"), memoryview(b"def"), b"", array.array("B", [1, 2])],
        (b"a", b"bc"),
        iter([b"a", b"bc"]),
        (bytes([number]) for number in range(100)),
        [b"x" * 2000, b"y", b"z" * 4096],
    ],
    ids=["list of any buffers", "tuple", "iterator", "generator", "short and long"],
)
def test_send_many_sends_each_element_of_an_iterable(ends, batch):
    producer, consumer = ends
    expected = batch if isinstance(batch, (list, tuple)) else (batch := list(batch))
    assert producer.send_many(iter(batch)) == len(expected)
    assert [consumer.receive_bytes(timeout=1) for _ in expected] == [bytes(one) for one in expected]


@pytest.mark.parametrize(
    "rows",
    [
        np.arange(24, dtype=np.int32).reshape(6, 4),
        np.arange(24, dtype=np.float64).reshape(2, 3, 4),
        np.arange(5, dtype=np.uint16),
        array.array("d", [1.5, 2.5, 3.5]),
        np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
    ],
    ids=["rows", "matrices", "elements", "array.array", "records"],
)
def test_send_many_sends_each_row_of_an_array(ends, rows):
    producer, consumer = ends
    assert producer.send_many(rows) == len(rows)
    assert [consumer.receive_bytes(timeout=1) for _ in rows] == [np.asarray(row).tobytes() for row in rows]


def test_send_many_of_nothing_sends_nothing(ends):
    producer, consumer = ends
    for nothing in ([], (), iter(()), np.zeros((0, 4)), array.array("i")):
        assert producer.send_many(nothing) == 0
    assert producer.send_many(np.zeros((3, 0))) == 3  # rows without elements are messages without bytes
    assert consumer.receive_records() == [b"", b"", b""]


@pytest.mark.parametrize("batch", [b"bytes", "text", 5, None, [b"x", "text"], [b"x", 5]], ids=repr)
def test_what_is_no_batch_is_refused_and_nothing_of_it_is_sent(ends, batch):
    producer, consumer = ends
    with pytest.raises(TypeError):
        producer.send_many(batch)
    assert consumer.try_receive() is None


def test_an_array_without_dimensions_has_no_rows(ends):
    producer, consumer = ends
    with pytest.raises(TypeError):
        producer.send_many(np.array(5.0))
    assert consumer.try_receive() is None


def test_rows_that_do_not_lie_one_after_the_other_are_refused(ends):
    producer, consumer = ends
    for rows in (np.zeros((4, 4))[:, :2], np.zeros((3, 4)).T):
        with pytest.raises(BufferError, match="copy"):
            producer.send_many(rows)
    assert consumer.try_receive() is None


def test_an_error_of_the_callers_iterator_is_the_callers(ends):
    producer, consumer = ends

    def payloads():
        yield b"x"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        producer.send_many(payloads())
    assert consumer.try_receive() is None


def test_an_element_that_is_too_large_ends_the_batch_before_it(ends):
    producer, consumer = ends
    with pytest.raises(ipcq.StatusError, match="after 2 of them") as caught:
        producer.send_many([b"a", b"b", bytes(4097), b"c"])
    assert (caught.value.status, caught.value.done) == (ipcq.Status.TOO_LARGE, 2)
    assert consumer.receive_records() == [b"a", b"b"]


def test_a_batch_of_records_travels_together_and_arrives_one_by_one(broker, records):
    producer, consumer = records
    payloads = [f"record {number}".encode() for number in range(1000)]
    assert producer.send_many(payloads) == 1000
    stats = queue_stats(broker, "records")
    assert (stats.batch, stats.records) == ("records", 1000)
    assert stats.published < 50
    got, places = [], []
    while (message := consumer.try_receive()) is not None:
        got.append(bytes(message))
        places.append((message.ticket, message.record))
        message.release()
    assert got == payloads
    assert places == sorted(set(places))
    assert queue_stats(broker, "records").empty == 16


@pytest.mark.parametrize("limit", [1, 7, 256])
def test_receive_records_takes_records_across_batches(records, limit):
    producer, consumer = records
    payloads = [bytes([number % 256]) * (number % 40) for number in range(600)]
    producer.send_many(payloads)
    got = []
    while len(got) < 600:
        chunk = consumer.receive_records(limit, timeout=1)
        assert 0 < len(chunk) <= limit
        got += chunk
    assert got == payloads


def test_every_receiving_call_shows_records(records):
    producer, consumer = records
    producer.send_many([bytes([number]) for number in range(8)])
    got = [consumer.receive_bytes()]
    buffer = bytearray(1)
    assert consumer.receive_into(buffer) == 1
    got.append(bytes(buffer))
    got += consumer.receive_records(2)
    messages = consumer.receive_many(2)
    got += [bytes(message) for message in messages]
    del messages
    producer.close()
    got += [bytes(message) for message in consumer]
    assert got == [bytes([number]) for number in range(8)]


def test_a_nacked_record_brings_its_batch_again(records):
    producer, consumer = records
    producer.send_many([b"0", b"1", b"2"])
    for _ in range(2):
        with consumer.receive(timeout=1):
            pass
    consumer.receive(timeout=1).nack()
    got = {}
    while (message := consumer.try_receive()) is not None:
        got[bytes(message)] = message.redeliveries
        message.release()
    assert got[b"2"] == 1
    assert set(got) <= {b"0", b"1", b"2"}


def test_views_of_records_keep_their_bytes(records):
    producer, consumer = records
    producer.send_many(np.arange(100, dtype=np.int64).reshape(100, 1))
    messages = consumer.receive_many(100)
    views = [np.frombuffer(message, dtype=np.int64) for message in messages]
    del messages
    producer.send_many(np.zeros((1000, 1), dtype=np.int64))
    assert [int(view[0]) for view in views] == list(range(100))


def test_an_array_is_no_record_and_keeps_its_shape_among_records(records):
    producer, consumer = records
    producer.send_many([b"0", b"1"])
    producer.send_array(np.eye(3))
    producer.send_many([b"2", b"3"])
    got = []
    while (message := consumer.try_receive()) is not None:
        got.append((message.shape, message.dtype))
        message.release()
    assert got == [((1,), "uint8")] * 2 + [((3, 3), "float64")] + [((1,), "uint8")] * 2
