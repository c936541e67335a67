"""What references do where actors end, brokers go, queues are full and messages too long."""

import asyncio
import threading
import time
from pathlib import Path

import actor_samples as samples
import ipcq
import numpy as np
import pytest
from conftest import WAIT, InThread, eventually, some_steps
from ipcq.actors import _codecs, _links, _tells


class Gate:
    """An actor whose messages wait, all at once, until the test opens it."""

    def __init__(self):
        self.opened = threading.Event()

        @ipcq.actor(concurrency=64)
        async def waits(message):
            while not self.opened.is_set():
                await asyncio.sleep(0.005)
            if message == b"fail":
                raise RuntimeError("asked to fail")
            return message

        self.actor = waits


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


def in_work(runtime, count, name="a"):
    eventually(lambda: runtime.telemetry(name).in_flight == count, f"{count} messages in work")


def terminating(runtime, gate, name="a"):
    """Ends the actor in a thread, which waits for what is in work; returns once it takes nothing more."""
    ends = InThread(lambda: runtime.terminate(name, drain=WAIT))
    queue = lambda: next(one for one in ipcq.stats(runtime.broker).queues if one.name == name)  # noqa: E731
    eventually(lambda: queue().state == "draining", "it takes nothing more")
    assert not gate.opened.is_set()
    return ends


# An actor that ends


def test_a_late_ask_leaves_the_answers_of_those_before_it(runtime, gate, run):
    ref = runtime.launch(gate.actor, "a")

    async def main():
        before = [asyncio.ensure_future(ref.ask_async(b"%d" % i, timeout=WAIT)) for i in range(10)]
        await asyncio.to_thread(in_work, runtime, 10)
        ends = await asyncio.to_thread(terminating, runtime, gate)
        for _ in range(3):
            with pytest.raises(ipcq.ClosedError, match="'a'.*terminated"):
                await ref.ask_async(b"late", timeout=WAIT)
        gate.opened.set()
        assert await asyncio.gather(*before) == [b"%d" % i for i in range(10)]
        assert await asyncio.to_thread(ends.result) == 0

    run(main())
    assert not _links._here().retired, "the last answer has closed the client"


def test_a_late_ask_in_one_thread_leaves_the_answers_of_another(runtime, gate):
    ref = runtime.launch(gate.actor, "a")
    before = InThread(lambda: ref.ask(b"x", timeout=WAIT))
    in_work(runtime, 1)
    ends = terminating(runtime, gate)
    with pytest.raises(ipcq.ClosedError, match="terminated"):
        ref.ask(b"late", timeout=WAIT)
    gate.opened.set()
    assert before.result() == b"x"
    ends.result()


def test_a_late_tell_leaves_what_was_told_before_it(runtime, gate):
    ref = runtime.launch(gate.actor, "a")
    for i in range(10):
        ref.tell(b"fail" if i == 0 else b"x")
    in_work(runtime, 10)
    ends = terminating(runtime, gate)
    late = [InThread(lambda: ref.tell(b"late")) for _ in range(3)]
    for one in late:
        with pytest.raises(ipcq.ClosedError, match="terminated"):
            one.result()
    gate.opened.set()
    ends.result()
    assert ref.flush(WAIT) == 1, "the one that has failed"
    assert runtime.telemetry("a").cancelled == 0


def test_flush_waits_for_what_was_told_to_the_actor_before_and_to_the_one_after(runtime, gate):
    ref = runtime.launch(gate.actor, "a")
    ref.tell(b"fail")
    in_work(runtime, 1)
    teller = _tells._known[ref._to].current
    teller.retire()  # as after an error that says that its actor takes nothing more
    ref.tell(b"fail")
    assert _tells._known[ref._to].current is not teller
    with pytest.raises(ipcq.TimeoutError, match="flush"):
        ref.flush(0.05)
    gate.opened.set()
    assert ref.flush(WAIT) == 2


def test_a_message_that_is_told_while_its_client_goes_is_counted_and_telling_goes_on(runtime, monkeypatch, caplog):
    ref = runtime.launch(samples.echo, "a", activate=False)
    ref.tell(b"waits")
    send = _codecs.Codec.send

    def send_and_lose(self, client, value, timeout, waits):
        call = send(self, client, value, timeout, waits)
        monkeypatch.setattr(_codecs.Codec, "send", send)
        _links.drop_session(ref.broker)
        eventually(lambda: "1 messages that it was told have failed" in caplog.text, "the client has gone")
        return call

    monkeypatch.setattr(_codecs.Codec, "send", send_and_lose)
    ref.tell(b"lost")
    assert ref.flush(2) == 2
    runtime.activate("a")
    ref.tell(b"x", timeout=WAIT)
    assert ref.flush(WAIT) == 0
    assert ref.ask(b"y", timeout=WAIT) == b"y"


def test_telling_goes_on_after_actors_that_end_while_threads_tell(runtime):
    ref = runtime.launch(samples.echo, "a")
    over = threading.Event()

    def tells():
        while not over.is_set():
            try:
                ref.tell(b"x", timeout=WAIT)
            except (ipcq.ClosedError, ipcq.NotFoundError, ipcq.NoServer):  # it ends, is not there, is being launched
                time.sleep(0.001)

    tellers = [InThread(tells) for _ in range(3)]
    for _ in range(15):
        time.sleep(0.01)
        runtime.terminate("a", drain=0, stop=0.5)
        ref = runtime.launch(samples.echo, "a")
    over.set()
    for one in tellers:
        one.result()
    ref.flush(WAIT)
    ref.tell(b"x", timeout=WAIT)
    assert ref.flush(WAIT) == 0


def test_a_queue_whose_actor_is_just_being_removed_is_closed_and_not_without_a_runtime(broker, name, session):
    broker.create("a", slots=4, slot_bytes=256, calls=4)
    ref = ipcq.actor_ref("a", broker=name)
    with session.server("a") as server:
        asks = InThread(lambda: ref.ask(b"x", timeout=WAIT))
        server.receive(WAIT).reply(b"y")
        assert asks.result() == b"y"
        ipcq.drain("a", 0.0, broker=name)
    for call in (ref.ask, ref.tell, lambda message: list(ref.stream(message))):
        with pytest.raises(ipcq.ClosedError, match="'a'.*being terminated"):
            call(b"x")
    broker.create("b", slots=4, slot_bytes=256, calls=4)
    with pytest.raises(ipcq.NoServer):
        ipcq.actor_ref("b", broker=name).ask(b"x")


# A broker that ends


def test_references_go_on_with_the_successor_of_a_broker_that_was_stopped(name):
    for word in (b"one", b"two", b"three"):
        with ipcq.Broker(name) as broker, ipcq.ActorRuntime(broker) as runtime:
            runtime.launch(samples.echo, "a")
            ref = ipcq.actor_ref("a", broker=name)
            ref.tell(word)
            assert ref.flush(WAIT) == 0
            assert ref.ask(word, timeout=WAIT) == word
    with pytest.raises(ipcq.NotFoundError):
        ref.ask(b"x")
    assert name not in _links._here().sessions


def test_an_error_of_a_client_that_has_gone_leaves_its_successor(name, gate, run):
    ref = ipcq.actor_ref("a", broker=name)

    async def main():
        with ipcq.Broker(name) as broker:
            session = ipcq.connect(name)
            broker.create("a", slots=4, slot_bytes=256, calls=4)
            with session.server("a"):  # it takes nothing
                old = asyncio.ensure_future(ref.ask_async(b"old", timeout=WAIT))
                await some_steps()
                broker.stop()
        assert not old.done(), "its outcome is there, and it has not run since"
        with ipcq.Broker(name) as broker, ipcq.ActorRuntime(broker) as runtime:
            runtime.launch(samples.echo, "a")
            new = asyncio.ensure_future(ref.ask_async(b"new", timeout=WAIT))
            with pytest.raises((ipcq.ClosedError, ipcq.NoServer)):
                await old
            mine = _links.link(ref._to)
            assert await new == b"new"
            assert await ref.ask_async(b"x", timeout=WAIT) == b"x"
            assert _links.link(ref._to) is mine, "one client has done for both"

    run(main())


# What is kept


def test_clients_of_actors_that_have_ended_go_when_another_is_asked(runtime, monkeypatch):
    monkeypatch.setattr(_tells, "_IDLE", 0.05)
    kept = threading.Event(), threading.Event()

    def asks_once(ref):
        ref.ask(b"", timeout=WAIT)
        kept[0].set()
        kept[1].wait(WAIT)  # the thread lives on, and asks no more

    runtime.launch(samples.echo, "first")
    thread = InThread(lambda: asks_once(runtime.launch(samples.echo, "of-a-thread")))
    assert kept[0].wait(WAIT)
    runtime.terminate("of-a-thread")

    def mapped():
        return sum("ipcq+" in line for line in Path("/proc/self/maps").read_text().splitlines())

    def clients():
        return {to.name for thread in _links._here().threads for to in thread.links if to.broker == runtime.broker}

    for i in range(6):
        ref = runtime.launch(samples.echo, f"n{i}")
        ref.ask(b"", timeout=WAIT)
        ref.tell(b"")
        ref.flush(WAIT)
        runtime.terminate(f"n{i}")
        assert clients() == {f"n{i}"}
        eventually(lambda: not any(one.name.startswith("tells-") for one in threading.enumerate()), "told")
        if i == 2:
            before = mapped()
    assert mapped() <= before, "queues of the ended are not mapped"
    kept[1].set()
    thread.result()


def test_nothing_is_kept_of_what_was_told_to_actors_that_have_ended(runtime, monkeypatch):
    monkeypatch.setattr(_tells, "_IDLE", 0.05)
    for i in range(3):
        ref = runtime.launch(samples.echo, f"n{i}")
        ref.tell(b"x")
        assert ref.flush(WAIT) == 0
        runtime.terminate(ref.name)
    eventually(lambda: not [to for to in _tells._known if to.broker == runtime.broker], "all are forgotten")
    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("tells-n")], "threads end")


# Time and room


def test_a_full_queue_is_a_time_out_of_every_call_and_nothing_was_sent(runtime, run):
    ref = runtime.launch(samples.echo, "a", activate=False, queue_size=2)
    for _ in range(2):
        ref.tell(b"x")

    async def main():
        calls = [ref.ask_async(b"", 0.05), ref.tell_async(b"", 0.05), anext(ref.stream_async(b"", 0.05))]
        for one in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(one, ipcq.TimeoutError), repr(one)

    run(main())
    for call in (ref.ask, ref.tell, lambda message, timeout: list(ref.stream(message, timeout))):
        with pytest.raises(ipcq.TimeoutError, match="no room"):
            call(b"", 0.05)
    assert runtime.telemetry("a").waiting == 2


def test_no_time_at_all_comes_to_the_same_in_a_loop_and_out_of_it(runtime, run):
    ref = runtime.launch(samples.echo, "a")
    with pytest.raises(ipcq.Expired):
        ref.ask(b"x", timeout=0)
    with pytest.raises(ipcq.Expired):
        run(ref.ask_async(b"x", timeout=0))
    ref.tell(b"x", timeout=0)
    run(ref.tell_async(b"x", timeout=0))
    assert ref.flush(WAIT) == 0


@pytest.mark.parametrize("actor", [samples.echo, samples.turn, samples.double])
def test_a_message_that_is_too_long_names_the_option_that_helps(runtime, run, actor):
    message = {"echo": b"x" * 5000, "turn": samples.Note("x" * 5000, []), "double": np.zeros(5000, np.uint8)}
    ref = runtime.launch(actor, message_bytes=4096)
    word = message[ref.name]
    for call in (ref.ask, ref.tell, lambda word: list(ref.stream(word)), lambda word: run(ref.ask_async(word))):
        with pytest.raises(ipcq.UsageError, match=r"actor .* takes \d+ at most: .* larger message_bytes"):
            call(word)


@pytest.mark.parametrize(("of", "message"), [(None, b"x" * 5000), (np.ndarray, np.zeros(5000, np.uint8))])
def test_a_message_that_is_too_long_for_a_handler_names_the_option_that_helps(runtime, of, message):
    ref = runtime.launch_handler("a", "invert", input=of, output=of, slot_bytes=4096)
    with pytest.raises(ipcq.UsageError, match="takes 4096 at most: .* larger slot_bytes"):
        ref.ask(message, timeout=WAIT)


# The interpreter's end


def test_what_was_told_to_an_actor_of_this_process_is_worked_on_before_the_interpreter_ends(start):
    child = start(
        """
        @ipcq.actor
        def slow(message):
            time.sleep(0.02)
            say(message.decode())
        runtime = ipcq.ActorRuntime(ipcq.Broker(name))
        ref = runtime.launch(slow)
        for i in range(20):
            ref.tell(b"%d" % i)
        """
    )
    assert [child.line() for _ in range(20)] == [str(i) for i in range(20)]
    assert not child.finish()[1]
