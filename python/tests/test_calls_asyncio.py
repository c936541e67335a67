"""Calls in event loops."""

import asyncio

import ipcq
import pytest


def run(main, kind):
    if kind == "uvloop":
        uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(asyncio.wait_for(main(), 30))
    finally:
        loop.close()


@pytest.mark.parametrize("loop_kind", ["asyncio", "uvloop"])
def test_tasks_await_calls_and_serve_them(ask, loop_kind):
    client, server = ask

    async def work(request):
        if bytes(request) == b"many":
            return (bytes([i]) for i in range(3))
        if bytes(request) == b"bad":
            raise ipcq.Failure(5, "bad")
        await asyncio.sleep(0.001)
        return bytes(request).upper()

    async def main():
        task = asyncio.ensure_future(server.serve_async(work, concurrency=4))
        assert await client.call(b"one") == b"ONE"
        replies = await asyncio.gather(*[client.call_async(b"%d" % i) for i in range(40)])
        assert replies == [b"%d" % i for i in range(40)]
        assert [reply async for reply in client.call(b"many")] == [bytes([i]) for i in range(3)]
        with pytest.raises(ipcq.CallFailed) as failed:
            await client.call(b"bad")
        assert failed.value.code == 5
        calls = [client.call(b"%d" % i) for i in range(8)]
        assert [await call for call in calls] == [b"%d" % i for i in range(8)]
        server.close()
        await asyncio.wait_for(task, 10)

    run(main, loop_kind)


def test_a_stream_that_is_left_alone_holds_up_nobody(ask):
    client, server = ask

    async def work(request):
        if bytes(request) == b"stream":
            return (bytes([i]) for i in range(6))
        await asyncio.sleep(0.02)
        return b"slow"

    async def main():
        task = asyncio.ensure_future(server.serve_async(work))
        stream = client.call(b"stream")
        assert await stream == b"\0"
        assert stream.has_more
        assert await client.call(b"x") == b"slow"
        assert stream.has_more
        assert [reply async for reply in stream] == [bytes([i]) for i in range(1, 6)]
        server.close()
        await asyncio.wait_for(task, 10)

    run(main, "asyncio")


def test_an_awaited_call_ends_with_its_time_or_its_client(ask):
    client, _ = ask

    async def main():
        with pytest.raises(ipcq.Expired):
            await client.call(b"x", timeout=0.05)
        waiting = asyncio.ensure_future(client.call_async(b"x"))
        await asyncio.sleep(0.05)
        client.close()
        with pytest.raises(ipcq.StatusError):
            await asyncio.wait_for(waiting, 10)

    run(main, "asyncio")


def test_a_cancelled_task_leaves_the_others(ask):
    client, server = ask

    async def main():
        first = asyncio.ensure_future(client.call_async(b"first"))
        second = asyncio.ensure_future(client.call_async(b"second"))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0)
        task = asyncio.ensure_future(server.serve_async(echo))
        assert await asyncio.wait_for(second, 10) == b"second"
        server.close()
        await asyncio.wait_for(task, 10)

    async def echo(request):
        return bytes(request)

    run(main, "asyncio")


def test_closing_the_session_ends_what_waits(name, broker):
    broker.create("ask", slots=4, calls=4)

    async def main():
        session = ipcq.connect(name)
        client, server = session.client("ask"), session.server("ask")
        call = asyncio.ensure_future(client.call_async(b"x"))
        await asyncio.sleep(0.01)
        request = await server.receive_async()
        waiting = asyncio.ensure_future(server.receive_async())
        await asyncio.sleep(0.01)
        session.close()
        for task in (call, waiting):
            with pytest.raises(ipcq.StatusError):
                await asyncio.wait_for(task, 10)
        del request

    run(main, "asyncio")


@pytest.mark.parametrize("wait", ["spin", "hybrid", "sleep"])
def test_every_kind_of_wait_works_in_a_loop(broker, session, wait):
    broker.create("ask", slots=4, calls=4)
    broker.create("news", slots=4)

    async def main():
        with (
            session.client("ask", wait=wait) as client,
            session.server("ask", wait=wait) as server,
            session.producer("news", wait=wait) as producer,
            session.consumer("news", wait=wait) as consumer,
        ):

            async def work(request):
                producer.send(bytes(request))
                return bytes(request) * 2

            task = asyncio.ensure_future(server.serve_async(work))
            for k in range(20):
                assert await client.call(bytes([k])) == bytes([k, k])
                assert bytes(await consumer.receive_async(timeout=5)) == bytes([k])
            with pytest.raises(ipcq.TimeoutError):
                await consumer.receive_async(timeout=0.02)
            server.close()
            await asyncio.wait_for(task, 10)

    run(main, "asyncio")


def test_a_call_with_no_time_tries_once(broker, ask, run):
    client, _ = ask

    async def main():
        with pytest.raises(ipcq.Expired):  # there was room, and no time for an answer
            await client.call_async(b"x", timeout=0)

    run(main())
