"""Tasks that wait: cancelled, timed out, and woken by an end."""

from __future__ import annotations

import asyncio
import select
import threading

import ipcq
import pytest
from conftest import WAIT, group_stats, some_steps


@pytest.fixture
def ends(session):
    with session.producer("q") as producer, session.consumer("q") as consumer:
        yield producer, consumer


@pytest.mark.parametrize("steps", range(6))
def test_cancelling_a_task_loses_no_message(run, broker, ends, steps):
    producer, consumer = ends

    async def main():
        for number in range(20):
            task = asyncio.create_task(consumer.receive_async())
            await some_steps()
            producer.send(bytes([number]))
            assert select.select([consumer.fileno()], [], [], WAIT)[0]
            for _ in range(steps):  # the message is there, or on its way to the task, or with it
                await asyncio.sleep(0)
            task.cancel()
            try:
                message = await task
            except asyncio.CancelledError:
                message = await consumer.receive_async(timeout=WAIT)
            assert bytes(message) == bytes([number])
            message.release()

    run(main())
    assert (group_stats(broker).delivered, group_stats(broker).held) == (20, 0)


def test_cancelling_one_of_many_leaves_the_others_in_order(run, ends):
    producer, consumer = ends

    async def main():
        tasks = [asyncio.create_task(consumer.receive_async()) for _ in range(4)]
        await some_steps()
        tasks[0].cancel()
        tasks[2].cancel()
        await some_steps()
        producer.send_many([b"1", b"3"])
        assert [bytes(await tasks[number]) for number in (1, 3)] == [b"1", b"3"]

    run(main())


def test_a_timeout_around_it_loses_no_message(run, ends):
    producer, consumer = ends

    async def main():
        got = []
        sending = threading.Thread(target=lambda: [producer.send(bytes([number])) for number in range(200)])
        sending.start()
        while len(got) < 200:
            try:
                message = await asyncio.wait_for(consumer.receive_async(), 0.0005)
            except asyncio.TimeoutError:
                continue
            got.append(bytes(message)[0])
            message.release()
        sending.join()
        return got

    assert run(main()) == list(range(200))


def test_a_cancelled_loop_gives_its_message_back(run, ends):
    producer, consumer = ends
    producer.send(b"x")

    async def loop():
        async for _ in consumer:
            await asyncio.sleep(WAIT)

    async def main():
        task = asyncio.create_task(loop())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with await consumer.receive_async(timeout=WAIT) as again:
            assert again.redeliveries == 1

    run(main())


def test_close_wakes_the_tasks_that_wait(run, session):
    async def main():
        consumer = session.consumer("q")
        tasks = [asyncio.create_task(consumer.receive_async()) for _ in range(3)]
        await some_steps()
        consumer.close()
        for task in tasks:
            with pytest.raises(ipcq.ClosedError):
                await asyncio.wait_for(task, WAIT / 4)
        with pytest.raises(ipcq.ClosedError):
            await consumer.receive_async()

    run(main())


@pytest.mark.parametrize("what", ["consumer", "session"])
def test_close_in_another_thread_wakes_the_tasks_that_wait(run, name, broker, what):
    assert broker is not None

    async def main():
        session = ipcq.connect(name)
        consumer = session.consumer("q")
        tasks = [asyncio.create_task(consumer.receive_async()) for _ in range(3)]
        await some_steps()
        late: list[str] = []
        timer = asyncio.get_running_loop().call_later(WAIT / 4, late.append, "a timer has woken the loop")
        threading.Timer(0.05, {"consumer": consumer, "session": session}[what].close).start()
        for task in tasks:
            with pytest.raises(ipcq.ClosedError):
                await task
        timer.cancel()
        assert not late  # a loop that is asleep is woken by close() itself, not by what happens to come next
        session.close()

    run(main())


def test_the_brokers_end_wakes_the_tasks_that_wait(run, session, broker):
    async def main():
        consumer = session.consumer("q")
        task = asyncio.create_task(consumer.receive_async())
        await some_steps()
        await asyncio.get_running_loop().run_in_executor(None, broker.stop)
        with pytest.raises(ipcq.ClosedError):
            await task

    run(main())


def test_interrupt_wakes_the_tasks_that_wait(run, session):
    async def main():
        consumer = session.consumer("q")
        with pytest.raises(ipcq.InterruptedError):
            session.interrupt()
            await consumer.receive_async(timeout=1)
        session.resume()
        with pytest.raises(ipcq.TimeoutError):
            await consumer.receive_async(timeout=0.01)

    run(main())


def test_a_send_that_was_cancelled_does_not_hold_up_the_loops_end(start):
    child = start(
        """
        import asyncio
        async def main(producer):
            while producer.try_send(b"x"): pass
            try:
                await asyncio.wait_for(producer.send_async(b"y"), 0.1)
            except asyncio.TimeoutError:
                say("timed out")
        with ipcq.Broker(name) as broker, ipcq.connect(name) as session:
            broker.create("full", slots=0, lines=2)
            producer = session.producer("full")
            asyncio.run(main(producer))
            say("ended")
        """
    )
    assert child.line() == "timed out"
    assert child.line() == "ended"  # the thread that waits for room has given up
    child.finish()
