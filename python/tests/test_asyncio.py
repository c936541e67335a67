"""Consumers and producers in event loops."""

from __future__ import annotations

import asyncio
import builtins
import selectors
import threading
import time

import ipcq
import pytest
from conftest import WAIT, group_stats, queue_stats, some_steps


@pytest.fixture
def ends(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        yield producer, consumer


def test_an_async_loop_goes_on_until_the_end(run, broker, session):
    async def send(producer):
        for number in range(200):
            await producer.send_async(bytes([number]) * 200)
        producer.close()

    async def main():
        with session.consumer("q") as consumer:
            sending = asyncio.create_task(send(session.producer("q")))
            got = []
            async for message in consumer:
                got.append(bytes(message)[0])
                await asyncio.sleep(0)
            await sending
            assert not message.held
            return got

    assert run(main()) == list(range(200))
    assert (group_stats(broker).delivered, queue_stats(broker).empty) == (200, 4)


def test_an_exception_in_an_async_loop_gives_the_message_back(run, ends):
    producer, consumer = ends
    producer.send_many([b"0", b"1"])

    async def main():
        async for message in consumer:
            if bytes(message) == b"1":
                raise KeyError

    with pytest.raises(KeyError):
        run(main())
    with consumer.receive(timeout=1) as again:
        assert (bytes(again), again.redeliveries) == (b"1", 1)


def test_break_keeps_the_message_as_long_as_it_has_a_name(run, broker, ends):
    producer, consumer = ends
    producer.send_many([b"0", b"1"])

    async def main():
        async for message in consumer:  # noqa: B007
            break
        await some_steps()  # the loop that was left is cleaned up in these
        assert message.held
        assert bytes(message) == b"0"
        del message
        assert (group_stats(broker).delivered, group_stats(broker).held) == (1, 0)
        async for message in consumer:
            assert (bytes(message), message.redeliveries) == (b"1", 0)
            break

    run(main())


def test_receive_async_returns_raises_and_waits_as_receive_does(run, ends):
    producer, consumer = ends

    async def main():
        producer.send(b"there")
        assert bytes(await consumer.receive_async()) == b"there"
        for timeout in (0, -1):
            with pytest.raises(ipcq.Empty, match="'q'"):
                await consumer.receive_async(timeout=timeout)
        with pytest.raises(ipcq.TimeoutError, match="'q'") as caught:
            await consumer.receive_async(timeout=0.05)
        assert isinstance(caught.value, builtins.TimeoutError)
        waiting = asyncio.create_task(consumer.receive_async(timeout=WAIT))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        producer.send(b"later")
        with await waiting as message:
            assert bytes(message) == b"later"
        waiting = asyncio.create_task(consumer.receive_async())
        await some_steps()
        producer.close()
        with pytest.raises(ipcq.EndOfStream):
            await waiting
        with pytest.raises(ipcq.EndOfStream):
            await consumer.receive_async()

    run(main())


def test_a_message_from_another_thread_wakes_the_loop(run, ends):
    producer, consumer = ends

    async def main():
        threading.Timer(0.05, producer.send, (b"x",)).start()
        with await consumer.receive_async() as message:
            return bytes(message)

    assert run(main()) == b"x"


def test_tasks_of_one_consumer_are_served_in_order(run, ends):
    producer, consumer = ends
    served = []

    async def wait(number):
        with await consumer.receive_async() as message:
            served.append((number, bytes(message)[0]))

    async def main():
        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(wait(number)))
            await some_steps()
        for number in range(5):
            producer.send(bytes([number]))
        await asyncio.gather(*tasks)

    run(main())
    assert served == [(number, number) for number in range(5)]


def test_a_task_that_comes_later_does_not_overtake(run, ends):
    producer, consumer = ends

    async def main():
        first = asyncio.create_task(consumer.receive_async())
        await some_steps()
        producer.send(b"1")  # the loop has not seen it yet
        second = asyncio.create_task(consumer.receive_async())
        producer.send(b"2")
        assert bytes(await first) == b"1"
        assert bytes(await second) == b"2"

    run(main())


def test_send_async_waits_for_room_and_lets_the_loop_go_on(run, broker, session):
    broker.create("full", slots=0, lines=2)

    async def main():
        producer, consumer = session.producer("full"), session.consumer("full")
        while producer.try_send(b"old"):
            pass
        with pytest.raises(ipcq.TimeoutError):
            await producer.send_async(b"x", timeout=0.05)
        with pytest.raises(ipcq.Full):
            await producer.send_async(b"x", timeout=0)
        with pytest.raises(TypeError, match="encode"):
            await producer.send_async("text")
        sending = asyncio.create_task(producer.send_async(b"new"))
        for _ in range(5):
            await asyncio.sleep(0.01)
            assert not sending.done()
        got = []
        while not got or got[-1] != b"new":
            got.append(bytes(await consumer.receive_async(timeout=WAIT)))
        await sending
        producer.close()

    run(main())


def test_two_loops_one_after_the_other_use_one_consumer(run, ends):
    producer, consumer = ends

    async def main(number):
        task = asyncio.create_task(consumer.receive_async())
        await some_steps()
        producer.send(bytes([number]))
        assert bytes(await task) == bytes([number])
        abandoned = asyncio.create_task(consumer.receive_async())
        await some_steps()
        abandoned.cancel()
        await asyncio.gather(abandoned, return_exceptions=True)

    for number in range(3):
        run(main(number))


def test_a_loop_that_was_left_with_a_task_waiting_leaves_the_consumer_usable(run, ends):
    producer, consumer = ends

    async def leave():
        task = asyncio.create_task(consumer.receive_async())
        await some_steps()
        return task

    task = run(leave())  # its loop does not run any more
    assert not task.done()

    async def go_on():
        task.get_loop()  # of another loop
        producer.send(b"x")
        with pytest.raises(RuntimeError, match="loops"):
            await consumer.receive_async()

    run(go_on())
    task.get_loop().run_until_complete(asyncio.wait([task]))
    assert bytes(task.result()) == b"x"
    task.result().release()


class _CountingSelector(selectors.DefaultSelector):
    """Counts how often its loop has been woken."""

    def __init__(self):
        super().__init__()
        self.wakes = 0

    def select(self, timeout=None):
        events = super().select(timeout)
        self.wakes += bool(events)
        return events


def test_a_loop_is_not_woken_while_nobody_waits(ends):
    producer, consumer = ends
    selector = _CountingSelector()
    loop = asyncio.SelectorEventLoop(selector)

    async def main():
        task = asyncio.create_task(consumer.receive_async())
        await some_steps()
        producer.send(b"x")
        (await task).release()
        await asyncio.sleep(0.01)
        before = selector.wakes
        producer.send(b"there, and nobody asks for it")
        await asyncio.sleep(0.1)
        assert selector.wakes == before
        (await consumer.receive_async()).release()

    try:
        loop.run_until_complete(asyncio.wait_for(main(), WAIT))
    finally:
        loop.close()


def test_a_loop_sleeps_while_a_task_waits(ends):
    _, consumer = ends
    selector = _CountingSelector()
    loop = asyncio.SelectorEventLoop(selector)

    async def main():
        with pytest.raises(ipcq.TimeoutError):
            await consumer.receive_async(timeout=0.3)

    try:
        before = time.process_time()
        loop.run_until_complete(asyncio.wait_for(main(), WAIT))
        assert selector.wakes < 10  # one that is woken for nothing would have thousands
        assert time.process_time() - before < 0.25
    finally:
        loop.close()
