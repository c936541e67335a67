"""Loops over a consumer: which messages are released, which are kept, and which go back."""

from __future__ import annotations

import gc

import pytest
from conftest import group_stats, queue_stats

np = pytest.importorskip("numpy", reason="NumPy is not installed: its views are kept here")

LONG = 1000  # bytes of a message that needs a slot


@pytest.fixture
def ends(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        yield producer, consumer


def test_a_loop_releases_each_message_when_the_next_is_asked_for(broker, ends):
    producer, consumer = ends
    producer.send_many([b"x" * LONG] * 3)
    producer.close()
    held = []
    for message in consumer:
        assert message.held
        held.append((group_stats(broker).held, queue_stats(broker).empty))
    assert held == [(1, 1), (1, 2), (1, 3)]
    assert not message.held
    assert queue_stats(broker).empty == 4


def test_a_view_that_outlives_its_step_keeps_its_message(broker, ends):
    producer, consumer = ends
    producer.send_many([bytes([number]) * LONG for number in range(3)])
    producer.close()
    kept = [np.asarray(message) for message in consumer]
    assert [int(array[0]) for array in kept] == [0, 1, 2]
    assert group_stats(broker).held == 3
    del kept[1]
    assert group_stats(broker).held == 2
    kept.clear()
    assert (group_stats(broker).held, queue_stats(broker).empty) == (0, 4)
    assert group_stats(broker).delivered == 3


def test_an_exception_in_a_loop_gives_the_message_back(ends):
    producer, consumer = ends
    producer.send_many([b"0" * LONG, b"1" * LONG])
    with pytest.raises(KeyError):
        for message in consumer:
            if bytes(message)[:1] == b"1":
                raise KeyError
    assert not message.held
    with consumer.receive(timeout=1) as again:
        assert (bytes(again)[:1], again.redeliveries) == (b"1", 1)


def test_an_exception_in_a_function_with_a_loop_gives_the_message_back(ends):
    producer, consumer = ends
    producer.send(b"0" * LONG)

    def work():
        for message in consumer:
            view = memoryview(message)
            raise KeyError(view[0])

    with pytest.raises(KeyError):
        work()
    gc.collect()  # pytest's traceback, and with it the view
    with consumer.receive(timeout=1) as again:
        assert again.redeliveries == 1


def test_break_keeps_the_message_as_long_as_it_has_a_name(broker, ends):
    producer, consumer = ends
    producer.send_many([b"0" * LONG, b"1" * LONG])
    for message in consumer:  # noqa: B007
        break
    assert message.held
    assert bytes(message)[:1] == b"0"
    del message
    assert (group_stats(broker).held, group_stats(broker).delivered) == (0, 1)
    assert consumer.receive_bytes()[:1] == b"1"


def test_an_exception_that_was_handled_within_a_step_changes_nothing(broker, ends):
    producer, consumer = ends
    producer.send_many([b"x"] * 3)
    producer.close()
    for _ in consumer:
        try:
            raise KeyError  # noqa: TRY301
        except KeyError:
            continue
    assert (group_stats(broker).delivered, group_stats(broker).redelivered) == (3, 0)


def test_a_message_ended_within_a_step_is_left_alone(broker, ends):
    producer, consumer = ends
    producer.send_many([b"0", b"1"])
    producer.close()
    seen = []
    for message in consumer:
        seen.append((bytes(message), message.redeliveries))
        if message.redeliveries == 0:
            message.nack()
        else:
            message.release()
    assert seen == [(b"0", 0), (b"0", 1), (b"1", 0), (b"1", 1)]
    assert group_stats(broker).delivered == 2
