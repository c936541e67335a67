"""How streams end, and how they do not."""

from __future__ import annotations

import gc

import ipcq
import pytest
from conftest import InThread, eventually, queue_stats

SHORT = 0.05  # seconds for which nothing is to happen


def assert_has_not_ended(consumer):
    with pytest.raises(ipcq.TimeoutError):
        consumer.receive(timeout=SHORT)


def test_the_stream_ends_when_every_producer_has_closed(session):
    first, second = session.producer("q"), session.producer("q")
    with session.consumer("q") as consumer:
        first.send(b"1")
        second.send(b"2")
        first.close()
        assert consumer.receive_bytes() == b"1"
        assert consumer.receive_bytes() == b"2"
        assert_has_not_ended(consumer)
        second.close()
        for call in (consumer.receive, consumer.try_receive, consumer.receive_bytes, consumer.receive_many):
            with pytest.raises(ipcq.EndOfStream, match="all producers are closed") as caught:
                call()
            assert caught.value.status is ipcq.Status.END


def test_a_loop_goes_on_until_the_end(session):
    with session.consumer("q") as consumer:
        with session.producer("q") as producer:
            producer.send_many([b"a", b"b", b"c"])
        assert [bytes(message) for message in consumer] == [b"a", b"b", b"c"]
        assert [bytes(message) for message in consumer] == []


def test_a_waiting_consumer_is_told_of_the_end(session):
    producer = session.producer("q")
    with session.consumer("q") as consumer:
        waiting = InThread(consumer.receive)
        producer.close()
        with pytest.raises(ipcq.EndOfStream):
            waiting.result()


def test_a_producer_that_opens_after_the_end_reopens_the_stream(session):
    session.producer("q").close()
    with session.consumer("q") as consumer:
        with pytest.raises(ipcq.EndOfStream):
            consumer.receive()
        with session.producer("q") as producer:
            producer.send(b"again")
            assert consumer.receive_bytes() == b"again"
            assert_has_not_ended(consumer)


def test_who_does_not_ask_for_the_end_waits_for_the_next_stream(session):
    session.producer("q").close()
    with session.consumer("q", until_end=False) as consumer:
        assert_has_not_ended(consumer)
        with session.producer("q") as producer:
            producer.send(b"next")
            assert consumer.receive_bytes(timeout=5) == b"next"


def test_a_consumer_waits_for_the_first_producer(session):
    with session.consumer("q") as consumer:
        assert_has_not_ended(consumer)


def test_a_producer_that_was_broken_off_has_not_ended_its_stream(broker, session):
    with session.consumer("q") as consumer:
        producer = session.producer("q")
        producer.send(b"x")
        producer.break_off()
        assert producer.closed
        assert consumer.receive_bytes() == b"x"
        assert_has_not_ended(consumer)
        assert queue_stats(broker).producers_lost == 1
        producer.close()  # it was closed before: without effect
        assert_has_not_ended(consumer)
        session.producer("q").close()  # another takes its place
        with pytest.raises(ipcq.EndOfStream):
            consumer.receive(timeout=5)


def test_end_of_stream_says_that_no_producer_will_come(broker, name, session):
    for end in (lambda: broker.end_of_stream("q"), lambda: ipcq.end_of_stream("q", broker=name)):
        with session.consumer("q") as consumer:
            session.producer("q").break_off()
            assert_has_not_ended(consumer)
            end()
            with pytest.raises(ipcq.EndOfStream):
                consumer.receive(timeout=5)


def test_a_producer_that_is_dropped_warns_and_has_not_ended_its_stream(broker, session):
    producer = session.producer("q")
    with session.consumer("q") as consumer:
        with pytest.warns(ResourceWarning, match=r"queue 'q'.*close\(\)"):
            del producer
            gc.collect()
        assert_has_not_ended(consumer)
        assert queue_stats(broker).producers_lost == 1


def test_a_producer_that_was_closed_drops_without_a_warning(session, recwarn):
    producer = session.producer("q")
    producer.close()
    del producer
    with session.producer("q"):
        pass
    broken = session.producer("q")
    broken.break_off()
    del broken
    gc.collect()
    assert not recwarn.list


def test_a_dropped_producer_does_not_hide_the_exception_that_drops_it(session):
    # The producer is a value of the expression alone, so it goes while the exception is on its way.
    with pytest.raises(TypeError, match="encode"):
        session.producer("q").send("text")


@pytest.mark.filterwarnings("error::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_warning_that_is_an_error_does_not_hide_it_either(session):
    # A destructor cannot raise: what it would is reported as unraisable, or dropped.
    with pytest.raises(TypeError, match="encode"):
        session.producer("q").send("text")


def test_a_with_block_ends_the_stream_and_an_exception_breaks_it_off(broker, session):
    with session.consumer("q") as consumer:
        with pytest.raises(KeyError), session.producer("q") as producer:
            producer.send(b"half of it")
            raise KeyError
        assert consumer.receive_bytes() == b"half of it"
        assert_has_not_ended(consumer)
        with session.producer("q"):
            pass
        with pytest.raises(ipcq.EndOfStream):
            consumer.receive(timeout=5)
    assert queue_stats(broker).producers_lost == 0


def test_a_session_that_closes_ends_its_streams_and_one_by_an_exception_does_not(session, name):
    with session.consumer("q") as consumer:
        with pytest.raises(KeyError), ipcq.connect(name) as other:
            producer = other.producer("q")
            raise KeyError
        assert producer.closed
        assert_has_not_ended(consumer)
        with ipcq.connect(name) as other:
            producer = other.producer("q")
        assert producer.closed
        with pytest.raises(ipcq.EndOfStream):
            consumer.receive(timeout=5)


def test_closed_endpoints_say_so(broker, session):
    broker.create("other")
    producer, consumer = session.producer("q"), session.consumer("q")
    for endpoint in (producer, consumer):
        assert not endpoint.closed
        assert "closed" not in repr(endpoint)
        assert endpoint.queue == "q"
        endpoint.close()
        endpoint.close()
        assert endpoint.closed
        assert "'q', closed" in repr(endpoint)
    calls = [
        lambda: producer.send(b"x"),
        lambda: producer.try_send(b"x"),
        lambda: producer.send_many([b"x"]),
        lambda: producer.send_array(memoryview(b"x")),
        lambda: producer.loan(),
        lambda: producer.loan(shape=(1,)),
        lambda: consumer.receive(),
        lambda: consumer.try_receive(),
        lambda: consumer.receive_many(),
        lambda: consumer.receive_records(),
        lambda: consumer.receive_bytes(),
        lambda: consumer.receive_into(bytearray(8)),
        lambda: next(iter(consumer)),
    ]
    for call in calls:
        with pytest.raises(ipcq.ClosedError, match="closed"):
            call()
    with pytest.raises((ipcq.UsageError, ipcq.ClosedError)):
        consumer.fileno()
    assert (producer.id, producer.max_bytes, producer.slot_bytes) == (0, 0, 0)


def test_a_closed_session_opens_nothing_more(session):
    producer = session.producer("q")
    assert session.connected
    assert repr(session) == "<ipcq.Session>"
    session.close()
    session.close()
    assert session.closed
    assert not session.connected
    assert repr(session) == "<ipcq.Session, closed>"
    assert producer.closed
    for call in (lambda: session.producer("q"), lambda: session.consumer("q"), session.interrupt, session.resume):
        with pytest.raises(ipcq.UsageError, match="connect"):
            call()


def test_what_is_not_there_is_not_found_and_the_text_names_it(broker, session):
    assert broker is not None
    for open_endpoint in (session.producer, session.consumer):
        with pytest.raises(ipcq.NotFoundError, match="nowhere"):
            open_endpoint("nowhere")
        with pytest.raises(ipcq.UsageError):
            open_endpoint("no name!")
        with pytest.raises(ipcq.UsageError, match="sleepy"):
            open_endpoint("q", wait="sleepy")
    with pytest.raises(ipcq.NotFoundError, match="nobody"):
        ipcq.connect("nobody")


@pytest.mark.parametrize("wait", ["spin", "hybrid", "sleep"])
def test_each_way_of_waiting_delivers(session, wait):
    with session.producer("q", wait=wait) as producer, session.consumer("q", wait=wait) as consumer:
        waiting = InThread(lambda: [consumer.receive_bytes() for _ in range(20)])
        for number in range(20):
            producer.send(bytes([number]) * 200)
        assert waiting.result() == [bytes([number]) * 200 for number in range(20)]


@pytest.mark.parametrize("kind", ["producer", "consumer"])
def test_an_endpoint_waits_for_its_queue_to_appear(broker, session, kind):
    for wait_for in (20.0, None):
        queue = f"late-{wait_for is None}"
        opening = InThread(lambda: getattr(session, kind)(queue, wait_for=wait_for))  # noqa: B023 - ends within
        assert opening.is_alive()
        broker.create(queue)
        opened = opening.result()
        assert opened.queue == queue
        opened.close()


def test_a_session_waits_for_its_broker_to_appear(name):
    connecting = InThread(lambda: ipcq.connect(name, wait_for=None))
    with ipcq.Broker(name) as broker:
        session = connecting.result()
        eventually(lambda: broker.stats().clients == 1, "the session is a client")
        session.close()
        eventually(lambda: broker.stats().clients == 0, "it is none any more")


def test_a_type_that_is_not_the_queues_is_refused(broker, session):
    broker.create("typed", schema="tensor")
    with session.producer("typed", schema="tensor") as producer, session.consumer("typed") as consumer:
        assert producer.schema == consumer.schema == "tensor"
        with pytest.raises(ipcq.UsageError, match="typed"):
            session.producer("typed", schema="u64")
