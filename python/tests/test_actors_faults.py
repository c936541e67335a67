"""Faults of handlers in event loops, streams that nobody reads, ends of runtimes: each harms its own actor alone."""

import asyncio
import threading
import time

import ipcq
import pytest
from conftest import WAIT, InThread, eventually
from ipcq.actors import FailureCode

State = ipcq.ActorState
IN_LOOPS = pytest.mark.parametrize("tier", ["async", "thread"])


@ipcq.actor(tier="async")
async def good(message):
    return message


class Odd(BaseException):
    """No Exception."""


@ipcq.actor()
async def exits(message):
    """Raises what the message says: by itself, or in a task that it awaits."""

    async def inner():
        raise {b"k": KeyboardInterrupt, b"e": SystemExit, b"o": Odd}[message[:1]]()

    if message == b"c":
        raise asyncio.CancelledError
    if message.endswith(b"t"):
        await asyncio.create_task(inner())
    elif message != b"fine":
        await inner()
    return message


def test_a_runtime_with_async_actors_ends_within_an_event_loop(name):
    async def main(broker):
        with ipcq.ActorRuntime(broker) as runtime:
            ref = runtime.launch(good, "good")
            assert await ref.ask_async(b"x", WAIT) == b"x"

    with ipcq.Broker(name) as broker:
        asyncio.run(main(broker))
        assert not [thread.name for thread in threading.enumerate() if thread.name == "ipcq-actors"]


def test_a_step_of_the_end_that_fails_leaves_none_of_the_others_out(name, monkeypatch):
    monkeypatch.setenv("IPCQ_BROKER", name)
    runtime = ipcq.ActorRuntime()
    runtime.launch(good, "good")

    def fails():
        raise RuntimeError("cannot end")

    loop = runtime._loop.close
    monkeypatch.setattr(runtime._loop, "close", fails)
    with pytest.raises(RuntimeError, match="cannot end"):
        runtime.close()
    loop()
    with ipcq.Broker(name):
        pass  # the name is free, so the runtime's own broker has stopped


@IN_LOOPS
@pytest.mark.parametrize("message", [b"k", b"kt", b"e", b"et", b"o", b"ot"])
def test_a_coroutine_that_exits_ends_its_worker_and_nothing_else(runtime, tier, message):
    other = runtime.launch(good, "good")
    ref = runtime.launch(exits, "a", tier=tier)
    with pytest.raises(ipcq.ServerDied):
        ref.ask(message, timeout=WAIT)
    assert other.ask(b"hello", timeout=WAIT) == b"hello"
    assert ref.ask(b"fine", timeout=WAIT) == b"fine"
    seen = runtime.telemetry("a")
    assert (seen.lost, seen.in_flight, seen.restarts) == (1, 0, 1)
    assert runtime.telemetry("good").restarts == 0


@IN_LOOPS
def test_with_redelivery_a_message_whose_coroutine_exits_is_worked_on_again(runtime, tier):
    left = [SystemExit()]

    @ipcq.actor()
    async def once(message):
        if left:
            raise left.pop()
        return message

    assert runtime.launch(once, "a", tier=tier, on_death="redeliver").ask(b"x", timeout=WAIT) == b"x"


@ipcq.actor()
def cancels(message):
    raise asyncio.CancelledError


@pytest.mark.parametrize(("actor", "tier"), [(exits, "async"), (exits, "thread"), (cancels, "thread")])
def test_a_cancellation_of_the_handlers_own_fails_its_message_and_is_no_termination(runtime, actor, tier):
    ref = runtime.launch(actor, "a", tier=tier)
    with pytest.raises(ipcq.CallFailed, match="CancelledError") as caught:
        ref.ask(b"c", timeout=WAIT)
    assert caught.value.code == 1
    assert (runtime.telemetry("a").failed, runtime.telemetry("a").restarts) == (1, 0)


@ipcq.actor(on_error="restart", concurrency=32)
class Guarded:
    """Says of each message that its object is one that has started and not stopped, and alone."""

    alive = 0

    def __init__(self):
        self.ready = False

    async def on_start(self):
        await asyncio.sleep(0.1)
        Guarded.alive += 1
        self.ready = Guarded.alive == 1

    async def on_message(self, message):
        if message == b"bad":
            await asyncio.sleep(0.02)
            raise ValueError("bad")
        before = self.ready
        await asyncio.sleep(0.05)
        return b"%d" % (before and self.ready)

    async def on_stop(self):
        self.ready = False
        await asyncio.sleep(0.1)
        Guarded.alive -= 1


@IN_LOOPS
def test_no_message_runs_on_an_object_that_is_stopped_or_not_started(runtime, tier):
    Guarded.alive = 0
    ref = runtime.launch(Guarded, "a", tier=tier)

    async def main():
        asked = [asyncio.ensure_future(ref.ask_async(b"bad", WAIT))]
        for _ in range(20):
            asked.append(asyncio.ensure_future(ref.ask_async(b"x", WAIT)))
            await asyncio.sleep(0.02)
        return await asyncio.gather(*asked, return_exceptions=True)

    first, *others = asyncio.run(main())
    assert isinstance(first, ipcq.CallFailed)
    assert others == [b"1"] * 20
    assert runtime.telemetry("a").restarts == 1


def test_one_fault_with_many_messages_in_work_is_one_restart(runtime):
    broken = threading.Event()

    @ipcq.actor(tier="async", on_error="restart", max_restarts=1)
    class Connection:
        async def on_message(self, message):
            await asyncio.sleep(0.1)
            if broken.is_set():
                raise ConnectionError("lost")
            return message

    ref = runtime.launch(Connection, "a")

    async def main():
        asked = [asyncio.ensure_future(ref.ask_async(b"x", WAIT)) for _ in range(30)]
        while runtime.telemetry("a").in_flight < 30:
            await asyncio.sleep(0.001)
        broken.set()
        done = await asyncio.gather(*asked, return_exceptions=True)
        broken.clear()
        return done, await ref.ask_async(b"y", WAIT)

    done, after = asyncio.run(main())
    assert all(isinstance(one, ipcq.CallFailed) for one in done)
    assert after == b"y"
    assert (runtime.state("a"), runtime.telemetry("a").restarts) == (State.ACTIVE, 1)


def test_an_actor_that_is_making_its_object_anew_can_be_terminated(runtime):
    @ipcq.actor(tier="async", on_error="restart")
    async def waits(message):
        if message == b"bad":
            raise ValueError
        await asyncio.sleep(60)

    class Waits:
        async def on_message(self, message):
            return await waits(message)

    ref = runtime.launch(ipcq.actor(tier="async", on_error="restart")(Waits), "a")
    asked = InThread(lambda: ref.ask(b"", timeout=WAIT))
    eventually(lambda: runtime.telemetry("a").in_flight == 1, "it works")
    with pytest.raises(ipcq.CallFailed):
        ref.ask(b"bad", timeout=WAIT)
    runtime.terminate("a", drain=0, stop=0.5)
    with pytest.raises(ipcq.CallFailed, match="terminated while"):
        asked.result()


@ipcq.actor(tier="async", queue_size=4, reply_timeout=60)
async def endless(message):
    while True:
        yield b"x"


@ipcq.actor(tier="async")
async def two(message):
    yield b"a"
    yield b"b"
    if message:
        raise ValueError("after two")


def test_streams_that_nobody_reads_hold_up_no_other_stream(runtime):
    slow, other = runtime.launch(endless, "endless"), runtime.launch(two, "two")

    async def main():
        unread = [slow.stream_async(b"") for _ in range(40)]
        for stream in unread:
            await anext(stream)
        eventually(lambda: runtime.telemetry("endless").in_flight == 40, "all are under way")
        assert [one async for one in other.stream_async(b"", timeout=WAIT)] == [b"a", b"b"]
        with pytest.raises(ipcq.CallFailed, match="after two"):
            async for _ in other.stream_async(b"fail", timeout=WAIT):
                await asyncio.sleep(0.05)
        for stream in unread:
            await stream.aclose()

    asyncio.run(main())
    eventually(lambda: runtime.telemetry("endless").in_flight == 0, "they are cancelled")


def test_a_stream_that_nobody_reads_fails_after_its_reply_timeout(runtime):
    ref = runtime.launch(endless, "a", reply_timeout=0.2)
    stream = ref.stream(b"")
    assert next(stream) == b"x"
    eventually(lambda: runtime.telemetry("a").failed == 1, "it has failed")
    stream.close()


@pytest.mark.parametrize("tier", ["async", "thread"])
def test_coroutines_have_the_time_that_terminate_gives_them(runtime, tier, monkeypatch):
    @ipcq.actor()
    async def slow(message):
        await asyncio.sleep(1.0)
        return message

    monkeypatch.setattr("ipcq.actors._work.LAST_WORK", 0.1)
    ref = runtime.launch(slow, "a", tier=tier)
    asked = InThread(lambda: ref.ask(b"x", timeout=WAIT))
    eventually(lambda: runtime.telemetry("a").in_flight == 1, "it works")
    runtime.terminate("a", drain=0, stop=WAIT)
    assert asked.result() == b"x"


def test_what_was_in_work_when_an_actor_failed_says_so(runtime):
    @ipcq.actor(tier="async", on_error="stop")
    async def stops(message):
        await asyncio.sleep(0 if message else 60)
        raise ValueError("no")

    ref = runtime.launch(stops, "a")
    asked = InThread(lambda: ref.ask(b"", timeout=WAIT))
    eventually(lambda: runtime.telemetry("a").in_flight == 1, "it works")
    with pytest.raises(ipcq.CallFailed):
        ref.ask(b"x", timeout=WAIT)
    with pytest.raises(ipcq.CallFailed, match="failed while it worked") as caught:
        asked.result()
    assert caught.value.code == FailureCode.ACTOR_FAILED


def test_a_handler_that_would_wait_for_its_own_end_is_refused(runtime):
    @ipcq.actor()
    def ends(message):
        getattr(runtime, message.decode())(*["a"] * (message == b"terminate"))

    for tier in ("thread", "async"):
        ref = runtime.launch(ends, "a", tier=tier)
        for call in (b"terminate", b"close"):
            begun = time.monotonic()
            with pytest.raises(ipcq.CallFailed, match="would wait for itself"):
                ref.ask(call, timeout=WAIT)
            assert time.monotonic() - begun < WAIT / 2
        assert runtime.state("a") is State.ACTIVE
        runtime.terminate("a")


def test_a_function_that_returns_an_awaitable_is_told_to_be_a_coroutine_function(runtime):
    @ipcq.actor()
    def wrapped(message):
        return good(message)

    with pytest.raises(ipcq.CallFailed, match="async def.*tier='async'"):
        runtime.launch(wrapped, "a").ask(b"", timeout=WAIT)
    assert runtime.launch(wrapped, "b", tier="async").ask(b"x", timeout=WAIT) == b"x"
