"""What threads, signals and ends do to each other: nothing is lost, and no view shows what is another's."""

import asyncio
import contextlib
import os
import signal
import threading
import time

import ipcq
import numpy as np
import pytest
from conftest import WAIT

LONG = 1000  # bytes, which need a slot


@pytest.fixture
def one_slot(broker, session):
    broker.create("one", slots=1, slot_bytes="64KiB")
    return session.producer("one"), session.producer("one"), session.consumer("one")


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def ended(thread):
    thread.join(WAIT)
    assert not thread.is_alive()


def test_payloads_that_a_generator_makes_live_until_they_are_sent(broker, session):
    broker.create("all", slots=0, lines=2048)
    with session.producer("all") as producer, session.consumer("all") as consumer:
        sent = [b"payload %d" % i * 3 for i in range(1000)]
        assert producer.send_many(b"payload %d" % i * 3 for i in range(1000)) == 1000
        got = []
        while len(got) < 1000:
            got += consumer.receive_records(timeout=5)
        assert got == sent


class Hit(Exception):
    pass


RECEIVES = {
    "receive": lambda c: [bytes(c.receive(timeout=5))],
    "with": lambda c: [payload_of(c)],
    "receive_bytes": lambda c: [c.receive_bytes(timeout=5)],
    "receive_records": lambda c: c.receive_records(timeout=5),
    "receive_many": lambda c: [bytes(m) for m in c.receive_many(timeout=5)],
}


def payload_of(consumer):
    with consumer.receive(timeout=5) as message:
        return bytes(message)


@pytest.mark.parametrize("receive", RECEIVES.values(), ids=RECEIVES.keys())
def test_a_signal_does_not_lose_the_message_that_comes_with_it(broker, session, receive):
    """A handler that throws does so before anybody has what the call returned."""
    broker.create("few", slots=0)
    producer, consumer = session.producer("few"), session.consumer("few")

    def hit(*_):
        raise Hit

    def send():
        for i in range(30):
            time.sleep(0.002)
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.002)
            producer.send(b"%d" % i)
        time.sleep(0.2)
        producer.close()

    before = signal.signal(signal.SIGUSR1, hit)
    got = []
    try:
        thread, ends = None, time.monotonic() + WAIT
        while time.monotonic() < ends:
            try:
                thread = thread or in_thread(send)
                while True:
                    got += [int(payload) for payload in receive(consumer)]
            except Hit:
                pass
            except ipcq.EndOfStream:
                break
    finally:
        signal.signal(signal.SIGUSR1, before)
    ended(thread)
    assert sorted(set(got)) == list(range(30))


def test_a_message_that_comes_while_its_session_closes_is_given_back(broker, name, session):
    broker.create("sessions", slots=4)
    producer = session.producer("sessions")
    for _ in range(20):
        other = ipcq.connect(name)
        consumer = other.consumer("sessions", wait="sleep")

        def receive(consumer=consumer):
            with contextlib.suppress(ipcq.Error):
                consumer.receive(timeout=1).release()

        thread = in_thread(receive)
        time.sleep(0.005)
        producer.try_send(b"x" * LONG)
        consumer.close()
        other.close()
        ended(thread)
        with session.consumer("sessions") as rest:
            while (message := rest.try_receive()) is not None:
                message.release()


def test_passing_on_beside_a_close_comes_to_an_end(broker, session):
    broker.create("a", slots=0, calls=8)
    broker.create("b", slots=0, calls=64)
    for _ in range(100):
        server, caller, onward = session.server("a"), session.client("a"), session.client("b")
        call = caller.call(b"x")
        request = server.receive(timeout=5)
        go = threading.Event()
        thread = in_thread(lambda server=server, go=go: (go.set(), server.close()))
        go.wait(WAIT)
        with contextlib.suppress(ipcq.Error):
            onward.forward(request, timeout=0)
        ended(thread)
        caller.close()
        onward.close()
        del request, call


def test_a_call_is_for_one_thread_at_a_time(ask):
    client, server = ask
    call = client.call(b"x")
    thread = in_thread(lambda: call.result(timeout=WAIT))
    time.sleep(0.05)
    with pytest.raises(ipcq.UsageError, match="another thread"):
        call.receive(timeout=1)
    with pytest.raises(ipcq.UsageError, match="another thread"):
        call.cancel()
    server.receive(timeout=5).reply(b"y")
    ended(thread)


def test_a_loan_of_a_closed_producer_is_no_more_to_be_written(one_slot):
    producer, other, consumer = one_slot
    slot = producer.loan(timeout=5)
    producer.close()
    other.send(b"A" * LONG, timeout=5)
    assert not slot.held
    with pytest.raises(BufferError):
        memoryview(slot)
    with pytest.raises(ipcq.UsageError):
        slot.write(b"EVIL")
    assert consumer.receive_bytes(timeout=5) == b"A" * LONG


def test_no_view_begins_while_a_loan_is_published(broker, session):
    broker.create("two", slots=4, lines=2, slot_bytes=4096)
    with session.producer("two") as producer, session.consumer("two") as consumer:
        slot = producer.loan(timeout=5)
        producer.send(b"a")
        producer.send(b"b")
        thread = in_thread(slot.publish, LONG)
        time.sleep(0.1)
        with pytest.raises(BufferError):
            memoryview(slot)
        with pytest.raises(ipcq.UsageError, match="another thread"):
            slot.publish()
        assert consumer.receive_bytes(timeout=5) == b"a"
        ended(thread)


def test_a_message_that_is_copied_is_not_released_meanwhile(broker, session):
    size = 64 << 20
    broker.create("large", slots=1, slot_bytes=size)
    with session.producer("large") as producer, session.consumer("large") as consumer:
        producer.loan(timeout=5).publish()
        message = consumer.receive(timeout=5)
        done = threading.Event()

        def release():
            while not done.is_set() and message.held:
                with contextlib.suppress(BufferError):
                    message.release()

        thread = in_thread(release)
        with contextlib.suppress(ipcq.UsageError):  # it was released before
            assert len(bytes(message)) == size
        done.set()
        ended(thread)


def test_a_request_does_not_end_under_a_view(broker, session):
    broker.create("one-call", slots=1, slot_bytes=4096, calls=8)
    with session.server("one-call") as server, session.client("one-call") as client:
        call = client.call(b"A" * LONG)
        with pytest.raises(BufferError, match="1 view is"), server.receive(timeout=5) as request:
            array = np.asarray(request)
        assert bytes(array[:5]) == b"AAAAA"
        del array
        request.reply(b"late")
        assert call.result(timeout=5) == b"late"
        call = client.call(b"B" * LONG)
        with pytest.raises(KeyError), server.receive(timeout=5) as request:
            array = np.asarray(request)
            raise KeyError("mine")
        assert call.try_receive() is None  # its caller is told with the last view
        assert bytes(array[:5]) == b"BBBBB"
        del array
        with pytest.raises(ipcq.CallFailed, match="mine"):
            call.result(timeout=5)


def test_an_endpoint_does_not_open_in_a_session_that_closes(name, broker):
    session = ipcq.connect(name)
    said = []

    def opens(what):
        try:
            said.append(what("later", wait_for=WAIT))
        except ipcq.UsageError as error:
            said.append(str(error))

    threads = [in_thread(opens, what) for what in (session.consumer, session.producer)]
    time.sleep(0.1)
    session.close()
    for thread in threads:
        ended(thread)
    assert all("closed" in text for text in said), said


def test_a_child_of_a_fork_touches_nothing_of_its_parent(one_slot):
    producer, _, consumer = one_slot
    producer.send(b"x" * LONG)
    message = consumer.receive(timeout=5)
    thread = in_thread(lambda: consumer.receive_bytes(timeout=5))
    time.sleep(0.05)
    pid = os.fork()
    if pid == 0:
        wrong = 0
        for action in (
            lambda: consumer.schema,
            lambda: producer.max_bytes,
            lambda: bytes(message),
            lambda: memoryview(message),
            lambda: message.release(),
            lambda: consumer.receive(),
        ):
            try:
                action()
            except (ipcq.UsageError, BufferError):
                continue
            wrong += 1
        os._exit(wrong)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    message.release()
    producer.send(b"for the thread")
    ended(thread)


def test_a_reply_that_a_cancelled_task_did_not_get_comes_again(ask):
    client, server = ask

    async def main():
        call = client.call(b"x")

        async def wait():
            return await call

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0.01)
        server.receive(timeout=5).reply(b"once")
        client._replies._serve()  # the reply is the task's now, and the task has not run
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(call._client._receive(call), 5) == b"once"

    asyncio.run(main())


def test_a_server_takes_no_more_than_it_may_hold(broker, session):
    broker.create("held", slots=0, calls=16, held=2)

    async def main():
        with session.server("held") as server, session.client("held") as client:

            async def work(request):
                await asyncio.sleep(0.005)
                return bytes(request)

            task = asyncio.ensure_future(server.serve_async(work, concurrency=16))
            replies = await asyncio.gather(*[client.call_async(b"%d" % i, timeout=WAIT) for i in range(12)])
            assert replies == [b"%d" % i for i in range(12)]
            server.close()
            await asyncio.wait_for(task, WAIT)

    asyncio.run(main())
