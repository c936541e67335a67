"""What is left when starts are interrupted or fail, queues and brokers go, threads hang: nothing, and it can go on."""

import gc
import logging
import os
import resource
import signal
import threading
import time
import weakref
from pathlib import Path

import actor_samples as samples
import ipcq
import pytest
from conftest import WAIT, InThread, eventually
from ipcq.actors import _workers

State = ipcq.ActorState


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("tier", ["thread", "process", "async"])
def test_actors_of_new_names_leave_nothing_behind(runtime, tier):
    def once(name):
        ref = runtime.launch(samples.Counter, name, tier=tier)
        InThread(lambda: ref.ask(b"", timeout=WAIT)).result()
        runtime.terminate(name)
        assert (runtime.state(name), runtime.telemetry(name).completed) == (State.TERMINATED, 1)

    for i in range(2):
        once(f"first{i}")
    gc.collect()
    before = descriptors()
    for i in range(5):
        once(f"then{i}")
    gc.collect()
    eventually(lambda: descriptors() <= before, f"no more than {before} descriptors")


def test_an_actor_that_was_terminated_keeps_its_counters_and_not_its_arguments(runtime):
    class Heavy:
        pass

    @ipcq.actor
    class Takes:
        def __init__(self, heavy):
            pass

        def on_message(self, message):
            return message

    heavy = Heavy()
    kept = weakref.ref(heavy)
    runtime.launch(Takes, "a", args=(heavy,)).ask(b"", timeout=WAIT)
    runtime.terminate("a")
    del heavy
    gc.collect()
    assert kept() is None
    assert runtime.telemetry("a").completed == 1


def test_a_launch_that_is_refused_leaves_no_descriptor(runtime):
    ipcq.create_queue("taken", broker=runtime.broker)
    before = descriptors()
    for _ in range(5):
        with pytest.raises(ipcq.Error):
            runtime.launch(samples.echo, "taken", tier="process")
    eventually(lambda: descriptors() <= before, f"no more than {before} descriptors")


@pytest.mark.parametrize("tier", ["thread", "process", "async"])
def test_an_activation_that_ctrl_c_ends_leaves_no_worker(runtime, tier):
    ref = runtime.launch(samples.Slow, "a", tier=tier, workers=1 if tier == "async" else 2, activate=False)
    for _ in range(2):
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            runtime.activate("a")
        timer.join()
        assert runtime.state("a") is State.LAUNCHED
        assert runtime.pids("a") == []
    runtime.activate("a")
    assert runtime.telemetry("a").workers == (1 if tier == "async" else 2)
    seen = {ref.ask(b"", timeout=WAIT) for _ in range(40)}
    assert len(seen) <= runtime.telemetry("a").workers
    if tier == "process":
        assert seen <= {b"%d" % pid for pid in runtime.pids("a")}


def test_an_activation_that_is_interrupted_behind_a_start_ends_that_worker(runtime, monkeypatch):
    ref = runtime.launch(samples.echo, "a", activate=False)
    start = _workers.InThread.start

    def interrupted(self):
        start(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_workers.InThread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runtime.activate("a")
    eventually(lambda: "a-0" not in [thread.name for thread in threading.enumerate()], "it has ended")
    runtime.activate("a")
    assert ref.ask(b"x", timeout=WAIT) == b"x"
    assert (runtime.telemetry("a").workers, runtime.telemetry("a").received) == (1, 1)


def test_start_timeout_is_kept_and_telemetry_answers_while_a_process_imports(runtime, tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text(
        "import multiprocessing, time, ipcq\n"
        "if multiprocessing.parent_process() is not None: time.sleep(60)\n"
        "@ipcq.actor(tier='process')\n"
        "class Slow:\n"
        "    def __init__(self, data): pass\n"
        "    def on_message(self, message): return message\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from slow_to_import import Slow

    begun = time.monotonic()
    launched = InThread(lambda: runtime.launch(Slow, "a", args=(b"x" * 1_000_000,), start_timeout=1.0))
    time.sleep(0.3)
    assert runtime.telemetry("a").workers == 0
    assert time.monotonic() - begun < 0.9
    with pytest.raises(ipcq.ActorError, match="no worker was ready within"):
        launched.result()
    assert time.monotonic() - begun < WAIT / 2


def test_a_worker_gets_arguments_that_are_longer_than_a_pipe(runtime):
    ref = runtime.launch(samples.Length, "a", tier="process", args=(b"x" * 1_000_000,))
    assert ref.ask(b"", timeout=WAIT) == b"1000000"


def test_a_restart_that_has_no_descriptors_is_tried_again(runtime, caplog):
    ref = runtime.launch(samples.Counter, "a", tier="process", max_restarts=None)
    assert ref.ask(b"", timeout=WAIT) == b"1"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    [pid] = runtime.pids("a")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: runtime._actors["a"]._restarts >= 3, "it is tried again")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert ref.ask(b"", timeout=WAIT) == b"1"
    assert "could not be started" in caplog.text


def test_a_queue_that_was_removed_fails_its_actor_and_leaves_its_counters(runtime, caplog):
    ref = runtime.launch(samples.echo, "a")
    assert ref.ask(b"x", timeout=WAIT) == b"x"
    with caplog.at_level(logging.ERROR, "ipcq"):
        ipcq.remove_queue("a", at_once=True, broker=runtime.broker)
        assert runtime.telemetry("a").completed == 1
        eventually(lambda: runtime.state("a") is State.FAILED, "it has failed")
    assert runtime.reason("a") == "its queue was removed"
    assert (runtime.telemetry("a").waiting, runtime.telemetry()["a"].completed) == (0, 1)
    assert runtime.terminate("a") == 0


@pytest.mark.parametrize("tier", ["thread", "process", "async"])
def test_the_death_of_the_broker_fails_its_actors_at_once(name, tier):
    with ipcq.Broker(name) as broker:
        runtime = ipcq.ActorRuntime(name)
        runtime.launch(samples.echo, "a", tier=tier)
        broker.stop()
        eventually(lambda: runtime.state("a") is State.FAILED, "it has failed")
        assert runtime.telemetry("a").restarts <= 2
        assert "broker" in runtime.reason("a")
        with pytest.raises(ipcq.Error):
            runtime.reactivate("a")
        assert runtime.state("a") is State.FAILED
        runtime.close()


def test_reactivation_of_an_actor_that_fails_again_refuses_once_with_the_reason(runtime):
    ref = runtime.launch(samples.Counter, "a", workers=2, on_error="stop")
    stop = threading.Event()

    def asks():
        while not stop.is_set():
            with pytest.raises(ipcq.CallFailed, match="asked to fail"):
                ref.ask(b"fail", timeout=WAIT)

    askers = [InThread(asks) for _ in range(3)]
    for _ in range(5):
        eventually(lambda: runtime.state("a") is State.FAILED, "it has failed")
        runtime.reactivate("a")
    eventually(lambda: runtime.state("a") is State.FAILED, "it has failed")
    assert "asked to fail" in runtime.reason("a")
    assert [thread.name for thread in threading.enumerate()].count("a-failed") == 1
    stop.set()
    for one in askers:
        one.result()


def test_a_thread_that_hangs_keeps_its_counters_apart_from_its_successor(runtime):
    event = threading.Event()

    @ipcq.actor(on_error="stop", workers=2)
    def hangs(message):
        if message == b"hang":
            event.wait(WAIT)
        if message == b"bad":
            raise ValueError("bad")
        return message

    ref = runtime.launch(hangs, "a")
    asked = InThread(lambda: ref.ask(b"hang", timeout=WAIT))
    eventually(lambda: runtime.telemetry("a").in_flight == 1, "it hangs")
    for _ in range(2):
        with pytest.raises(ipcq.CallFailed, match="bad"):
            ref.ask(b"bad", timeout=WAIT)
        eventually(lambda: runtime.state("a") is State.FAILED, "it has failed")
        assert runtime.telemetry("a").in_flight == 1
        runtime.reactivate("a", start_timeout=0.2)
    assert ref.ask(b"x", timeout=WAIT) == b"x"
    event.set()
    with pytest.raises(ipcq.ServerDied):
        asked.result()
    eventually(lambda: runtime.telemetry("a").in_flight == 0, "it has returned")
    seen = runtime.telemetry("a")
    assert seen.received == 4 == seen.completed + seen.failed + seen.lost
    assert seen.failed >= 2


def test_a_caller_at_a_termination_is_never_told_that_the_runtime_has_died(runtime):
    def asks():
        ref = ipcq.actor_ref("a", broker=runtime.broker)
        while True:
            try:
                ref.ask(b"x", timeout=WAIT)
            except ipcq.NotFoundError:
                return
            except (ipcq.ClosedError, ipcq.CallFailed):
                continue

    for _ in range(15):
        runtime.launch(samples.echo, "a")
        askers = [InThread(asks) for _ in range(2)]
        time.sleep(0.02)
        runtime.terminate("a")
        for one in askers:
            one.result()
