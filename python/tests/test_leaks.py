"""Nothing grows: memory, slots, descriptors, threads and mappings."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path

import ipcq
import pytest
from conftest import eventually, group_stats, queue_stats

np = pytest.importorskip("numpy", reason="NumPy is not installed: its views are counted here")

PAGE = os.sysconf("SC_PAGE_SIZE")
BOUND = 4 << 20  # bytes; 100 000 objects of 48 bytes that stay would exceed it


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def descriptors():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - one that is listed may be gone


def threads():
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def mappings():
    return sum("ipcq" in line for line in Path("/proc/self/maps").read_text().splitlines())


def assert_does_not_grow(work, times):
    """Runs `work` some times to fill caches, and then `times`, in which memory is not to grow."""
    for _ in range(times // 10):
        work()
    gc.collect()
    before = resident()
    for _ in range(times):
        work()
    gc.collect()
    assert resident() - before < BOUND


@pytest.fixture
def ends(broker, session):
    broker.create("leaks", slots=8, slot_bytes="64KiB")
    with session.producer("leaks") as producer, session.consumer("leaks") as consumer:
        yield producer, consumer


RECEIVING = {
    "receive": lambda consumer: consumer.receive().release(),
    "with": lambda consumer: consumer.receive().__enter__().__exit__(None, None, None),
    "drop": lambda consumer: consumer.receive(),
    "receive_bytes": lambda consumer: consumer.receive_bytes(),
    "receive_records": lambda consumer: consumer.receive_records(1),
}


@pytest.mark.parametrize("receive", RECEIVING.values(), ids=RECEIVING.keys())
def test_small_messages_leave_nothing_behind(broker, ends, receive):
    producer, consumer = ends

    def work():
        for number in range(100):
            producer.send(b"%d" % number)
            receive(consumer)

    assert_does_not_grow(work, 200)  # 5 times, for 100 000 messages
    stats = group_stats(broker, queue="leaks")
    assert (stats.held, stats.waiting, stats.delivered) == (0, 0, 22_000)


def test_messages_with_views_leave_nothing_behind(broker, ends):
    producer, consumer = ends
    array = np.arange(4096, dtype=np.float64)

    def work():
        producer.send_array(array)
        with consumer.receive() as message:
            view = np.asarray(message)
            assert view[-1] == 4095
            del view
        with producer.loan(shape=(64, 64), dtype="float32") as slot:
            np.asarray(slot)[...] = 1
            slot.publish()
        kept = np.asarray(consumer.receive().detach())
        assert memoryview(kept).nbytes == 16384

    assert_does_not_grow(work, 1000)
    stats = queue_stats(broker, "leaks")
    assert (stats.empty, stats.claimed, stats.reading) == (8, 0, 0)


def test_loops_and_batches_leave_nothing_behind(broker, session, ends):
    producer, consumer = ends

    def work():
        producer.send_many([b"x" * 200] * 8)
        for message in consumer.receive_many(8):
            memoryview(message).release()
        with session.producer("q") as other, session.consumer("q") as end:
            other.send_many([b"y" * 200] * 4)
            other.close()
            assert sum(len(message) for message in end) == 800

    assert_does_not_grow(work, 200)
    assert queue_stats(broker, "leaks").empty == 8
    assert queue_stats(broker).empty == 4


def test_exceptions_leave_nothing_behind(broker, ends):
    producer, consumer = ends

    def work():
        for call in (
            lambda: consumer.receive(0),
            lambda: producer.send("text"),
            lambda: producer.send(bytes(70_000)),
            lambda: producer.send_many([b"x" * 100, "text"]),
            lambda: producer.send_array(np.zeros(2, dtype=">f8")),
            lambda: producer.loan(shape=(1 << 20,)),
            lambda: broker.create("new", slot=1),
        ):
            with pytest.raises((ipcq.Error, TypeError, ValueError)):
                call()
        producer.send(b"x" * 1000)
        with pytest.raises(KeyError), consumer.receive() as message:
            raise KeyError(np.asarray(message))
        message = consumer.receive()
        view = memoryview(message)
        with pytest.raises(BufferError):
            message.release()
        del view

    assert_does_not_grow(work, 1000)
    assert queue_stats(broker, "leaks").empty == 8


def test_event_loops_leave_nothing_behind(broker, ends):
    producer, consumer = ends

    async def main():
        for _ in range(20):
            task = asyncio.create_task(consumer.receive_async())
            await asyncio.sleep(0)
            await producer.send_async(b"x" * 200)
            (await task).release()
            with pytest.raises(ipcq.TimeoutError):
                await consumer.receive_async(timeout=0.0001)

    before = descriptors()
    assert_does_not_grow(lambda: asyncio.run(main()), 50)
    assert descriptors() <= before + 2  # the consumer's own, and its session's thread
    assert queue_stats(broker, "leaks").empty == 8


def test_payloads_are_not_kept(ends):
    producer, consumer = ends
    for payload in (bytearray(1000), np.zeros(1000), memoryview(bytes(1000))):
        before = sys.getrefcount(payload)
        producer.send(payload)
        producer.send_many([payload, payload])
        producer.send_array(payload)
        assert len(consumer.receive_many(4)) == 4
        assert sys.getrefcount(payload) == before


def test_sessions_leave_no_descriptor_thread_or_mapping_behind(broker, name):
    def work():
        with ipcq.connect(name) as session:
            producer, consumer = session.producer("q"), session.consumer("q")
            consumer.fileno()
            producer.send(b"x" * 1000)
            with consumer.receive():
                pass

    work()
    before = (descriptors(), threads(), mappings())
    for _ in range(50):
        work()
    eventually(lambda: broker.stats().clients == 0, "all have detached")
    gc.collect()
    eventually(lambda: (descriptors(), threads(), mappings()) <= before, f"as many as before: {before}")


def test_sessions_whose_views_outlive_them_leave_nothing_behind_either(broker, session, name):
    last = session.consumer("q", until_end=False)

    def work():
        session = ipcq.connect(name)
        consumer = session.consumer("q", group="other")
        with session.producer("q") as producer:
            producer.send(b"x" * 1000, timeout=10)
            view = memoryview(consumer.receive(timeout=10))
        del consumer
        session.close()
        assert last.receive_bytes(timeout=10) == b"x" * 1000
        return bytes(view[:1])

    work()
    gc.collect()
    before = (descriptors(), threads(), mappings())
    for _ in range(20):
        assert work() == b"x"
    gc.collect()
    eventually(lambda: broker.stats().clients == 1, "all have detached but the fixture's")
    eventually(lambda: (descriptors(), threads(), mappings()) <= before, f"as many as before: {before}")
    assert len(queue_stats(broker).endpoints) == 1


def test_brokers_leave_nothing_behind(name):
    def work():
        with ipcq.Broker(name) as broker:
            broker.create_pool("p", slots=4)
            broker.create("q", pool="p", handler="upper")
            broker.create("r")
            broker.remove("r")

    def left():
        return [path.name for path in Path("/dev/shm").iterdir() if name in path.name]

    work()
    before = (descriptors(), threads(), mappings())
    for _ in range(20):
        work()
    assert left() == []
    eventually(lambda: (descriptors(), threads(), mappings()) <= before, f"as many as before: {before}")
