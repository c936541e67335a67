"""Views of messages and loans: no copy, and what they keep alive."""

from __future__ import annotations

import gc
import threading

import ipcq
import pytest
from conftest import InThread, group_stats, queue_stats
from ipcq import _core

np = pytest.importorskip("numpy", reason="NumPy is not installed: its views are looked at here")

LONG = 1000  # bytes of a message that needs a slot


@pytest.fixture
def ends(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        yield producer, consumer


def address(buffer) -> int:
    return np.frombuffer(buffer, dtype=np.uint8).ctypes.data


@pytest.mark.parametrize("length", [8, LONG])
def test_views_are_read_only_and_no_copies(ends, length):
    producer, consumer = ends
    producer.send(b"x" * length)
    with consumer.receive(timeout=1) as message:
        view, array = memoryview(message), np.asarray(message)
        assert view.readonly
        assert not array.flags.writeable
        with pytest.raises(TypeError):
            view[0] = 1
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        assert address(view) == address(message) == array.ctypes.data == np.asarray(message).ctypes.data
        assert not array.flags.owndata
        assert (view.format, view.itemsize, view.shape, view.nbytes) == ("B", 1, (length,), length)
        assert bytes(view) == bytes(message) == array.tobytes() == b"x" * length
        del view, array


def test_two_groups_see_the_same_slot(broker, session):
    broker.create("groups", slots=1, groups=["a", "b"])
    with session.producer("groups") as producer:
        producer.send(b"x" * LONG)
        messages = [session.consumer("groups", group=group).receive(timeout=1) for group in ("a", "b")]
        assert [bytes(message) for message in messages] == [b"x" * LONG] * 2
        messages[0].release()
        assert queue_stats(broker, "groups").empty == 0
        messages[1].release()
        assert queue_stats(broker, "groups").empty == 1


@pytest.mark.parametrize("end", ["release", "nack"])
def test_a_message_with_live_views_does_not_end(broker, ends, end):
    producer, consumer = ends
    producer.send(b"x" * LONG)
    message = consumer.receive(timeout=1)
    view = memoryview(message)
    part = np.asarray(message)[10:20]
    with pytest.raises(BufferError, match=r"2 views.*detach\(\)"):
        getattr(message, end)()
    assert message.held
    del view
    with pytest.raises(BufferError, match="1 view"):
        getattr(message, end)()
    assert part.tobytes() == b"x" * 10
    del part
    getattr(message, end)()
    assert not message.held
    assert group_stats(broker).delivered == (1 if end == "release" else 0)


def test_a_with_block_refuses_to_end_under_a_live_view(broker, ends):
    producer, consumer = ends
    producer.send(b"x" * LONG)
    with pytest.raises(BufferError, match="1 view is"), consumer.receive(timeout=1) as message:
        array = np.asarray(message)
    assert message.held
    assert array.tobytes() == b"x" * LONG
    del array
    message.release()
    assert queue_stats(broker).empty == 4


def test_an_exception_gives_the_message_back(ends):
    producer, consumer = ends
    producer.send(b"x" * LONG)
    with pytest.raises(KeyError), consumer.receive(timeout=1):
        raise KeyError
    with consumer.receive(timeout=1) as again:
        assert (bytes(again), again.redeliveries) == (b"x" * LONG, 1)


def test_an_exception_gives_the_message_back_when_its_views_are_gone(ends):
    producer, consumer = ends
    producer.send(b"x" * LONG)
    with pytest.raises(KeyError) as caught, consumer.receive(timeout=1) as message:
        array = np.asarray(message)  # the traceback keeps it alive
        raise KeyError
    assert not message.held
    assert consumer.try_receive() is None
    with pytest.raises(BufferError):
        memoryview(message)
    assert array[0] == ord("x")
    del array, caught
    with consumer.receive(timeout=1) as again:
        assert again.redeliveries == 1


def test_an_exception_within_a_function_gives_the_message_back_when_its_traceback_is_gone(ends):
    producer, consumer = ends
    producer.send(b"x" * LONG)

    def work():
        with consumer.receive(timeout=1) as message:
            array = np.asarray(message)
            raise KeyError(int(array[0]))

    try:
        work()
    except KeyError as error:
        assert error.args == (ord("x"),)
        assert consumer.try_receive() is None  # error.__traceback__ has the frame, and that the array
    with consumer.receive(timeout=1) as again:
        assert again.redeliveries == 1


def test_with_leaves_a_message_alone_that_has_ended_within(ends):
    producer, consumer = ends
    for end in ("release", "nack"):
        producer.send(b"x")
        with consumer.receive(timeout=1) as message:
            getattr(message, end)()
    with consumer.receive(timeout=1) as again:
        assert again.redeliveries == 1


def test_a_detached_message_lives_as_long_as_its_array(broker, ends):
    producer, consumer = ends
    producer.send_array(np.arange(100.0))
    with consumer.receive(timeout=1) as message:
        array = np.asarray(message.detach())
    del message
    assert array.sum() == 4950
    assert group_stats(broker).held == 1
    part = array[::10]
    del array
    assert group_stats(broker).held == 1
    del part
    assert (group_stats(broker).held, queue_stats(broker).empty) == (0, 4)


def test_a_detached_message_is_released_with_its_last_view(broker, ends):
    producer, consumer = ends
    producer.send(b"x" * LONG)
    message = consumer.receive(timeout=1)
    array = np.asarray(message.detach())
    message.release()  # without effect
    assert array[0] == ord("x")
    assert group_stats(broker).held == 1
    del array
    assert not message.held  # though it has a name still
    assert group_stats(broker).held == 0


def test_a_detached_message_is_not_given_back_by_an_exception(broker, ends):
    producer, consumer = ends
    producer.send_many([b"x" * LONG] * 2)
    kept = []
    with pytest.raises(KeyError), consumer.receive(timeout=1) as message:
        kept.append(np.asarray(message.detach()))
        raise KeyError
    with pytest.raises(KeyError):
        for message in consumer:
            kept.append(np.asarray(message.detach()))
            raise KeyError
    del message
    assert group_stats(broker).held == 2
    kept.clear()
    assert (group_stats(broker).held, group_stats(broker).delivered) == (0, 2)
    assert consumer.try_receive() is None


@pytest.mark.parametrize("end", ["release", "nack"])
def test_a_message_ends_in_any_thread_while_its_consumer_waits(broker, ends, end):
    producer, consumer = ends
    producer.send(b"x" * LONG)
    message = consumer.receive(timeout=1)
    waiting = InThread(lambda: consumer.receive())
    while not waiting.is_alive():
        pass
    InThread(getattr(message, end)).result()
    if end == "release":
        assert (group_stats(broker).delivered, group_stats(broker).held) == (1, 0)
        producer.send(b"y")
    received = waiting.result()
    assert bytes(received) == (b"y" if end == "release" else b"x" * LONG)
    received.release()


def test_garbage_is_collected_in_another_thread(broker, ends):
    producer, consumer = ends
    for _ in range(3):
        producer.send(b"x" * LONG)
        cycle = [consumer.receive(timeout=1)]
        cycle.append(memoryview(cycle[0]))
        cycle.append(cycle)
        del cycle
    waiting = InThread(lambda: consumer.receive())
    gc.collect()
    InThread(gc.collect).result()
    assert group_stats(broker).delivered == 3
    producer.send(b"y")
    waiting.result().release()


def test_views_are_dropped_by_many_threads_at_once(broker, session):
    broker.create("many", slots=64, held=64)
    with session.producer("many") as producer, session.consumer("many") as consumer:
        for _ in range(10):
            producer.send_many([b"x" * LONG] * 64)
            views = [memoryview(message.detach()) for message in consumer.receive_many(64)]
            shares = [views[i::4] for i in range(4)]
            del views
            threads = [threading.Thread(target=share.clear) for share in shares]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert queue_stats(broker, "many").empty == 64
        assert group_stats(broker, queue="many").delivered == 640


@pytest.mark.parametrize("order", [("consumer", "session", "broker"), ("broker", "session", "consumer")])
@pytest.mark.parametrize("length", [8, LONG])
def test_views_outlive_everything_they_came_from(name, order, length):
    broker = ipcq.Broker(name)
    broker.create("q", slots=2)
    session = ipcq.connect(name)
    producer, consumer = session.producer("q"), session.consumer("q")
    producer.send(b"x" * length)
    message = consumer.receive(timeout=1)
    view, array = memoryview(message), np.asarray(message)
    slot = producer.loan()
    writable = np.asarray(slot)
    producer.close()
    ends = {"consumer": consumer.close, "session": session.close, "broker": broker.stop}
    for what in order:
        ends[what]()
    del broker, session, producer, consumer, message, slot, ends
    gc.collect()
    assert bytes(view) == array.tobytes() == b"x" * length
    writable[:] = 1
    assert writable.sum() == writable.size
    del view, array, writable
    gc.collect()


@pytest.mark.parametrize("length", [8, LONG])
def test_a_message_of_a_closed_consumer_is_not_held(session, length):
    with session.producer("q") as producer:
        producer.send(b"x" * length)
        consumer = session.consumer("q")
        message = consumer.receive(timeout=1)
        consumer.close()  # gives it back, so another may have it, and its slot may have another message
        with session.consumer("q") as other:
            assert other.receive_bytes(timeout=1) == b"x" * length
        producer.send(b"y" * length)
        assert not message.held
        with pytest.raises(ipcq.UsageError, match="consumer is closed"):
            message.release()
        with pytest.raises(BufferError):
            memoryview(message)


@pytest.mark.parametrize("kind", [ipcq.Message, ipcq.Loan, ipcq.Request, _core.Call])
def test_an_object_that_was_never_made_shows_nothing(kind):
    keep = [b"\xff" * n for n in range(100, 400)]
    del keep
    with pytest.raises((BufferError, TypeError)):
        memoryview(kind.__new__(kind))


@pytest.mark.parametrize("options", [{"max_version": ()}, {"max_version": 1}, {"dl_device": (1,)}, {"dl_device": "ab"}])
def test_dlpack_arguments_of_another_shape_are_refused(ends, options):
    producer, consumer = ends
    producer.send(b"x" * LONG)
    with consumer.receive(timeout=5) as message, pytest.raises(TypeError):
        message.__dlpack__(**options)
