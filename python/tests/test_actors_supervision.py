"""Exceptions, restarts, and workers that die."""

import collections
import itertools
import os
import random
import threading
import time

import actor_samples as samples
import ipcq
import pytest
from conftest import WAIT, InThread, eventually
from ipcq.actors import FailureCode, _supervision

State = ipcq.ActorState


def outcome(call):
    """What a caller sees of one message."""
    try:
        return "completed", call()
    except ipcq.CallFailed as error:
        return ("failed" if error.code == 1 else "rejected"), str(error)
    except ipcq.ServerDied:
        return "lost", None


@pytest.mark.parametrize("tier", ["thread", "process", "async"])
def test_on_error_restart_makes_the_object_anew(runtime, tier):
    ref = runtime.launch(samples.Counter, "a", tier=tier, on_error="restart", args=(10,))
    assert ref.ask(b"", timeout=WAIT) == b"11"
    with pytest.raises(ipcq.CallFailed, match="asked to fail"):
        ref.ask(b"fail", timeout=WAIT)
    assert ref.ask(b"", timeout=WAIT) == b"11"
    eventually(lambda: runtime.telemetry("a").restarts == 1, "a restart is counted")
    assert runtime.telemetry("a").failed == 1


@pytest.mark.parametrize("tier", ["thread", "process", "async"])
def test_on_error_stop_fails_the_actor_and_its_callers_at_once(runtime, tier):
    ref = runtime.launch(samples.Counter, "a", tier=tier, on_error="stop")
    with pytest.raises(ipcq.CallFailed, match="asked to fail"):
        ref.ask(b"fail", timeout=WAIT)
    eventually(lambda: runtime.state("a") is State.FAILED, "it has failed")
    with pytest.raises(ipcq.CallFailed, match=r"'a' has failed: .*on_error is 'stop'") as caught:
        ref.ask(b"", timeout=WAIT)
    assert caught.value.code == FailureCode.ACTOR_FAILED
    assert "asked to fail" in runtime.reason("a")
    assert runtime.telemetry("a").rejected == 1
    runtime.reactivate("a")
    assert ref.ask(b"", timeout=WAIT) == b"1"
    assert runtime.telemetry("a").workers == 1
    assert runtime.reason("a") == ""


@pytest.mark.parametrize("tier", ["thread", "process", "async"])
def test_a_handler_that_exits_ends_its_worker_which_is_started_again(runtime, tier):
    ref = runtime.launch(samples.Counter, "a", tier=tier)
    assert outcome(lambda: ref.ask(b"exit", timeout=WAIT))[0] == "lost"
    assert ref.ask(b"", timeout=WAIT) == b"1"
    seen = runtime.telemetry("a")
    assert (seen.restarts, seen.lost) == (1, 1)


def test_a_worker_that_is_killed_fails_what_it_had_and_nothing_else(runtime):
    ref = runtime.launch(samples.Counter, "a", tier="process")
    doomed = InThread(lambda: outcome(lambda: ref.ask(b"die", timeout=WAIT)))
    assert doomed.result() == ("lost", None)
    seen = runtime.telemetry("a")
    assert (seen.received, seen.completed, seen.lost, seen.restarts) == (1, 0, 1, 1), "what a caller knows is counted"
    assert ref.ask(b"", timeout=WAIT) == b"1"
    eventually(lambda: runtime.telemetry("a").completed == 1, "counted")
    seen = runtime.telemetry("a")
    assert (seen.received, seen.completed, seen.lost, seen.restarts) == (2, 1, 1, 1)


def test_with_redelivery_another_worker_gets_what_a_killed_one_had(runtime, tmp_path):
    ref = runtime.launch(samples.dies_once, "a", tier="process", on_death="redeliver")
    assert ref.ask(str(tmp_path / "died").encode(), timeout=WAIT) == b"again"
    eventually(lambda: runtime.telemetry("a").completed == 1, "counted")
    seen = runtime.telemetry("a")
    assert (seen.received, seen.lost, seen.restarts) == (2, 1, 1)


def test_too_many_restarts_fail_the_actor_and_reactivate_starts_it_anew(runtime):
    ref = runtime.launch(samples.Counter, "a", tier="process", max_restarts=2)
    seen = [outcome(lambda: ref.ask(b"die", timeout=WAIT))[0] for _ in range(3)]
    assert seen == ["lost"] * 3
    what, text = outcome(lambda: ref.ask(b"", timeout=WAIT))
    assert what == "rejected"
    assert "2 restarts within 60.0 s" in text
    assert "SIGKILL" in text
    assert runtime.state("a") is State.FAILED
    runtime.reactivate("a")
    assert ref.ask(b"", timeout=WAIT) == b"1"
    assert runtime.state("a") is State.ACTIVE


def test_an_inactive_actor_that_fails_tells_those_who_wait(runtime):
    ref = runtime.launch(samples.Counter, "a", tier="process", max_restarts=0)
    [pid] = runtime.pids("a")
    runtime.deactivate("a")
    asked = InThread(lambda: outcome(lambda: ref.ask(b"", timeout=WAIT)))
    eventually(lambda: runtime.telemetry("a").waiting == 1, "it waits")
    os.kill(pid, 9)
    assert asked.result()[0] == "rejected"


def test_pauses_between_restarts_double(runtime, tmp_path, monkeypatch):
    file = tmp_path / "broken"
    starts = []
    first = _supervision.Supervision._start

    def start(self, slot):
        starts.append(time.monotonic())
        first(self, slot)

    monkeypatch.setattr(_supervision.Supervision, "_start", start)
    ref = runtime.launch(samples.Broken, "a", tier="thread", args=(str(file),), max_restarts=5, on_error="continue")
    assert ref is not None
    file.touch()
    worker = runtime._actors["a"]._slots[0].worker
    worker.stop(1.0)  # it ends by itself, and cannot be made again
    eventually(lambda: runtime.state("a") is State.FAILED, "it has failed")
    pauses = [after - before for before, after in itertools.pairwise(starts[1:])]
    assert len(pauses) == 4
    for pause, at_least in zip(pauses, (0.02, 0.04, 0.08, 0.16), strict=True):
        assert pause >= at_least
    assert outcome(lambda: ipcq.actor_ref("a", broker=runtime.broker).ask(b"", timeout=WAIT))[0] == "rejected"


@pytest.mark.parametrize("workers", [1, 3])
def test_telemetry_equals_the_callers_count_when_handlers_are_killed(runtime, workers):
    """Each message is answered or failed exactly once, and what a worker had when it was killed is counted as lost."""
    ref = runtime.launch(samples.sometimes_dies, "a", tier="process", workers=workers, max_restarts=None, queue_size=16)
    rng = random.Random(workers)
    messages = [kind + b"%d" % i for i, kind in enumerate([b"k"] * 5 + [b"f"] * 9 + [b"ok"] * 46)]
    rng.shuffle(messages)
    seen: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    def caller(k):
        for message in messages[k::4]:
            what, value = outcome(lambda message=message: ref.ask(message, timeout=WAIT))
            assert what == {b"k": "lost", b"f": "failed", b"o": "completed"}[message[:1]]
            assert what != "completed" or value == message
            with lock:
                seen[what] += 1

    for thread in [InThread(lambda k=k: caller(k)) for k in range(4)]:
        thread.result(2 * WAIT)
    assert sum(seen.values()) == 60
    eventually(lambda: runtime.telemetry("a").in_flight == 0, "all is counted")
    told = runtime.telemetry("a")
    assert (told.completed, told.failed, told.lost) == (seen["completed"], seen["failed"], seen["lost"])
    assert told.received == 60
    assert told.restarts == seen["lost"] == 5
    assert told.rejected == 0


def test_workers_that_are_killed_at_random_under_load_lose_and_double_nothing(runtime):
    ref = runtime.launch(samples.echo, "a", tier="process", workers=2, max_restarts=None, queue_size=16)
    stop = threading.Event()
    seen: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    def caller(k):
        i = 0
        while not stop.is_set():
            i += 1
            message = b"%d-%d" % (k, i)
            what, value = outcome(lambda message=message: ref.ask(message, timeout=WAIT))
            assert what in ("completed", "lost")
            assert what == "lost" or value == message, "an answer of another call"
            with lock:
                seen[what] += 1

    callers = [InThread(lambda k=k: caller(k)) for k in range(3)]
    rng = random.Random(5)
    kills = 0
    for _ in range(8):
        time.sleep(rng.uniform(0.05, 0.2))
        pids = runtime.pids("a")
        if pids:
            os.kill(rng.choice(pids), 9)
            kills += 1
    stop.set()
    for one in callers:
        one.result()
    assert seen["completed"] > 0
    eventually(lambda: runtime.telemetry("a").restarts == kills, "each death was followed by a restart")
    eventually(lambda: runtime.telemetry("a").in_flight == 0, "all is counted")
    told = runtime.telemetry("a")
    assert told.received == told.completed + told.failed + told.lost
    assert told.failed == told.rejected == 0
    # A kill just between a call and its count leaves one message out of it: docs/design/actors.md.
    assert seen["completed"] <= told.completed <= seen["completed"] + kills
    assert told.lost <= seen["lost"] <= kills
    assert abs(sum(seen.values()) - told.received) <= kills


def test_a_cycle_of_actors_ends_by_its_time_out_and_both_go_on(runtime):
    first = runtime.launch(samples.Asks, "first", kwargs={"name": "second"}, activate=False)
    runtime.terminate("first")
    second = ipcq.actor_ref("second", broker=runtime.broker)
    first = runtime.launch(samples.Asks, "first", args=(second,))
    runtime.launch(samples.Asks, "second", args=(first,))
    what, text = outcome(lambda: first.ask(b"", timeout=WAIT))
    assert what == "failed"
    assert "no answer within" in text
    runtime.terminate("second")
    runtime.launch(samples.echo, "second")
    assert first.ask(b"x", timeout=WAIT) == b"<x>"


def test_actors_that_await_each_other_do_not_block(runtime):
    a = ipcq.actor_ref("a", broker=runtime.broker)
    b = runtime.launch(samples.AsksAsync, "b", tier="async", args=(a,))
    runtime.launch(samples.AsksAsync, "a", tier="async", args=(b,))
    assert b.ask(b"xxxx", timeout=WAIT) == b"<<<<end>>>>"
    with pytest.raises(ipcq.CallFailed, match="ask_async"):
        a.ask(b"sync", timeout=WAIT)
