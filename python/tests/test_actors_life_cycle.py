"""Launch, activate, deactivate, reactivate, terminate; and what is refused."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable

import actor_samples as samples
import ipcq
import numpy as np
import pytest
from conftest import WAIT, InThread, eventually
from ipcq.actors import FailureCode, _links

State = ipcq.ActorState
CALLS: dict[str, Callable[..., object]] = {
    "activate": ipcq.ActorRuntime.activate,
    "deactivate": ipcq.ActorRuntime.deactivate,
}
CALLS |= {"reactivate": ipcq.ActorRuntime.reactivate, "terminate": ipcq.ActorRuntime.terminate}


def waiting(runtime, count):
    eventually(lambda: runtime.telemetry("a").waiting == count, f"{count} messages wait")


@pytest.mark.parametrize("tier", ["thread", "process", "async"])
def test_messages_wait_until_an_actor_is_activated(runtime, tier):
    ref = runtime.launch(samples.Counter, "a", tier=tier, activate=False, queue_size=8)
    assert runtime.state("a") is State.LAUNCHED
    for _ in range(8):
        ref.tell(b"", timeout=0)
    with pytest.raises(ipcq.TimeoutError):
        ref.tell(b"", timeout=0.05)
    assert (runtime.telemetry("a").waiting, runtime.telemetry("a").workers) == (8, 0)
    runtime.activate("a")
    assert ref.ask(b"", timeout=WAIT) == b"9"


def test_nothing_is_lost_by_deactivation(runtime):
    ref = runtime.launch(samples.Counter, "a", queue_size=256)
    for i in range(200):
        ref.tell(b"")
        if i == 100:
            runtime.deactivate("a")
            before = runtime.telemetry("a").completed
    time.sleep(0.1)
    assert runtime.telemetry("a").completed <= before + 1
    assert runtime.state("a") is State.INACTIVE
    runtime.reactivate("a")
    assert ref.flush(WAIT) == 0
    assert ref.ask(b"", timeout=WAIT) == b"201"


def test_an_inactive_actor_keeps_its_callers_waiting_until_their_time_is_over(runtime):
    ref = runtime.launch(samples.echo, "a")
    runtime.deactivate("a")
    with pytest.raises(ipcq.Expired):
        ref.ask(b"x", timeout=0.1)
    asked = InThread(lambda: ref.ask(b"y", timeout=WAIT))
    waiting(runtime, 2)
    runtime.reactivate("a")
    assert asked.result() == b"y"


def test_messages_of_an_inactive_actor_fail_when_it_is_terminated(runtime):
    ref = runtime.launch(samples.echo, "a")
    runtime.deactivate("a")
    asked = InThread(lambda: ref.ask(b"y", timeout=WAIT))
    waiting(runtime, 1)
    begun = time.monotonic()
    assert runtime.terminate("a", drain=WAIT) == 1
    assert time.monotonic() - begun < WAIT / 2, "nobody would have worked them off"
    with pytest.raises(ipcq.CallFailed) as caught:
        asked.result()
    assert caught.value.code == FailureCode.TERMINATED


def bring(runtime, state):
    runtime.launch(samples.Broken, "a", activate=False, args=("/nothing/there",))
    if state is State.LAUNCHED:
        return
    runtime.activate("a")
    if state is State.INACTIVE:
        runtime.deactivate("a")
    if state is State.TERMINATED:
        runtime.terminate("a")
    if state is State.FAILED:
        runtime.terminate("a")
        ref = runtime.launch(samples.Counter, "a", on_error="stop")
        with pytest.raises(ipcq.CallFailed):
            ref.ask(b"fail", timeout=WAIT)
        eventually(lambda: runtime.state("a") is State.FAILED, "it has failed")


TABLE = {
    State.LAUNCHED: {"activate": State.ACTIVE, "deactivate": None, "reactivate": None},
    State.ACTIVE: {"activate": State.ACTIVE, "deactivate": State.INACTIVE, "reactivate": State.ACTIVE},
    State.INACTIVE: {"activate": None, "deactivate": State.INACTIVE, "reactivate": State.ACTIVE},
    State.FAILED: {"activate": None, "deactivate": None, "reactivate": State.ACTIVE},
    State.TERMINATED: {"activate": None, "deactivate": None, "reactivate": None},
}


@pytest.mark.parametrize("state", TABLE)
def test_each_transition_is_made_or_refused_with_actor_state_and_remedy(runtime, state):
    for call, to in [*TABLE[state].items(), ("terminate", State.TERMINATED)]:
        bring(runtime, state)
        assert runtime.state("a") is state
        if to is None:
            with pytest.raises(ipcq.UsageError, match=rf"'a' is {state.value}, and cannot {call}: .*\w+\(\)"):
                CALLS[call](runtime, "a")
            assert runtime.state("a") is state
        else:
            CALLS[call](runtime, "a")
            assert runtime.state("a") is to
        runtime.terminate("a")


def test_a_name_can_be_launched_again_and_references_go_on(runtime):
    ref = runtime.launch(samples.Counter, "a", args=(10,))
    assert ref.ask(b"", timeout=WAIT) == b"11"
    ref.tell(b"")
    assert ref.flush(WAIT) == 0
    runtime.terminate("a")
    with pytest.raises(ipcq.NotFoundError, match="no actor 'a'"):
        ref.ask(b"", timeout=WAIT)
    with pytest.raises(ipcq.NotFoundError, match="no actor 'a'"):
        ref.tell(b"")
    runtime.launch(samples.Counter, "a", args=(20,))
    assert ref.ask(b"", timeout=WAIT) == b"21"
    ref.tell(b"")
    assert ref.flush(WAIT) == 0
    assert ref.ask(b"", timeout=WAIT) == b"23"


def test_a_name_that_is_taken_is_refused(runtime):
    runtime.launch(samples.echo, "a")
    with pytest.raises(ipcq.UsageError, match="'a' is there already, and active"):
        runtime.launch(samples.echo, "a")
    with pytest.raises(ipcq.NotFoundError, match="no actor 'b'; it has 'a'"):
        runtime.deactivate("b")


def test_a_reference_to_what_is_no_actor_is_refused(runtime, name):
    ipcq.create_queue("messages", broker=name)
    with pytest.raises(ipcq.UsageError, match="no actor, but a queue of messages"):
        ipcq.actor_ref("messages", broker=name).ask(b"")
    with pytest.raises(ipcq.NotFoundError, match="no actor 'nobody'"):
        ipcq.actor_ref("nobody", broker=name).ask(b"")
    with pytest.raises(ipcq.NotFoundError, match="no-such-broker"):
        ipcq.actor_ref("nobody", broker="no-such-broker").ask(b"")


def test_an_actor_whose_class_cannot_be_made_is_not_launched(runtime, tmp_path):
    for tier in ("thread", "process", "async"):
        with pytest.raises(ipcq.ActorError, match="(?s)'a' did not start: .*cannot be made") as caught:
            runtime.launch(samples.Broken, "a", tier=tier, args=(str(tmp_path),))
        assert (caught.value.__cause__ is None) == (tier == "process")
        with pytest.raises(ipcq.NotFoundError):
            runtime.state("a")
    runtime.launch(samples.echo, "a")


def test_options_that_cannot_be_are_refused_with_what_can(runtime):
    for options, text in [
        ({"tier": "fibre"}, "async, thread, process"),
        ({"on_error": "panic"}, "continue, restart, stop"),
        ({"priority": 256}, "from 0 to 255"),
        ({"queue_size": 0}, "at least 1"),
        ({"workers": 2, "tier": "async"}, "one worker"),
        ({"slot_byte": 4}, "slot_bytes"),
        ({"workers": "2"}, "workers is '2', and is to be a whole number"),
        ({"workers": 1.5}, "whole number"),
        ({"max_restarts": -1}, "at least 0"),
        ({"restart_window": "60"}, "number of seconds"),
        ({"paused": False}, "activate=False"),
    ]:
        with pytest.raises(ipcq.UsageError, match=text):
            runtime.launch(samples.echo, "a", **options)
    with pytest.raises(ipcq.UsageError, match="args are for"):
        runtime.launch(samples.echo, "a", args=(1,))
    with pytest.raises(ipcq.UsageError, match=r"put @ipcq.actor"):
        runtime.launch(len, "a")
    with pytest.raises(ipcq.UsageError, match="on_message"):
        ipcq.actor()(dict)
    for unmarked in (len, samples.Counter().on_message):
        with pytest.raises(ipcq.UsageError, match="write a function that calls it"):
            ipcq.actor(unmarked)
    with pytest.raises(ipcq.UsageError, match="on_start is a coroutine function"):
        ipcq.actor()(type("Mixed", (samples.Counter,), {"on_start": samples.CounterAsync.on_start}))
    with pytest.raises(ipcq.UsageError, match="unexpected keyword argument 'quue_size'"):
        ipcq.actor(quue_size=3)(lambda message: message)
    with pytest.raises(ipcq.UsageError, match="cannot travel"):
        runtime.launch(samples.echo, "a", input=dict)


def test_what_a_process_cannot_import_is_refused_with_the_remedy(runtime, monkeypatch):
    def local(message):
        return message

    refused = [(ipcq.actor()(lambda m: m), "a lambda"), (ipcq.actor()(local), "local to a function")]
    for actor, text in refused:
        with pytest.raises(ipcq.UsageError, match=rf"{text}.*top of .*tier='thread'"):
            runtime.launch(actor, "a", tier="process")
        assert runtime.launch(actor, "a").ask(b"x", timeout=WAIT) == b"x"
        runtime.terminate("a")
    typed = ipcq.actor()(type("Typed", (), {"on_message": lambda self, m: m, "__module__": "__main__"}))
    monkeypatch.setattr(sys.modules["__main__"], "Typed", typed, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "<stdin>", raising=False)
    with pytest.raises(ipcq.UsageError, match="notebook.*from actors import Typed"):
        runtime.launch(typed, "a", tier="process")
    with pytest.raises(ipcq.UsageError, match="cannot be sent to a process"):
        runtime.launch(samples.Counter, "a", tier="process", args=(lambda: 1,))


def test_telemetry_of_all_names_those_that_live(runtime):
    runtime.launch(samples.echo, "a", priority=9)
    runtime.launch(samples.double, "b", activate=False)
    runtime.launch(samples.echo, "c")
    runtime.terminate("c")
    seen = runtime.telemetry()
    assert {name: (one.state, one.priority) for name, one in seen.items()} == {
        "a": (State.ACTIVE, 9),
        "b": (State.LAUNCHED, 0),
    }
    assert "'a'" not in repr(runtime)
    assert "a (active, priority 9), b (launched)" in repr(runtime)


def test_closing_the_runtime_terminates_all_and_says_what_does_not_end(name, caplog):
    with ipcq.Broker(name) as broker:
        runtime = ipcq.ActorRuntime(broker)
        ref = runtime.launch(samples.Counter, "a", tier="process")
        asked = InThread(lambda: ref.ask(b"sleep 60", timeout=WAIT))
        eventually(lambda: runtime.telemetry("a").in_flight == 1, "it works")
        [pid] = runtime.pids("a")
        with caplog.at_level(logging.WARNING, "ipcq"):
            runtime.close(drain=0.1, stop=0.3)
        with pytest.raises(ipcq.ServerDied):
            asked.result()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert any("did not end in time, and is killed" in record.getMessage() for record in caplog.records)
        assert runtime.telemetry("a").lost == 1
        runtime.close()
        with pytest.raises(ipcq.UsageError, match="closed"):
            runtime.launch(samples.echo, "b")
        _links.drop_session(broker.socket_path)


def test_a_thread_that_does_not_return_is_said_and_left_alone(name, caplog):
    with ipcq.Broker(name) as broker:
        runtime = ipcq.ActorRuntime(broker)
        ref = runtime.launch(samples.Counter, "a")
        asked = InThread(lambda: ref.ask(b"sleep 4", timeout=WAIT))
        eventually(lambda: runtime.telemetry("a").in_flight == 1, "it works")
        runtime.close(drain=0.1, stop=0.1)
        with pytest.raises((ipcq.ServerDied, ipcq.ClosedError)):
            asked.result()
        assert any("a thread cannot be killed" in record.getMessage() for record in caplog.records)
        _links.drop_session(broker.socket_path)


@pytest.mark.parametrize("tier", ["async", "thread"])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_coroutine_that_does_not_return_is_cancelled(runtime, tier, concurrency):
    event = asyncio.Event()

    @ipcq.actor()
    async def stuck(message):
        await event.wait()

    ref = runtime.launch(stuck, "a", tier=tier, concurrency=concurrency)
    asked = InThread(lambda: ref.ask(b"", timeout=WAIT))
    eventually(lambda: runtime.telemetry("a").in_flight == 1, "it works")
    runtime.terminate("a", drain=0.1, stop=1.0)
    with pytest.raises(ipcq.CallFailed, match="terminated while it worked") as caught:
        asked.result()
    assert caught.value.code == FailureCode.TERMINATED
    assert runtime.telemetry("a").failed == 1


def test_a_runtime_has_a_broker_of_its_own_and_takes_one_that_runs(name, monkeypatch):
    monkeypatch.setenv("IPCQ_BROKER", name)
    with ipcq.ActorRuntime() as runtime:
        runtime.launch(samples.echo, "a")
        assert ipcq.actor_ref("a").ask(b"x", timeout=WAIT) == b"x"
        with pytest.raises(ipcq.UsageError):
            ipcq.ActorRuntime()
        with ipcq.ActorRuntime("") as other:
            other.launch(samples.echo, "b", tier="process")
            assert ipcq.actor_ref("b").ask(b"y", timeout=WAIT) == b"y"
        with pytest.raises(ipcq.NotFoundError):
            ipcq.actor_ref("b").ask(b"y", timeout=WAIT)
        assert ipcq.actor_ref("a").ask(b"z", timeout=WAIT) == b"z"
        _links.drop_session(name)
    with pytest.raises(ipcq.NotFoundError):
        ipcq.actor_ref("a").ask(b"x")


def test_a_handler_is_an_actor_as_any(runtime):
    ref = runtime.launch_handler("invert", "invert", input=np.ndarray, output=np.ndarray, priority=3, activate=False)
    assert runtime.state("invert") is State.LAUNCHED
    asked = InThread(lambda: ref.ask(np.arange(6, dtype=np.uint8).reshape(2, 3), timeout=WAIT))
    eventually(lambda: runtime.telemetry("invert").waiting == 1, "it waits")
    runtime.activate("invert")
    result = asked.result()
    assert result.tolist() == [[255, 254, 253], [252, 251, 250]]
    upper = runtime.launch_handler("upper", "upper")
    assert upper.ask(b"hello", timeout=WAIT) == b"HELLO"
    for _ in range(4):
        upper.tell(b"x")
    assert upper.flush(WAIT) == 0
    seen = runtime.telemetry("upper")
    assert (seen.received, seen.completed, seen.failed, seen.waiting) == (5, 5, 0, 0)
    assert (seen.tier, seen.lost, seen.in_flight, seen.restarts, seen.latency) == ("handler", None, None, None, None)
    runtime.deactivate("upper")
    with pytest.raises(ipcq.Expired):
        upper.ask(b"x", timeout=0.1)
    runtime.reactivate("upper")
    assert upper.ask(b"x", timeout=WAIT) == b"X"
    assert runtime.terminate("upper") == 0
    with pytest.raises(ipcq.NotFoundError):
        upper.ask(b"x", timeout=WAIT)
    again = ipcq.actor_ref("invert", input=np.ndarray, output=np.ndarray, broker=runtime.broker)
    assert again.ask(np.zeros((2, 2), np.uint8), timeout=WAIT).tolist() == [[255, 255], [255, 255]]
